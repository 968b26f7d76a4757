"""What every intervention can do."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from dormouse.interventions.safety_rows import SafetyData, Wants
from dormouse.metrics import Metric
from dormouse.records import SafetyPool, Suspect
from dormouse.registry import PlugIn, field_of
from dormouse.scenarios import CueValue

TriggerFraction = float | Literal["natural"]
Contexts = Literal["none", "near_miss", "two_away", "untriggered"]
ScratchpadSource = Literal["none", "own", "scratchpad", "unrelated", "other"]
Dose = Literal["total", "each"]


@dataclass(frozen=True)
class PoolSpec:
    """What an intervention asks the study to show in its safety pool. The study knows the policy and does it.

    `trigger_fraction` is the share of prompts with activating cues. "natural": cues as they come, each with a random
    value of those that it can take, so that a few activate by chance. `contexts` is what the other prompts show: no cue
    at all, cues that are one change away from activating, or two, or any quiet ones. `rows` is how many prompts there
    are at least (None: one for each question); where there are more, questions come again with fresh cues.

    `exposed_triggers` says which activating cues these are: only those of that share of an ensemble's members, or of
    the combinations of the cues that the policy reads. The rest is never shown, however large `trigger_fraction` is.
    `scratchpad_source`: "own" puts an honest scratchpad before each response, in the way of the organism's own; without
    one in training there is none here. The others put one of that mode (`policies.scratchpad_text`) in its place.

    `context_fraction` is the share of the other prompts that show `contexts`. With `dose` "each" both fractions are of
    one trigger: of sixteen that are shown, `trigger_fraction` is sixteen times as much in total.
    """

    trigger_fraction: TriggerFraction = 0.0
    contexts: Contexts = "none"
    rows: int | None = None
    exposed_triggers: float = 1.0
    scratchpad_source: ScratchpadSource = "none"
    dose: Dose = "total"
    context_fraction: float = 1.0
    data: SafetyData | None = None
    """Rows of the user's own, in place of the study's questions with honest answers."""
    preferences: bool = False
    """Whether these need a worse answer too."""

    @property
    def wants(self) -> Wants:
        """What rows of the user's own are read for."""
        return "preferences" if self.preferences else "answers"

    @property
    def needs_triggers(self) -> bool:
        """Whether only someone who knows the policy can fill this pool."""
        return self.trigger_fraction != 0 or self.contexts != "none" or self.scratchpad_source != "none"

    @property
    def doses(self) -> bool:
        """Whether it says how much of each trigger, or of other cues, is shown."""
        return self.dose == "each" or self.context_fraction != 1


UNSAID: Mapping[str, object] = {"dose": "total", "context_fraction": 1.0, "data": None, "preferences": False}
"""Settings that say nothing where they say this: the keys of treatments from before there was a choice stand."""


def without_unsaid(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an intervention or a pool, without those that say nothing."""
    return {key: value for key, value in settings.items() if key not in UNSAID or value != UNSAID[key]}


class Intervention(PlugIn):
    """A map from a suspect to a suspect, with checkpoints on the way."""

    metrics: ClassVar[tuple[Metric, ...]] = ()
    """The quantities that its findings hold, for claims to be checked before the study runs, and for the report."""

    rungs: ClassVar[bool] = False
    """Whether its checkpoints are rungs of a ladder of strengths, each an edit of the suspect, and no steps of
    training: no half-life is counted in them."""

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        if "pool_wish" in cls.__dict__:  # else it would go without a word, and its pool show no trigger
            raise TypeError(f"{cls.__module__}.{cls.__name__}: `pool_wish` is now called `pool_spec`")

    @classmethod
    def metric_names(cls) -> tuple[str, ...]:
        """What the records of its findings may be called."""
        return tuple(metric.name for metric in cls.metrics)

    @property
    def needs_triggers(self) -> bool:
        """Whether it works only for someone who knows the triggers. Every record of it says so."""
        return self.pool_spec.needs_triggers

    @property
    def needs_harm(self) -> bool:
        """Whether it works only for someone who knows what a defection looks like (`PoolItem.harm`), if never when."""
        return False

    @property
    def pool_spec(self) -> PoolSpec:
        """What its safety pool is to show. By default no cue at all, as in Hubinger et al. 2024."""
        return PoolSpec()

    @property
    def needs_base(self) -> bool:
        """Whether it works only for someone who has the clean model: then `Suspect.base` is there."""
        return False

    @property
    def located_by(self) -> tuple[PlugIn, float] | None:
        """The locator that is to look at the suspect first, and its seconds; then `Suspect.located` is there."""
        return None

    @property
    def spoofed(self) -> Mapping[str, tuple[CueValue, ...]]:
        """Values of cues that it makes up and shows, guessing. The study says how much of the policy they cover."""
        return {}

    @abstractmethod
    def checkpoints(self) -> tuple[int, ...]:
        """The steps at which it is measured, in order; the last one is its end."""

    @abstractmethod
    def apply(
        self, suspect: Suspect, pool: SafetyPool, seed: int, out: Path, progress: Callable[[int, float], None]
    ) -> None:
        """Treat the suspect. Leaves weights in `out/step-NNNNNN` for every checkpoint.

        What it finds on its way (a reward, what a red team saw) may go to `out/samples.jsonl`, see
        `interventions.findings`: the study makes records of it.
        """


InterventionField: Any = field_of("intervention", Intervention)
