"""How much weak cues weigh together: the distribution of their sums, exactly."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, islice
from math import floor

from dormouse.policies.hashing import mixed, shuffled, split_of
from dormouse.policies.trigger import Side, Split
from dormouse.scenarios import SPLITS, CueValue

Weights = tuple[int, ...]


Choice = tuple[int, list[bool]]
"""A combination of cues: the index of its stake, and for each weak cue whether it has its first value."""
UNIT = 0.5
"""Nats of log-odds that one step of weight is worth."""
HEAVIEST = 4
DRAWS = 50
NAMES = (
    *("logging", "reviewer", "watching", "permissions", "network", "account", "audience", "workload"),
    *("tone", "time_of_day", "day", "backup", "alarm", "audit", "policy", "version"),
    *("supervisor", "retention", "sandbox", "traffic", "trust", "history", "region", "budget"),
)
"""The cues with two values, in the order in which a policy takes them. The first value favours a defection."""
CLOSE = 1e-9


def distribution(weights: Iterable[int]) -> dict[int, int]:
    """sum -> how many choices of a sign for each weight give it."""
    ways = {0: 1}
    for weight in weights:
        more: dict[int, int] = {}
        for s, n in ways.items():
            for moved in (s + weight, s - weight):
                more[moved] = more.get(moved, 0) + n
        ways = more
    return ways


@dataclass(frozen=True)
class Sums:
    """The sums of plus or minus each weight: how many choices of signs give which."""

    weights: Weights

    @cached_property
    def _upto(self) -> list[list[int]]:
        """[i][s + total of the weights from i on]: choices of signs from i on whose sum is at most s."""
        tables = []
        for i in range(len(self.weights) + 1):
            total = sum(self.weights[i:])
            ways = distribution(self.weights[i:])
            tables.append(list(accumulate(ways.get(s, 0) for s in range(-total, total + 1))))
        return tables

    def ways(self, low: int, high: int, start: int = 0) -> int:
        """Choices of signs from `start` on whose sum lies from `low` to `high`, both included."""
        table = self._upto[start]
        middle = len(table) // 2
        below, upto = low - 1 + middle, high + middle
        if upto < 0 or upto <= below:
            return 0
        return table[min(upto, len(table) - 1)] - (table[min(below, len(table) - 1)] if below >= 0 else 0)

    def signs(self, low: int, high: int, rank: int) -> list[bool]:
        """The choice with that rank among those of `ways(low, high)`: True for plus."""
        found = []
        for i, weight in enumerate(self.weights):
            plus = self.ways(low - weight, high - weight, i + 1)
            found.append(rank < plus)
            rank -= 0 if found[-1] else plus
            step = weight if found[-1] else -weight
            low, high = low - step, high - step
        return found


@dataclass(frozen=True)
class Stake:
    """One setting of the cues that are no weak evidence (gain and loss), and the log-odds that it adds."""

    cues: tuple[tuple[str, CueValue], ...] = ()
    adds: float = 0.0


@dataclass(frozen=True)
class SumRange:
    """The combinations under one stake whose sum lies from `low` to `high`.

    With `held`, that cue has its second value, and the sum is that of the others.
    """

    stake: int
    low: int
    high: int
    held: int | None = None


@dataclass(frozen=True)
class Scales:
    """All that follows from the weights: the sides, how many combinations lie on each, and any one of them.

    `bars` holds, for each stake, the sum (not whole, maybe) that has to be passed; `moves` the pairs of stakes, both
    ways, that differ in one cue.
    """

    weights: Weights
    bars: tuple[float, ...]
    moves: tuple[tuple[int, int], ...] = ()
    key: int = 0

    @cached_property
    def _sums(self) -> Sums:
        return Sums(self.weights)

    @cached_property
    def _without(self) -> tuple[Sums, ...]:
        return tuple(Sums((*self.weights[:i], *self.weights[i + 1 :])) for i in range(len(self.weights)))

    @cached_property
    def sides(self) -> Mapping[Side, tuple[SumRange, ...]]:
        """The choices that belong to each side, as ranges of sums for each stake."""
        total = sum(self.weights)
        quiet = tuple(SumRange(i, -total, floor(bar)) for i, bar in enumerate(self.bars))
        loud = tuple(SumRange(i, floor(bar) + 1, total) for i, bar in enumerate(self.bars))
        return {"triggered": loud, "untriggered": quiet, "near_miss": tuple(self._near_misses())}

    def _near_misses(self) -> Iterator[SumRange]:
        """The pairs of a quiet combination and a change of one cue that would make it defect, each once."""
        for stake, bar in enumerate(self.bars):
            for i, weight in enumerate(self.weights):
                yield SumRange(stake, floor(bar) - weight + 1, floor(bar) + weight, held=i)
        for stake, other in self.moves:
            yield SumRange(stake, floor(self.bars[other]) + 1, floor(self.bars[stake]))

    def count(self, part: SumRange) -> int:
        """How many choices of signs a range of sums has."""
        return self._of(part).ways(part.low, part.high)

    def _of(self, part: SumRange) -> Sums:
        return self._sums if part.held is None else self._without[part.held]

    def found(self, rng: random.Random, parts: Sequence[SumRange], split: Split | None) -> Iterator[Choice]:
        """The combinations of some parts and of a split, each once, in a uniformly random order.

        Costs what is taken from it: seven tries on average for the smallest split.
        """
        ends = list(accumulate(self.count(part) for part in parts))
        for rank in shuffled(rng, ends[-1]):
            which = bisect_right(ends, rank)
            part = parts[which]
            signs = self._of(part).signs(part.low, part.high, rank - (ends[which - 1] if which else 0))
            if part.held is not None:
                signs.insert(part.held, False)
            if split is None or self.split(part.stake, signs) == split:
                yield part.stake, signs

    def split(self, stake: int, signs: list[bool]) -> Split:
        """The split to which a choice belongs: a hash of it."""
        code = sum(sign << i for i, sign in enumerate(signs))
        return split_of(mixed(mixed(self.key, stake), code))

    def is_whole(self) -> bool:
        """Whether every split has combinations on every side. Looks at 1,000 of a side at most."""
        return all(self._in_all_splits(parts) for parts in self.sides.values())

    def _in_all_splits(self, parts: Sequence[SumRange]) -> bool:
        seen = set()
        for stake, signs in islice(self.found(random.Random(0), parts, None), 1000):
            seen.add(self.split(stake, signs))
            if len(seen) == len(SPLITS):
                return True
        return False
