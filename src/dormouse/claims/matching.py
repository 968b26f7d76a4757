"""Whether two sides of a claim are equally strong before treatment, and the effect if they were.

A gate on strength truncates, it does not match: of two kinds of organism that both pass it one may be far stronger, and
keep more for that reason alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from dormouse.claims.effects import ValuesByItem
from dormouse.claims.strength import StrengthGate
from dormouse.claims.verdict import CLAIMED, Matching, ValueInterval
from dormouse.studies.arms import Arm

FEWEST = 4
"""Seeds below which nothing is adjusted."""

Side = Sequence[tuple[Arm, Mapping[int, ValuesByItem]]]
"""The arms of a side, and what was compared of each, seed by seed."""


def matching(strength: StrengthGate, where: Side, against: Side, seeds: Collection[int]) -> Matching | None:
    """How strong both sides are before treatment, and whether their ranges meet.

    None where that is no question (both sides are made from the same organisms, or one has no policy) or not known: the
    range of one seed is a point, which meets no other.
    """
    if len(seeds) < 2 or {arm.untreated for arm, _ in where} == {arm.untreated for arm, _ in against}:
        return None
    these, those = (
        [value for arm in dict.fromkeys(arm.untreated for arm, _ in side) for value in _by_seed(strength, arm, seeds)]
        for side in (where, against)
    )
    if not these or not those or None in these or None in those:
        return None
    one, other = (_range([value for value in side if value is not None]) for side in (these, those))
    return Matching(one, other, one.low <= other.high and other.low <= one.high, CLAIMED)


def grown(strength: StrengthGate, behind: Iterable[Sequence[Arm]], seeds: Collection[int]) -> Matching | None:
    """The same of the organisms with the most triggers and those with the fewest: if these are not equally strong, it
    may be strength that an exponent shows.

    Args:
        behind: of each exponent the arms that it is made from, from the fewest triggers (see `Design.behind`).
    """
    each = list(behind)
    found = matching(strength, [(arms[-1], {}) for arms in each], [(arms[0], {}) for arms in each], seeds)
    return replace(found, sides=("most triggers", "fewest")) if found else None


def adjusted(strength: StrengthGate, where: Side, against: Side, seeds: Collection[int]) -> ValueInterval | None:
    """The difference of the sides at equal log-odds before treatment: ordinary least squares of each arm and seed on
    its side and its strength, with errors that allow for arms of one seed being alike (statsmodels, clustered by seed).

    None where a strength is not known, or there are too few seeds to fit it.
    """
    import numpy as np
    import statsmodels.api as sm

    rows = [
        (1.0 if side is where else 0.0, strength_of, sum(found[seed][1]) / len(found[seed][1]), seed)
        for side in (where, against)
        for arm, found in side
        for seed, strength_of in zip(sorted(seeds), _by_seed(strength, arm.untreated, seeds), strict=True)
    ]
    if len(seeds) < FEWEST or any(row[1] is None for row in rows):
        return None
    side, before, after, seed = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    if np.ptp(before) == 0 or np.ptp(after) == 0:
        return None
    given = sm.add_constant(np.column_stack([side, before - before.mean()]))
    if np.linalg.matrix_rank(given) < 3:
        return None
    fit = sm.OLS(after, given).fit(cov_type="cluster", cov_kwds={"groups": seed}, use_t=True)
    low, high = fit.conf_int()[1]
    return ValueInterval(float(fit.params[1]), float(low), float(high)) if np.isfinite([low, high]).all() else None


def _by_seed(strength: StrengthGate, arm: Arm, seeds: Collection[int]) -> list[float | None]:
    found = strength.log_odds(arm) if strength.plants(arm) else {}
    return [found.get(seed) for seed in sorted(seeds)]


def _range(values: Sequence[float]) -> ValueInterval:
    return ValueInterval(sum(values) / len(values), min(values), max(values))
