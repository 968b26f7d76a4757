"""When a rate that is followed over steps first passes a level, and what is known where it never does (censoring)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from dormouse.measurements.stats import Estimate
from dormouse.metrics.unseen import CONFIDENCE

RESAMPLES = 500
NUMBERS = 2**20
"""How many are drawn at once: 8 MB."""


def crossing(steps: Sequence[int], values: Sequence[float], level: float, rising: bool = True) -> float | None:
    """The step at which the values first reach the level, going up or down; None where they never do.

    Between two checkpoints the value is taken to move in a straight line over log(1 + step), as checkpoints double.
    """
    sign = 1.0 if rising else -1.0
    for i, (step, value) in enumerate(zip(steps, values, strict=True)):
        if sign * (value - level) < 0:
            continue
        if i == 0:
            return float(step)
        share = (level - values[i - 1]) / (value - values[i - 1])
        before, after = math.log1p(steps[i - 1]), math.log1p(step)
        return math.expm1(before + share * (after - before))
    return None


def half_life(steps: Sequence[int], values: np.ndarray) -> Estimate:
    """Steps until the mean over items falls to one half of its start, for one model: values (steps, items).

    The interval is a bootstrap over items. A value or bound equal to the last step means "this or more".

    Raises:
        ValueError: the rate is zero from the start.
    """
    if values[0].mean() <= 0:
        raise ValueError("a rate that is zero from the start cannot halve")
    n = values.shape[1]
    found = [_half(steps, means) for means in _drawn(values) if means[0] > 0]  # what was 0 cannot halve
    tail = (1 - CONFIDENCE) / 2
    value = _half(steps, values.mean(axis=1).tolist())
    # Quantiles without interpolation: a bound in between a time and "never" would be a number that nobody saw.
    low, high = np.quantile(found, [tail, 1 - tail], method="inverted_cdf")
    return Estimate(value, min(float(low), value), max(float(high), value), n)


def _drawn(values: np.ndarray) -> list[list[float]]:
    """The means at each step, of items that are drawn with replacement: one list a draw."""
    n = values.shape[1]
    places = np.random.default_rng(0).integers(n, size=(RESAMPLES, n))
    at_once = max(1, NUMBERS // values.size)
    parts = [values.T[places[i : i + at_once]].mean(axis=1) for i in range(0, RESAMPLES, at_once)]
    return [means for part in parts for means in part.tolist()]


def _half(steps: Sequence[int], means: Sequence[float]) -> float:
    at = crossing(steps, means, means[0] / 2, rising=False)
    return float(steps[-1]) if at is None else at


def median_time(times: Sequence[float], limit: float) -> Estimate:
    """The median time over several models; those at `limit` were followed to there, and had not got there.

    The lower one of an even number: as all are followed as long, Kaplan and Meier's (1958) estimate falls to one half
    there. Where less than half got there it is not known, only that it is `limit` or more. Order statistics bound it,
    exactly (Conover 1999, section 3.2). With less than six models no such interval has 95 %: then it is their range,
    which holds the median in 75 % (three models) or 94 % (five).
    """
    from scipy.stats import binom

    ordered = sorted(min(time, limit) for time in times)
    n = len(ordered)
    outside = max(0, int(binom.ppf((1 - CONFIDENCE) / 2, n, 0.5)) - 1)
    return Estimate(ordered[(n - 1) // 2], ordered[outside], ordered[n - 1 - outside], n)
