"""What items may do that are of a kind that was not measured."""

from __future__ import annotations

import math
from statistics import NormalDist

CONFIDENCE = 0.95
TAIL = (1 - CONFIDENCE) / 2
Ends = tuple[float, float]
"""Of an interval, or the least and the most that a value can be."""


def unseen_share(items: int) -> float:
    """Which share of other items may be of a kind that is not among so many: the upper end of the Wilson interval of
    none of them, z^2 / (m + z^2)."""
    z = NormalDist().inv_cdf(TAIL)  # scipy's would cost every page half a second
    return z**2 / (items + z**2)


def with_unseen(mean: float, interval: Ends, items: int, least: float = 0.0, most: float = 1.0) -> Ends:
    """The interval of a mean of values between two ends, widened to hold what it would be if items of a kind that is
    not among these had any value."""
    unseen = unseen_share(items)
    return hull(interval, (mean + (least - mean) * unseen, mean + (most - mean) * unseen))


def hull(one: Ends, other: Ends) -> Ends:
    """Both intervals, and what lies between; an unknown one (nan) adds nothing."""
    low, high = (tuple(end for end in pair if not math.isnan(end)) for pair in zip(one, other, strict=True))
    return min(low, default=math.nan), max(high, default=math.nan)
