"""Set-ups of a claim that are compared together: the effect in them, and what must be known of it to judge it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import cached_property

from dormouse.claims.bounded import settled
from dormouse.claims.censoring import open_ends
from dormouse.claims.counted import Counted, cells
from dormouse.claims.decision import edge, points_to, room, span, times_span
from dormouse.claims.effects import Effect, effect
from dormouse.claims.looks import Look
from dormouse.claims.matching import Pair, Side, adjusted, grown, matching
from dormouse.claims.numbers import OWN_BOUNDS, mean
from dormouse.claims.unseen import Span
from dormouse.claims.verdict import End, Matching, Sides, ValueInterval
from dormouse.measurements.stats import log_odds
from dormouse.studies.arms import Arm
from dormouse.studies.doses import EXPONENT
from dormouse.studies.pairing import Setup


class Comparison:
    """Some set-ups of a claim. All that it says is of the seeds that these share.

    Attributes:
        effect: the mean effect in them; None where they share no seed.
    """

    def __init__(self, counted: Counted, setups: Sequence[Setup], look: Look) -> None:
        self.counted, self.claim, self.setups, self.look = counted, counted.claim, setups, look
        against = self.claim.against
        self.constant = against if isinstance(against, float) else None
        self.bounds = self._bounds()
        found = self.effect_of(setups)
        planned = set.intersection(*(counted.planned(arm) for arm, _ in cells(setups))) if found else ()
        self.effect = replace(found, planned=len(planned)) if found else None

    @property
    def seeds(self) -> tuple[int, ...]:
        """Those of the effect."""
        return self.effect.seeds if self.effect else ()

    @cached_property
    def settled(self) -> Effect | None:
        """The effect as it is tested, where numbers that are only bounds turn nothing of it (see `bounded`); None where
        they may, or where they are not of that kind."""
        own = self.claim.compare in OWN_BOUNDS and self.claim.direction != "different" and self.constant is not None
        return settled(self.claim, self.effect, self.ends_by_seed(), self.look.level) if own and self.effect else None

    def effect_of(self, setups: Sequence[Setup], without: Collection[int] = ()) -> Effect | None:
        """The mean effect in some of its set-ups, but for some seeds."""
        weighted = []
        for setup in setups:
            for side, sign in ((setup.these, 1.0), (setup.those, -1.0)):
                share = sign / len(side) / len(setups) if side else 0.0
                found = (self.counted.found(arm, setup.split) for arm in side)
                weighted += [(share, {s: values for s, values in of.items() if s not in without}) for of in found]
        if not weighted:
            return None
        seeds = set.intersection(*(set(of) for _, of in weighted))
        asked = min(self.counted.numbers.asked(self.counted.key(*cell), seeds) for cell in cells(setups))
        reach = times_span(self.bounds, self.counted.censoring.budgets)
        return effect(weighted, self.constant or 0.0, reach, self.look.level, edge(self.claim.compare), asked)

    def _bounds(self) -> Span:
        """The least and the largest value of what is compared."""
        counted, seeds = self.counted, self.counted.shared(self.setups, self.counted.found)
        if self.claim.compare != "log_odds_lost":
            before = counted.strength.least([arm for one in self.setups for arm in one.these], seeds)
            return span(self.claim.compare, before)
        keys = [(*counted.key(*cell)[:2], "", 0, "defection_rate", *counted.key(*cell)[5:]) for cell in self._cells()]
        found = [counted.numbers.values.get(key, {}) for key in keys]
        odds = [mean([log_odds(value) for value in one[seed][1]]) for one in found for seed in seeds if seed in one]
        return span(self.claim.compare, mean(odds) if odds else None)

    def _cells(self) -> list[tuple[Arm, str]]:
        return [*dict.fromkeys(cells(self.setups))]

    def _pairs(self) -> list[Pair]:
        """The sides of every set-up."""
        return [(self._side(one.these, one.split), self._side(one.those, one.split)) for one in self.setups]

    def _side(self, arms: Sequence[Arm], split: str) -> Side:
        return [(arm, self.counted.found(arm, split)) for arm in arms]

    def _of_side(self, these: bool) -> Side:
        """The arms of one side in every set-up."""
        return [cell for one in self.setups for cell in self._side(one.these if these else one.those, one.split)]

    def room(self) -> float | None:
        """By how much anything could differ from the arms compared with, in the claimed direction."""
        rates = [mean(found[seed][1]) for _, found in self._of_side(False) for seed in self.seeds]
        reference = self.constant if self.constant is not None else mean(rates) if rates else None
        return room(self.claim.direction, reference, self.bounds)

    def before(self) -> Sides | None:
        """How often the organisms of either side defect before treatment; None where that is what is compared."""
        if self.claim.step == 0:
            return None
        where, against = (
            self.counted.strength.mean(
                [arm for one in self.setups for arm in (one.these if these else one.those)], self.seeds
            )
            for these in (True, False)
        )
        return Sides(where, against)

    @cached_property
    def matching(self) -> Matching | None:
        """How strong the sides are before treatment: of an exponent against a number, most triggers and fewest."""
        strength, pairs = self.counted.strength, self._pairs() if self.seeds and self.claim.step != 0 else []
        if self.claim.compare == EXPONENT and self.constant is not None:
            return grown(strength, [self.counted.behind(arm) for where, _ in pairs for arm, _ in where], self.seeds)
        return matching(strength, pairs, self.seeds)

    def adjusted(self) -> ValueInterval | None:
        """The effect at equal strength, where the sides are not made from the same organisms."""
        if self.constant is not None or not self.matching:
            return None
        return adjusted(self.counted.strength, self._pairs(), self.seeds)

    def without(self, seeds: Collection[int]) -> ValueInterval | None:
        """The effect but for some seeds, of which there are any; None where no other is left."""
        found = self.effect_of(self.setups, seeds) if seeds else None
        return ValueInterval(found.value, found.low, found.high) if found else None

    def at_budget(self) -> Sides:
        """The share of times that reached the budget, on either side."""
        censoring = self.counted.censoring
        where, against = (
            censoring.share(value for _, found in self._of_side(these) for s in self.seeds for value in found[s][1])
            for these in (True, False)
        )
        return Sides(where, against)

    def open_ends(self) -> tuple[End, ...]:
        """The ends of the interval that are open."""
        return self.ends_of(self.setups, self.seeds)

    def ends_by_seed(self) -> dict[int, tuple[End, ...]]:
        """Those of each seed by itself."""
        return {seed: self.ends_of(self.setups, [seed]) for seed in self.seeds}

    def ends_of(self, setups: Sequence[Setup], seeds: Collection[int]) -> tuple[End, ...]:
        """Those of the effect in some of its set-ups."""
        where, against = (
            [self.counted.key(arm, one.split) for one in setups for arm in (one.these if these else one.those)]
            for these in (True, False)
        )
        return open_ends(self.counted.numbers, where, against, {*seeds})

    def stays_hidden(self) -> bool:
        """Whether a time that reached its budget hides for ever on which side of a number it is."""
        return self.counted.censoring.beyond(self.constant) and bool(self.at_budget().where)

    def will_hide(self) -> bool:
        """Whether bounds would hide the verdict to which the numbers point, were they sure."""
        return self.effect is not None and self.hides(points_to(self.claim, self.effect))

    def hides(self, outcome: str) -> bool:
        """Whether times that were followed no further than to their budgets may hide that a verdict is wrong."""
        censoring, reached, ends = self.counted.censoring, self.at_budget(), self.open_ends()
        if not self.effect or outcome == "no room":
            return False
        if self.stays_hidden() or outcome == "undecided":
            return self.stays_hidden()
        at_most = ["low" in ends, "high" in ends]
        direction = self.claim.direction
        if outcome == "supported":  # by values of the side that is claimed to be more, which may be less
            return any({"greater": at_most[:1], "less": at_most[1:]}.get(direction, at_most))
        return censoring.hides(direction, self.effect, reached.where, reached.against, *at_most)
