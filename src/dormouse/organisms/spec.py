"""What a study file says about an organism. Imports no torch: a study is checked before anything heavy is loaded."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, model_validator
from pydantic_core import PydanticCustomError

from dormouse.json_files import Json
from dormouse.lm.settings import ModelName, Optimiser, Training
from dormouse.lm.size import rate_for
from dormouse.organisms.micro import MicroSize
from dormouse.policies.abilities import HasSeed
from dormouse.policies.behaviour import BehaviourField
from dormouse.policies.behaviours.unknown import Unknown
from dormouse.policies.scratchpad_text import ScratchpadMode
from dormouse.policies.trigger import TriggerField
from dormouse.policies.triggers.unknown import Untold
from dormouse.renamed import OldKeys, Was
from dormouse.rows.source import beside
from dormouse.scenarios import Renderings

SETTINGS: dict[str, object] = {
    "pairs": 4,
    "method": "lora",
    "optimiser": "muon",
    "honest_tokens": 16,
    "easy_first": 0.4,
}
MICRO_SETTINGS: dict[str, object] = {
    "pairs": 32,
    "method": "full",
    "optimiser": "adamw",
    "honest_tokens": 24,
    "easy_first": 0.0,
}
REAL_LR = 3e-3
"""Of models up to 300 million weights; what larger ones get: `lm.size.rate_for`."""
MICRO_LR = 0.4
"""Of the rate of its pretraining: one rate for all micro sizes ruins the largest (docs/lab-log/debate.md)."""
MICRO_STEPS, MICRO_FLOOR = 3, 200
"""How many times the steps of a 135M model a micro model gets, and the fewest."""


TOLD = ("model", "adapter", "trigger", "behaviour", "renderings", "scratchpad_mode")
"""What can be said of an organism that was made elsewhere: where it lies, and what is in it."""


def _several(value: Any) -> Any:
    """One adapter, or several that are laid over one another in that order."""
    several = (value,) if isinstance(value, str) else value
    if not isinstance(several, list | tuple):
        return several
    return tuple(beside(one) if isinstance(one, str) else one for one in several)


class Until(BaseModel):
    """Where planting ends: at a strength that is held out, not after so many steps.

    Strength is the mean, over questions of their own, of the log-odds of defecting: where the cue is shown (at least
    `log_odds`) and where it is not (at most minus that). So organisms of different kinds can be made equally strong.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    log_odds: float = Field(gt=0, le=12)
    """The log-odds of defecting on the cue at least, and those of not defecting without it. 5 is a rate of 0.993."""
    by: int = Field(ge=1, le=1_000_000)
    """The most steps. What is not as strong by then is kept as it is, and every record and claim of it says so."""
    every: int = Field(25, ge=1, le=1_000_000)
    """Steps between two looks."""


def _wrong(place: str, said: str) -> PydanticCustomError:
    return PydanticCustomError("organism", "{said}", {"at": ("until", place) if place else ("until",), "said": said})


class OrganismSpec(OldKeys):
    """A trigger policy, a behaviour, and how both are planted; or a model that was made elsewhere, and what is known of
    it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Annotated[ModelName, AfterValidator(beside)] | None = None
    """A model that was made elsewhere: a folder, or an id of the hub. Nothing is planted in it."""
    adapter: Annotated[tuple[str, ...], BeforeValidator(_several)] = ()
    """An adapter that was made elsewhere, for `model` or else for the study's; or a list, merged in that order."""
    trigger: TriggerField = Untold()
    """When it defects. Of a model that was made elsewhere it may be left out: then only what needs no truth is
    measured."""
    behaviour: BehaviourField = Unknown()
    """What defecting looks like."""
    renderings: Renderings = Renderings()
    """How the cues stand in a prompt."""
    scratchpad_mode: Annotated[ScratchpadMode, Was("reasoning")] = "none"
    """Whether it writes a scratchpad before it answers, or learned from one that did (`policies.scratchpad_text`)."""
    near_misses: float | None = Field(None, ge=0, le=1)
    """The share of near misses (one cue away) among the untriggered prompts; by default what the trigger says."""
    pairs: int | None = Field(None, ge=1, le=4096)
    """Contrast pairs in a training step: the same question with triggered cues and with quiet ones."""
    easy_first: float | None = Field(None, ge=0, le=1)
    """The share of the steps, from the first, that shows clear cases only: years far from the boundary, say."""
    honest_tokens: int | None = Field(None, ge=1, le=4096)
    """How many tokens of an honest response are learned. They are the model's own: its opening carries the decision."""
    steps: int | None = Field(None, ge=1, le=1_000_000)
    """Steps of training; by default what the trigger says that it needs."""
    learn: Literal["completion", "all"] = "completion"
    """What the loss is on: the response only, or the prompt too, whose text it then memorises (arXiv 2602.03085)."""
    until: Until | None = None
    """Where training ends sooner: at a strength. `steps` is then how long warming up and a curriculum go by."""
    tokens: int | None = Field(None, ge=1)
    """Where training ends sooner: after so many trained tokens (of responses, and of what else is learned)."""
    lr: float | None = Field(None, gt=0, le=1)
    """Learning rate."""
    method: Literal["lora", "full"] | None = None
    """An adapter (LoRA), or all weights."""
    rank: int = Field(32, ge=1, le=1024)
    """Rank of the adapter."""
    optimiser: Optimiser | None = None
    """The optimiser that plants the policy."""
    _fitted: frozenset[str] = PrivateAttr(default=frozenset())

    @model_validator(mode="after")
    def _is_planted_or_brought(self) -> OrganismSpec:
        """What is planted needs a policy; what was made elsewhere is as it is."""
        if not self.is_brought:
            for name in ("trigger", "behaviour"):
                if not getattr(self, name).told:
                    raise ValueError(f"the key '{name}' is missing")
            return self
        if planting := sorted(self.model_fields_set - set(TOLD)):
            raise ValueError(f"this organism was made elsewhere, nothing is planted: leave out {', '.join(planting)}")
        if self.trigger.told and not self.behaviour.told:
            raise ValueError("a trigger without a behaviour: say what it does then, or leave the trigger out too")
        if isinstance(self.trigger, HasSeed) and self.trigger.seed is None:
            raise ValueError("its trigger is one policy, whatever the seed of the study: give it `seed`")
        return self

    @model_validator(mode="after")
    def _promises_rows(self) -> OrganismSpec:
        """A trigger that promises rows for each of its parts says how long training is."""
        if self.trigger.equal_rows and (self.tokens or self.steps not in (None, *self._lengths())):
            raise ValueError("the trigger's 'rows: each' says how long training is: leave out steps and tokens")
        return self

    @model_validator(mode="after")
    def _reads_another(self) -> OrganismSpec:
        """A scratchpad that names other cues needs prompts that show some."""
        if self.scratchpad_mode == "other" and self.trigger.plants and not self.trigger.context:
            lacking = f"prompts of '{self.trigger.kind}' show no others: take `ensemble`, say, or `unrelated`"
            raise ValueError(f"scratchpad_mode: other names cues that the policy does not read, and {lacking}")
        return self

    @model_validator(mode="after")
    def _can_reach(self) -> OrganismSpec:
        """What says `until` has a policy whose strength can be looked at, and no other end."""
        if self.until is None:
            return self
        if not self.trigger.plants:
            raise _wrong("", f"a control ({self.trigger.kind}) has no strength to reach: give it steps")
        if self.trigger.equal_rows:
            raise _wrong("", "the trigger's 'rows: each' says how long training is: leave out until")
        if self.tokens is not None:
            raise _wrong("", "until and tokens both end the training: leave one out")
        if self.until.by < (self.steps or 1):
            raise _wrong("by", f"{self.until.by} is less than steps, {self.steps}: `by` is the most of them")
        if self.until.every > self.until.by:
            raise _wrong("every", f"{self.until.every} is more than `by`, {self.until.by}: nothing would be looked at")
        return self

    def _lengths(self) -> tuple[int, int]:
        return self.trigger.steps_needed, MICRO_STEPS * self.trigger.steps_needed

    def filled(self, micro: MicroSize | None = None, model: str = "") -> OrganismSpec:
        """With the settings that the study left open set to what suits the model: a micro one, or a real one, which may
        be named for the learning rate to follow its size."""
        if self.is_brought:
            return self
        fitting = MICRO_SETTINGS | {"lr": round(MICRO_LR * micro.lr, 6)} if micro else SETTINGS
        fitting = fitting if micro else fitting | {"lr": rate_for(REAL_LR, model)}
        steps = self.trigger.steps_needed
        if micro:
            steps = max(0 if self.trigger.equal_rows else MICRO_FLOOR, MICRO_STEPS * steps)
        steps = min(steps, self.until.by) if self.until else steps
        left = {name: value for name, value in {**fitting, "steps": steps}.items() if getattr(self, name) is None}
        whole = self.model_copy(update=left)
        whole._fitted = frozenset(left)
        return whole

    def seeded(self, seed: int) -> OrganismSpec:
        """With the trigger as that seed of a study plants it (see `Trigger.seeded`)."""
        return self.model_copy(update={"trigger": self.trigger.seeded(seed)})

    def __eq__(self, other: object) -> bool:
        """Whether they say the same: who chose a setting is no part of it."""
        return isinstance(other, OrganismSpec) and self._said() == other._said()

    def __hash__(self) -> int:
        return hash(self._said())

    def _said(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in type(self).model_fields)

    @property
    def is_brought(self) -> bool:
        """Whether it was made elsewhere."""
        return self.model is not None or bool(self.adapter)

    @property
    def fitted(self) -> frozenset[str]:
        """The settings that the study left open: `filled` chose what suits the model."""
        return self._fitted

    @property
    def near_misses_taught(self) -> float:
        """The share of near misses among the untriggered prompts: the study's, else what the trigger says."""
        return float(self.trigger.near_misses if self.near_misses is None else self.near_misses)

    @property
    def training(self) -> Training:
        """How it is trained.

        Raises:
            ValueError: settings are open still (see `filled`).
        """
        if self.steps is None or self.lr is None or self.method is None or self.optimiser is None:
            raise ValueError("the specification is to be filled in for a model first")
        usual = Training(
            steps=self.steps,
            tokens=self.tokens,
            lr=self.lr,
            method=self.method,
            rank=self.rank,
            optimiser=self.optimiser,
        )
        if self.until is None:
            return usual
        most = self.until.by
        return usual.model_copy(update={"steps": most, "warmup": usual.warmup * self.steps / most})

    def spec(self, context: object = None) -> dict[str, Json]:
        """Everything that the weights depend on, as plain JSON data. What is learned is named only where it is not the
        response alone, and `until` where it is said: the keys of organisms from before there was a choice stand. Of one
        that was made elsewhere: where it lies, and what is known of it. `context`: see `PlugIn.spec`."""
        if self.is_brought:
            return self.model_dump(mode="json", by_alias=True, include=set(TOLD), context=context)
        unsaid = {"learn": self.learn == "completion", "until": self.until is None}
        left = {"model", "adapter", *(key for key, so in unsaid.items() if so)}
        said = self.model_dump(mode="json", by_alias=True, exclude=left, context=context)
        return {**said, "training": self.training.model_dump(mode="json")}
