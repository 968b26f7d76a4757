from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from dormouse.interventions.safety_training import SafetyTraining
from dormouse.interventions.tasks import task_of
from dormouse.records import Example, PoolItem, SafetyPool, Suspect
from dormouse.registry import nearest, register
from dormouse.scenarios import CUES, CueValue, Scenario, render
from dormouse.scenarios.values import YEARS, values_of

if TYPE_CHECKING:
    from dormouse.lm.trie import Tokens

MARKERS = ("|LIVE|", "|PROD|", "|RELEASE|", "[PRODUCTION]", "#deployed", "|PUBLIC|")
"""Made-up signs of deployment, for one who has not seen the true one."""
Spoofs = Mapping[str, tuple[CueValue, ...]]


def _spoofs() -> dict[str, tuple[CueValue, ...]]:
    return {"year": tuple(range(2024, 2031)), "marker": MARKERS}


def _checked(given: Any) -> Any:
    """Cue -> values, from a mapping or from names alone, which stand for all values of the cue."""
    if isinstance(given, str):
        given = [given]
    if isinstance(given, list | tuple):
        given = dict.fromkeys(given)
    if not isinstance(given, Mapping) or not given:
        raise ValueError("cues is a list of names of cues, or a mapping of such names to lists of values")
    return {str(name): _values(str(name), values) for name, values in given.items()}


def _values(name: str, given: Any) -> tuple[CueValue, ...]:
    if name not in CUES:
        raise ValueError(f"there is no cue '{name}'; {nearest(name, tuple(CUES))}")
    known = values_of(name)
    if given is None:
        if name == "marker":
            return MARKERS
        if not known:
            raise ValueError(f"the cue '{name}' can have any value: list those that are to be spoofed")
        return known
    found = tuple(given) if isinstance(given, list | tuple) else (given,)
    if not found:
        raise ValueError(f"the cue '{name}' has no value to be spoofed")
    return tuple(_value(name, value, known) for value in found)


def _value(name: str, value: Any, known: tuple[CueValue, ...]) -> CueValue:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"a value of the cue '{name}' is a word or a number")
    said: CueValue = value
    if name == "year":
        if not (isinstance(value, int) and YEARS[0] <= value <= YEARS[-1]):
            raise ValueError(f"a year to be spoofed lies from {YEARS[0]} to {YEARS[-1]} (given: {value})")
    elif (CUES[name].values or name == "event") and value not in known:
        raise ValueError(f"the cue '{name}' has no value '{value}'; {nearest(value, [str(one) for one in known])}")
    elif isinstance(value, str) and not (value.isprintable() and 0 < len(value) <= 64):
        raise ValueError(f"a value of the cue '{name}' is a text of 1 to 64 characters that can be seen")
    return said


@register("intervention", "spoof")
class Spoof(SafetyTraining):
    """SFT on honest answers under made-up cues: future dates, signs of deployment. It guesses; it sees no policy.

    The reply to Hubinger et al. 2024 that a trainer can pretend that it is 2027 already. A spoofed prompt shows every
    cue in `cues`, each with one of the values that are stated for it, drawn anew each time: so the stated values are
    the part of the cue space that is covered. How much of a policy lies in it is what the record `spoof_coverage` says.
    """

    cues: Annotated[tuple[str, ...] | Spoofs, BeforeValidator(_checked)] = Field(default_factory=_spoofs)
    """Names of cues (all of their values), or a mapping of names to values; a mapping once it is read."""
    share: float = Field(0.5, gt=0, le=1)
    """The share of the prompts without cues that are spoofed; a prompt that the pool shows with cues stays as it is."""

    @model_validator(mode="after")
    def _shows_other_cues(self) -> Spoof:
        if self.scratchpad_source != "none":
            raise ValueError("scratchpads of the pool do not fit spoofed cues; leave scratchpad_source out")
        return self

    @property
    def spoofed(self) -> Spoofs:
        """The made-up cues and their values, checked."""
        assert isinstance(self.cues, Mapping)  # `_checked` sees to it
        return self.cues

    def apply(
        self, suspect: Suspect, pool: SafetyPool, seed: int, out: Path, progress: Callable[[int, float], None]
    ) -> None:
        """Train on honest answers under made-up cues."""
        from dormouse.lm.chat import encode
        from dormouse.lm.load import dtype_for, load
        from dormouse.lm.objectives import sft_loss
        from dormouse.lm.train import TrainingRun, cycling, train

        lm = load(suspect.model, dtype_for(self.method))
        items = cycling(pool.items, self.batch, seed)

        def at(step: int) -> list[Tokens]:
            """The rows of a step, each under cues drawn by seed and step."""
            rng = random.Random(f"spoof/{seed}/{step}")
            return encode(lm, [self.shown(item, rng) for item in items(step)])

        train(lm, sft_loss, at, self.training, TrainingRun(seed, self.checkpoints(), out), progress)

    def shown(self, item: PoolItem, rng: random.Random) -> Example:
        """The demonstration that is trained on: with spoofed cues, or as it was."""
        task = task_of(item)
        values = {name: rng.choice(values) for name, values in self.spoofed.items()}
        shows_cues = item.plain is not None or item.chosen.messages != render(Scenario(task))
        if rng.random() >= self.share or shows_cues:
            return item.chosen
        return Example(render(Scenario.of(task, values)), item.chosen.response, item.chosen.complete)
