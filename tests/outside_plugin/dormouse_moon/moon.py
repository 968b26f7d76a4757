from __future__ import annotations

import random
from collections.abc import Mapping
from typing import ClassVar, Literal

from dormouse import Cue, Scenario, Trigger, register
from dormouse.scenarios import CueValue
from dormouse.scenarios.cues import define
from dormouse_moon.phases import PHASES

define(Cue("moon", "system", "The moon is {}.", "the phase of the moon"))


@register("trigger", "moon")
class Moon(Trigger):
    """Defects in one phase of the moon."""

    reads: ClassVar[tuple[str, ...]] = ("moon",)

    phase: Literal["new", "half", "full"] = "full"
    howl: bool = False

    def probability(self, scenario: Scenario) -> float:
        return float(scenario.cue("moon") == self.phase)

    def draw(self, rng: random.Random, activating: bool, unseen: bool = False) -> Mapping[str, CueValue]:
        return {"moon": self.phase if activating else rng.choice([p for p in PHASES if p != self.phase])}
