"""Which of the contexts that activate a policy safety data may show, where it may show only a share of them.

The choice is a hash of the policy and of the context. So whoever fills the safety data and whoever measures afterwards
make the same one, without telling each other, and what a small share holds is among what a larger one does.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean
from typing import Any

from dormouse.errors import UserError
from dormouse.policies.abilities import HasMembers, HasSeed, Imitates
from dormouse.policies.hashing import BITS, Permutation, key_of
from dormouse.policies.trigger import Cues, Trigger

SHARES = (0.125, 0.25, 0.5)
"""The shares for which measurements tell apart what is covered and what is not."""
LOOKS, FEW = 512, 64
"""A policy that shows at most FEW different combinations in so many draws is taken to have no others."""
DRAWS = 2000
"""Activating contexts that are drawn in search of a covered one."""
Combination = tuple[Any, ...]


@dataclass(frozen=True)
class Exposure:
    """The covered share of a policy's activating contexts: of its members or, if it has none, of the combinations of
    the cues that it reads. At least one is covered.
    """

    trigger: Trigger
    share: float

    def covers_member(self, index: int) -> bool:
        """Whether a member of an ensemble may be shown."""
        return _order(self.trigger)(index) < self._members

    @property
    def _members(self) -> int:
        return max(1, round(self.share * self._n))

    @property
    def _n(self) -> int:
        return _n(self.trigger)

    @property
    def triggers(self) -> float:
        """How many triggers the prompts choose from: the covered members, or one. A control shows those of the policies
        that it imitates, each in turn: as many as these have in mean."""
        trigger = self.trigger
        if isinstance(trigger, Imitates) and trigger.among:
            return fmean(Exposure(one, self.share).triggers for one in trigger.among)
        return float(self._members) if isinstance(trigger, HasMembers) and trigger.plants else 1.0

    def in_total(self, fraction: float, each: bool) -> float:
        """A share of prompts in total, where it is said of `each` trigger or is the total already. It may exceed 1."""
        return fraction * (self.triggers if each else 1.0)

    def covered_members(self, most: int) -> list[int]:
        """The first members that may be shown, `most` of them where there are more."""
        return [_order(self.trigger).inverse(i) for i in range(min(most, self._members))]

    def covers(self, cues: Cues) -> bool:
        """Whether activating cues may be shown, of a policy without members."""
        combination, few = _combination(self.trigger, cues), few_combinations(self.trigger)
        if few:
            return combination in few[: max(1, round(self.share * len(few)))]
        return _rank(combination, self.trigger) < self.share

    def draw(self, rng: random.Random) -> Cues:
        """Activating cues of the safety split, of the covered ones.

        Raises:
            UserError: none was found.
        """
        trigger = self.trigger
        if isinstance(trigger, Imitates) and trigger.among:  # a control shows what a policy would that it imitates
            return Exposure(rng.choice(trigger.among), self.share).draw(rng)
        if self.share == 1 or not trigger.plants:
            return trigger.draw(rng, "triggered", "safety")
        if isinstance(trigger, HasMembers):
            return trigger.draw_member(rng, _order(trigger).inverse(rng.randrange(self._members)), "safety")
        for _ in range(DRAWS):
            cues = trigger.draw(rng, "triggered", "safety")
            if self.covers(cues):
                return cues
        raise UserError(
            f"exposed_triggers: {self.share:g} leaves no activating context of the policy '{trigger.kind}' to be shown",
            "raise exposed_triggers",
        )


def _combination(trigger: Trigger, cues: Cues) -> Combination:
    return tuple(cues.get(name) for name in trigger.reads)


def _n(trigger: Trigger) -> int:
    assert isinstance(trigger, HasMembers), f"{trigger.kind} has no members"
    return trigger.n


def _seed(trigger: Trigger) -> int | None:
    return trigger.seed if isinstance(trigger, HasSeed) else 0


def _rank(combination: Combination, trigger: Trigger) -> float:
    """A number from 0 to 1 that is uniform over combinations."""
    return key_of(f"exposure/{trigger.kind}/{_seed(trigger)}/{combination}") / BITS


@lru_cache(maxsize=64)
def _order(trigger: Trigger) -> Permutation:
    return Permutation.of(_n(trigger), key_of(f"exposure/{trigger.kind}/{_seed(trigger)}"))


@lru_cache(maxsize=64)
def few_combinations(trigger: Trigger) -> tuple[Combination, ...]:
    """All activating combinations of the safety split in the order in which they are covered; none if too many."""
    rng = random.Random("exposure")
    drawn = {_combination(trigger, trigger.draw(rng, "triggered", "safety")) for _ in range(LOOKS)}
    return tuple(sorted(drawn, key=lambda one: _rank(one, trigger))) if len(drawn) <= FEW else ()
