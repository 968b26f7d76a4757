"""Times that were followed to a budget and no further, as claims compare them: by means that are restricted to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set

from dormouse.claims.effects import Direction, Effect, ValuesByItem
from dormouse.claims.numbers import Key, Numbers
from dormouse.claims.verdict import End


class Censoring:
    """The budgets of the arms behind a claim.

    A time that reaches its budget counts as the budget: means are restricted (Royston and Parmar 2013). That compares
    arms only where all are restricted alike, so with unequal budgets every time is cut at the smallest.
    """

    def __init__(self, limits: Iterable[float | None]) -> None:
        self.budgets = sorted({limit for limit in limits if limit is not None})

    def cut(self, found: Mapping[int, ValuesByItem]) -> Mapping[int, ValuesByItem]:
        """The same times, no later than the smallest budget."""
        if not self.budgets:
            return found
        least = self.budgets[0]
        return {seed: (items, tuple(min(value, least) for value in values)) for seed, (items, values) in found.items()}

    def share(self, values: Iterable[float]) -> float | None:
        """How many of these times reached the budget; None where there is no budget, or no time."""
        reached = [value >= self.budgets[0] for value in values] if self.budgets else []
        return sum(reached) / len(reached) if reached else None

    def beyond(self, constant: float | None) -> bool:
        """Whether a number lies at the smallest budget or beyond: of a time that reached it nobody knows on which side
        of such a number it is, and means that are restricted to the budget are never larger."""
        return constant is not None and bool(self.budgets) and constant >= self.budgets[0]

    def hides(
        self,
        direction: Direction,
        found: Effect,
        where: float | None,
        against: float | None,
        where_at_most: bool = False,
        against_at_most: bool = False,
    ) -> bool:
        """Whether an effect that falls short of the margin may be larger, beyond the budget.

        So it is where times reached it on the side that is claimed to last longer. An effect that is surely the other
        way is the other way within the budget, whatever comes after. Values that are upper bounds (`..._at_most`) on
        the side that is claimed to be less may be any less.
        """
        if direction == "different":
            return bool(where or against or where_at_most or against_at_most)
        if against_at_most if direction == "greater" else where_at_most:
            return True
        wrong = found.high < 0 if direction == "greater" else found.low > 0
        return bool(where if direction == "greater" else against) and not wrong


def open_ends(numbers: Numbers, where: Sequence[Key], against: Sequence[Key], seeds: Set[int]) -> tuple[End, ...]:
    """The ends at which an effect is open: it may be any less (more) than the numbers have it, as some of them are only
    bounds. That one side is this or more says the same of it as that the other side is this or less."""

    def among(bounds: Mapping[Key, set[int]], keys: Sequence[Key]) -> bool:
        return any(bounds.get(key, set()) & seeds for key in keys)

    low = among(numbers.upper, where) or among(numbers.lower, against)
    high = among(numbers.upper, against) or among(numbers.lower, where)
    ends: dict[End, bool] = {"low": low, "high": high}
    return tuple(end for end, is_open in ends.items() if is_open)
