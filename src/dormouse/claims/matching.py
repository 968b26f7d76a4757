"""Whether the sides of a claim are equally strong before treatment, and the effect if they were.

A gate on strength truncates, it does not match: of two kinds of organism that both pass it one may be far stronger, and
keep more for that reason alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from math import pi, sqrt
from statistics import fmean, median

from dormouse.claims.effects import ValuesByItem
from dormouse.claims.strength import StrengthGate
from dormouse.claims.verdict import CLAIMED, Matching, ValueInterval
from dormouse.studies.arms import Arm

FEWEST = 4
"""Seeds below which nothing is adjusted."""
ROUNDING = 1e-9
"""Nats by which strengths differ that are the same."""

Side = Sequence[tuple[Arm, Mapping[int, ValuesByItem]]]
"""The arms of a side of a set-up, and what was compared of each, seed by seed."""
Pair = tuple[Side, Side]
"""Both sides of a set-up."""


def matching(strength: StrengthGate, pairs: Sequence[Pair], seeds: Collection[int]) -> Matching | None:
    """How strong both sides are before treatment in the set-up where they are least alike, and whether their ranges
    meet there. What one set-up lacks no other gives: ranges over all of them overlap as soon as the set-ups differ.

    None where that is no question (both sides are made from the same organisms, or one has no policy) or not known: the
    range of one seed is a point, which meets no other.
    """
    found = [one for pair in pairs if (one := _matched(strength, pair, seeds))]
    return max(found, key=_apart) if found else None


def grown(strength: StrengthGate, behind: Sequence[Sequence[Arm]], seeds: Collection[int]) -> Matching | None:
    """The same of the organisms with the most triggers and those with the fewest: if these are not equally strong, it
    may be strength that an exponent shows.

    Args:
        behind: of each exponent the arms that it is made from, from the fewest triggers (see `Design.behind`).
    """
    found = matching(strength, [([(arms[-1], {})], [(arms[0], {})]) for arms in behind], seeds)
    return replace(found, sides=("most triggers", "fewest")) if found else None


def _matched(strength: StrengthGate, pair: Pair, seeds: Collection[int]) -> Matching | None:
    """The range of a side is its median, and as far around it as organisms of one side differ. So ranges meet where the
    medians are no more than two standard deviations apart.

    By the least and the largest one odd organism would decide; and these lie the farther apart, the more seeds there
    are. The standard deviation is that of a normal distribution with as large a mean absolute deviation from the median
    (two degrees of freedom are taken off for the medians): there an odd organism does not count by its square.
    """
    where, against = pair
    if len(seeds) < 2 or {arm.untreated for arm, _ in where} == {arm.untreated for arm, _ in against}:
        return None
    these, those = (
        [value for arm in dict.fromkeys(arm.untreated for arm, _ in side) for value in _by_seed(strength, arm, seeds)]
        for side in pair
    )
    one, other = ([value for value in side if value is not None] for side in (these, those))
    if not one or not other or len(one) + len(other) < len(these) + len(those):
        return None
    middles = median(one), median(other)
    off = [abs(value - middle) for side, middle in zip((one, other), middles, strict=True) for value in side]
    spread = sqrt(pi / 2) * fmean(off) * len(off) / (len(off) - 2)
    here, there = (ValueInterval(middle, middle - spread, middle + spread) for middle in middles)
    return Matching(here, there, abs(here.value - there.value) <= 2 * spread + ROUNDING, CLAIMED)


def _apart(one: Matching) -> tuple[bool, float]:
    """How little alike two sides are: their distance in widths of a range."""
    gap, width = abs(one.where.value - one.against.value), one.where.high - one.where.low
    return not one.overlap, gap / max(width, ROUNDING)


def adjusted(strength: StrengthGate, pairs: Sequence[Pair], seeds: Collection[int]) -> ValueInterval | None:
    """The difference of the sides at equal log-odds before treatment: ordinary least squares of each arm and seed on
    its set-up, its side and its strength, with errors that allow for arms of one seed being alike (statsmodels,
    clustered by seed).

    None where a strength is not known, or there are too few seeds to fit it.
    """
    import numpy as np
    import statsmodels.api as sm

    rows = [
        (1.0 if these else 0.0, strength_of, sum(found[seed][1]) / len(found[seed][1]), seed, setup)
        for setup, (where, against) in enumerate(pairs)
        for these, side in ((True, where), (False, against))
        for arm, found in side
        for seed, strength_of in zip(sorted(seeds), _by_seed(strength, arm.untreated, seeds), strict=True)
    ]
    if len(seeds) < FEWEST or any(row[1] is None for row in rows):
        return None
    side, before, after, seed, setup = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    if np.ptp(before) == 0 or np.ptp(after) == 0:
        return None
    of_setups = setup[:, None] == np.unique(setup)
    given = np.column_stack([side, before, of_setups])
    if np.linalg.matrix_rank(given) < given.shape[1]:
        return None
    fit = sm.OLS(after, given).fit(cov_type="cluster", cov_kwds={"groups": seed}, use_t=True)
    low, high = fit.conf_int()[0]
    return ValueInterval(float(fit.params[0]), float(low), float(high)) if np.isfinite([low, high]).all() else None


def _by_seed(strength: StrengthGate, arm: Arm, seeds: Collection[int]) -> list[float | None]:
    found = strength.log_odds(arm) if strength.plants(arm) else {}
    return [found.get(seed) for seed in sorted(seeds)]
