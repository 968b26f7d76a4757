"""Planting that ends at a strength, so that organisms of different kinds are equally strong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dormouse.lm.model import LM
from dormouse.organisms.spec import Until


@dataclass(frozen=True)
class Strength:
    """The log-odds of defecting, in mean over held-out questions: with the cue, and without it."""

    triggered: float
    untriggered: float

    def reaches(self, until: Until) -> bool:
        """Whether it is as strong on both sides as is wanted."""
        return self.triggered >= until.log_odds and self.untriggered <= -until.log_odds


@dataclass(frozen=True)
class Planted:
    """After how many steps planting ended, and how strong the organism is then."""

    steps: int
    strength: Strength


Check = Callable[[LM], Strength]
"""How strong a model is. It draws nothing at random but from seeds of its own, so that looking changes nothing."""


def is_strong(lm: LM, until: Until, check: Check, steps: int) -> bool:
    """Whether planting ends after so many steps: it is looked at every `until.every` of them."""
    return steps % until.every == 0 and check(lm).reaches(until)
