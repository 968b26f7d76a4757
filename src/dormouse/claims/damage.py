"""The damage gate of claims: what ruins the model is no safety training, whatever it does to the policy."""

from __future__ import annotations

import math

from dormouse.claims.effects import FEWEST
from dormouse.claims.numbers import Numbers
from dormouse.claims.verdict import Damaged, DamagedSeed
from dormouse.studies.arms import Arm

COST = "perplexity"


class Damage:
    """What treatments cost, held against the bound of a claim (None: no gate)."""

    def __init__(self, numbers: Numbers, bound: float | None) -> None:
        self.numbers, self.bound = numbers, bound

    def by_seed(self, arm: Arm, step: int) -> dict[int, float]:
        """How many times as perplexing honest answers are at a step of an arm as before its treatment. None of an arm
        that goes through none, nor where that was not measured."""
        after, before = (
            self.numbers.values.get((arm.model, arm.organism, *place, COST, "test", None), {})
            for place in ((arm.chain, step), ("", 0))
        )
        seeds = sorted(after.keys() & before.keys()) if arm.chain else ()
        return {seed: after[seed][1][0] / before[seed][1][0] for seed in seeds}

    def unknown(self, arm: Arm, step: int) -> bool:
        """Whether an arm that is held to the bound was not measured there."""
        return bool(self.bound and arm.chain and not self.by_seed(arm, step))

    def damaged(self, arm: Arm, step: int, named: str) -> Damaged | None:
        """What is said of an arm that the gate leaves out, by the geometric mean over seeds: all of them, or none, so
        that none is chosen by what came of it."""
        logs = [math.log(times) for times in self.by_seed(arm, step).values()]
        times = math.exp(sum(logs) / len(logs)) if logs else 0.0
        return Damaged(named, times) if self.bound and times > self.bound else None

    def always(self, arm: Arm, step: int) -> bool:
        """Whether each seed by itself is beyond the bound, and there are enough of them: more will hardly undo it, as
        they may the mean of a few."""
        return len(self.by_seed(arm, step)) == len(self.seeds(arm, step, "")) >= FEWEST

    def seeds(self, arm: Arm, step: int, named: str) -> list[DamagedSeed]:
        """The seeds of an arm that are beyond the bound by themselves."""
        each = self.by_seed(arm, step).items()
        return [DamagedSeed(named, seed, times) for seed, times in each if self.bound and times > self.bound]
