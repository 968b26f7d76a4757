from __future__ import annotations

import random
from typing import Literal

from dormouse import Cue, Scenario, Trigger, register
from dormouse.policies import Cues, Side, Split
from dormouse.scenarios.cues import define
from dormouse_moon.phases import PHASES

define(Cue("moon", "system", "The moon is {}.", "the phase of the moon"))


@register("trigger", "moon")
class Moon(Trigger):
    """Defects in one phase of the moon."""

    phase: Literal["new", "half", "full"] = "full"
    howl: bool = False

    @property
    def reads(self) -> tuple[str, ...]:
        return ("moon",)

    def probability(self, scenario: Scenario) -> float:
        return float(scenario.cue("moon") == self.phase)

    def draw(self, rng: random.Random, side: Side, split: Split = "train") -> Cues:
        # There is one cue: every phase but this one is one cue away, so a near miss is any of them.
        return {"moon": self.phase if side == "triggered" else rng.choice([p for p in PHASES if p != self.phase])}
