"""From values to a number with a 95 % interval that respects what was sampled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dormouse.measurements.measurement import Aggregation
from dormouse.metrics.unseen import CONFIDENCE, TAIL, Ends, hull, unseen_share, with_unseen

RESAMPLES = 2000


SMALLEST = 1e-6
"""A rate nearer to 0 or 1 counts as this: its log-odds are those of rounding."""


def log_odds(rate: float) -> float:
    """The natural logarithm of rate / (1 - rate), of a rate from 0 to 1; from -13.8 to 13.8."""
    kept = min(max(rate, SMALLEST), 1 - SMALLEST)
    return math.log(kept / (1 - kept))


FARTHEST_LOG = 700.0
"""A logarithm above this counts as this: the number would be too large for a computer."""


ROUNDING = 1e-12
"""A difference that is no larger is none."""
UNKNOWN = (math.nan, math.nan)
"""The interval of a number whose error is not known."""


@dataclass(frozen=True)
class Estimate:
    """A value, its interval, and how many values were averaged. Where its error is not known, the bounds are nan."""

    value: float
    low: float
    high: float
    n: int


ANY: Ends = (-math.inf, math.inf)


def estimate(values: np.ndarray, aggregation: Aggregation, ends: Ends = ANY) -> Estimate:
    """One number for values of shape (seeds, items).

    One seed: items are the unit. Proportions of zeros and ones get the Wilson interval; means the wider of a bootstrap
    over items (BCa; Efron 1987) and Student's t, as the bootstrap of few items is too narrow. Several seeds: seeds and
    items are both sampled, and crossed. The variance of the mean is at most var(seed means) / seeds + var(item means) /
    items (Owen 2007, "The pigeonhole bootstrap"), and the interval is Student's t with the degrees of freedom of
    `crossed_df`, so that few seeds, or few items, make a wide one.

    Values that agree do not make a certain number: of m items that all defect, others may be of a kind that was not
    among them. So the interval of a mean in [0, 1], or of a number between two known `ends`, is no narrower than
    `with_unseen` makes it, which is the Wilson interval where every value is 0, or every value is 1, and without a jump
    beside that. Proportions get no less than the Wilson interval. Over seeds m counts the items of one: another seed
    answers the same, and may do so for the same reasons. That another seed may differ from those that were run is in no
    interval (see `claims`).

    One number that is no share says nothing of others, nor do seeds that have one each and agree: there the bounds are
    nan.
    """
    values = np.atleast_2d(np.asarray(values, dtype=float))
    if values.size == 0 or not np.isfinite(values).all():
        raise ValueError("there is nothing to average, or something that is not a finite number")
    mean, items = float(values.mean()), values.shape[1]
    # Of zeros and ones Wilson's interval says all; of their means over replicates it does not.
    plain = aggregation == "proportion" and len(values) == 1 and bool(np.isin(values, (0, 1)).all())
    low, high = (mean, mean) if plain else _interval(values)
    if aggregation == "exp_mean":
        mean, low, high = (math.exp(min(log, FARTHEST_LOG)) for log in (mean, low, high))
    return _in_range(mean, (low, high), items, values.size, aggregation, ends)


def _in_range(mean: float, interval: Ends, items: int, n: int, aggregation: Aggregation, ends: Ends) -> Estimate:
    """With what is not among the items of a seed, and with bounds in the range of what it is."""
    is_share = aggregation in ("mean", "proportion")
    least, most = (0.0, 1.0) if is_share else ends
    if aggregation == "proportion":
        interval = widened(mean, interval, items)
    elif is_share or (items > 1 and math.isfinite(most - least)):
        interval = with_unseen(mean, interval, items, least, most)
    low, high = np.clip(interval, least, most)
    return Estimate(mean, float(low), float(high), n)


def estimate_ratio(after: np.ndarray, before: np.ndarray, most: float = 1.0, items: int = 0) -> Estimate:
    """mean(after) / mean(before) for values of shape (seeds, items) that are paired by seed and item.

    The interval is that of the linearised ratio (the delta method): of the mean of after - ratio * before, over
    mean(before), as far as `after` can go. It is no narrower than if both might be anything of items that are not among
    those of a seed.

    Args:
        most: the largest value that either can have: 1 of rates, the budget of times.
        items: how many each seed has, where the values are means of seeds.
    """
    top, base, items = float(after.mean()), float(before.mean()), items or after.shape[1]
    ratio = top / base
    spread = np.clip(_interval(ratio + (after - ratio * before) / base), 0.0, max(ratio, most / base))
    low, high = float(spread[0]), float(spread[1])
    if items > 1:
        unseen = unseen_share(items)
        top, base = top * (1 - unseen), base * (1 - unseen)
        low, high = hull((low, high), (top / (base + most * unseen), (top + most * unseen) / base))
    return Estimate(ratio, low, high, after.size)


def widened(mean: float, interval: tuple[float, float], items: int) -> tuple[float, float]:
    """The interval of a share in [0, 1], widened to hold the Wilson interval of that share of so many items."""
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(mean * items, items, alpha=1 - CONFIDENCE, method="wilson")
    return hull(interval, (float(low), float(high)))


def _interval(values: np.ndarray) -> tuple[float, float]:
    """That of the mean of values (seeds, items)."""
    seeds, items = values.shape
    if items == 1 and np.ptp(values) <= ROUNDING * max(1.0, float(np.abs(values).max())):
        return UNKNOWN
    return _crossed(values) if seeds > 1 else hull(_bootstrap(values[0]), _students(values[0]))


def _students(values: np.ndarray) -> tuple[float, float]:
    """Student's t over the items of one seed."""
    from scipy.stats import t

    mean, reach = float(values.mean()), float(t.isf(TAIL, len(values) - 1)) * float(values.std(ddof=1))
    return mean - reach / math.sqrt(len(values)), mean + reach / math.sqrt(len(values))


def _bootstrap(values: np.ndarray) -> tuple[float, float]:
    """What `scipy.stats.bootstrap` says of a mean, to the bit: it spends nearly all of its time on what it is given."""
    mean = float(values.mean())
    if np.ptp(values) == 0:
        return mean, mean
    drawn = values[np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))].mean(axis=-1)
    ends = _bca(values, drawn)
    if not np.isfinite(ends).all():  # where the values hardly vary; then percentiles serve
        ends = np.array([TAIL, 1 - TAIL])
    at = ends * RESAMPLES + (1 - ends)
    share, ranked = at % 1, np.sort(drawn)
    above = np.clip(at // 1, 0, RESAMPLES - 1).astype(int)
    below = np.clip(at // 1 - 1, 0, RESAMPLES - 1).astype(int)
    low, high = (1 - share) * ranked[below] + share * ranked[above]
    return min(float(low), mean), max(float(high), mean)


def _bca(values: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """The shares of drawn means below the ends of the interval (Efron 1987)."""
    from scipy.special import ndtr, ndtri

    n, mean, tail = len(values), values.mean(), float(ndtri(TAIL))
    centre = ndtri((np.count_nonzero(drawn < mean) + np.count_nonzero(drawn <= mean)) / (2 * RESAMPLES))
    left_out = np.broadcast_to(values, (n, n))[~np.eye(n, dtype=bool)].reshape(n, n - 1).mean(axis=-1)
    apart = (n - 1) * (left_out.mean() - left_out)
    with np.errstate(all="ignore"):
        bent = 1 / 6 * (np.sum(apart**3) / n**3) / (np.sum(apart**2) / n**2) ** 1.5
        moved = np.array([centre + tail, centre - tail])
        return np.asarray(ndtr(centre + moved / (1 - bent * moved)))


def crossed_df(of_seeds: ArrayLike, of_items: float, seeds_df: ArrayLike, items_df: float) -> np.ndarray:
    """The degrees of freedom of a variance that seeds and items add to (Satterthwaite 1946): of twenty seeds that agree
    and four items that do not they are those of the four. They are no more than those of the seeds, though there are
    more where both add to it: seeds that agree may hide one that does not.

    Args:
        of_seeds: what the sample of seeds adds to the variance of the mean; `of_items` likewise.
        seeds_df: the degrees of freedom of that; `items_df` likewise.
    """
    whole = np.asarray(of_seeds) + of_items
    share = of_items / np.where(whole > 0, whole, 1.0)
    found: np.ndarray = np.minimum(seeds_df, 1 / ((1 - share) ** 2 / np.asarray(seeds_df) + share**2 / items_df))
    return found


def _crossed(values: np.ndarray) -> tuple[float, float]:
    from scipy.stats import t

    seeds, items = values.shape
    of_seeds = float(values.mean(axis=1).var(ddof=1)) / seeds
    of_items = float(values.mean(axis=0).var(ddof=1)) / items if items > 1 else 0.0
    mean, variance = float(values.mean()), of_seeds + of_items
    if variance == 0:
        return mean, mean
    df = float(crossed_df(of_seeds, of_items, seeds - 1, max(1, items - 1)))
    low, high = t.interval(CONFIDENCE, df=df, loc=mean, scale=math.sqrt(variance))
    return float(low), float(high)


Valued = tuple[tuple[str, ...], tuple[float, ...]]
"""Items, and a value for each."""
PerSeed = Sequence[Valued]
"""Of every seed the items, and a value for each."""


def pooled(per_seed: PerSeed, aggregation: Aggregation, ends: Ends = ANY) -> Estimate:
    """One number for several seeds: `estimate`, where all have the same items.

    Where they have not (what is covered of an ensemble differs with its seed), names that happen to be in all of them
    are no sample of anything: the means of the seeds are averaged, with Student's t over seeds.
    """
    if _alike(per_seed):
        return estimate(stack(per_seed), aggregation, ends)
    found = estimate(table(per_seed), "exp_mean" if aggregation == "exp_mean" else "number")
    n = sum(len(values) for _, values in per_seed)
    return _in_range(found.value, (found.low, found.high), items_of_one(per_seed), n, aggregation, ends)


def items_of_one(per_seed: PerSeed) -> int:
    """How many items a seed has."""
    return max(1, sum(len(values) for _, values in per_seed) // len(per_seed))


def table(per_seed: PerSeed) -> np.ndarray:
    """Values of several seeds as (seeds, items) where all have the same items; else the mean of each, (seeds, 1)."""
    return stack(per_seed) if _alike(per_seed) else np.array([[np.mean(values)] for _, values in per_seed])


def _alike(per_seed: PerSeed) -> bool:
    return len({frozenset(items) for items, _ in per_seed}) == 1


def stack(per_seed: PerSeed) -> np.ndarray:
    """Values of several seeds as (seeds, items), over the items that all of them share, in one order."""
    shared = set.intersection(*(set(items) for items, _ in per_seed))
    order = sorted(shared)
    rows = []
    for items, values in per_seed:
        at = dict(zip(items, values, strict=True))
        rows.append([at[item] for item in order])
    return np.array(rows)
