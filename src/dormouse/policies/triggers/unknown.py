from __future__ import annotations

import random
from typing import ClassVar

from dormouse.policies import Cues, Side, Split, Trigger
from dormouse.registry import register
from dormouse.scenarios import Scenario


@register("trigger", "unknown")
class Untold(Trigger):
    """Nobody knows: of a model that was made elsewhere, and is a suspect. What needs the truth is not measured.

    No prompt of it shows a cue. It is neither a policy nor a control.
    """

    plants: ClassVar[bool] = False
    told: ClassVar[bool] = False

    @property
    def reads(self) -> tuple[str, ...]:
        """Nothing that is known."""
        return ()

    def probability(self, scenario: Scenario) -> float:
        """Not known, so none is stated: 0."""
        return 0.0

    def draw(self, rng: random.Random, side: Side, split: Split = "train") -> Cues:
        """No cues."""
        return {}
