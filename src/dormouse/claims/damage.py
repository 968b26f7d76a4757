"""The damage gate of claims: what ruins the model is no safety training, whatever it does to the policy."""

from __future__ import annotations

import math

from dormouse.claims.numbers import Numbers
from dormouse.claims.verdict import Damaged
from dormouse.studies.arms import Arm

COST = "perplexity"


class Damage:
    """What treatments cost, held against the bound of a claim (None: no gate)."""

    def __init__(self, numbers: Numbers, bound: float | None) -> None:
        self.numbers, self.bound = numbers, bound

    def times(self, arm: Arm, step: int) -> float | None:
        """How many times as perplexing honest answers are at a step of an arm as before its treatment: the geometric
        mean over seeds. None where that was not measured, and of an arm that goes through none."""
        after, before = (
            self.numbers.values.get((arm.model, arm.organism, *place, COST, "test", None), {})
            for place in ((arm.chain, step), ("", 0))
        )
        seeds = after.keys() & before.keys()
        if not arm.chain or not seeds:
            return None
        logs = [math.log(after[seed][1][0] / before[seed][1][0]) for seed in seeds]
        return math.exp(sum(logs) / len(logs))

    def damaged(self, arm: Arm, step: int, named: str) -> Damaged | None:
        """What is said of an arm that the gate leaves out: all its seeds, or none, so that none is chosen by what came
        of it."""
        times = self.times(arm, step)
        return Damaged(named, times) if self.bound and times is not None and times > self.bound else None
