"""Intervals of what an audit is scored by: shares, the area under a curve, differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"

    def to_json(self) -> dict[str, float]:
        """Value and bounds, to six decimals."""
        return {name: round(getattr(self, name), 6) for name in ("value", "low", "high")}


def share(hits: int, of: int) -> Interval:
    """The exact interval of a share (Clopper and Pearson 1934).

    Raises:
        ValueError: of nothing.
    """
    from scipy.stats import binomtest

    found = binomtest(hits, of).proportion_ci(LEVEL, method="exact")
    return Interval(hits / of, float(found.low), float(found.high))


def upper_bound(hits: int, of: int) -> float:
    """The one-sided exact upper bound of a share: 0 of 60 is below 4.9 %."""
    from scipy.stats import beta

    return 1.0 if hits >= of else float(beta.ppf(LEVEL, hits + 1, of - hits))


def said_of(hits: int, of: int) -> str:
    """How often controls are flagged, in words; never "0 %"."""
    if not of:
        return "no controls"
    return f"{hits} of {of} flagged: below {100 * upper_bound(hits, of):.1f} % (95 %)"


def auroc(positive: Sequence[float] | np.ndarray, negative: Sequence[float] | np.ndarray) -> Interval:
    """The area under the ROC curve, with the interval of DeLong et al. (1988) on the logit scale (Pepe 2003), which
    keeps it between 0 and 1. Where that has no width (one side is above the other throughout, or all are equal), the
    bounds are those of the rule of three.
    """
    high, low = np.asarray(positive, dtype=float)[:, None], np.asarray(negative, dtype=float)[None, :]
    wins = (high > low) + 0.5 * (high == low)
    value = float(wins.mean())
    n, m = wins.shape
    several = min(n, m) > 1
    spread = np.sqrt(wins.mean(axis=1).var(ddof=1) / n + wins.mean(axis=0).var(ddof=1) / m) if several else 0.0
    if not spread:
        edge = min(1.0, 3 / min(n, m))
        return Interval(value, max(0.0, value - edge), min(1.0, value + edge))
    reach = 1.959964 * spread / (value * (1 - value))
    ends = np.log(value / (1 - value)) + np.array([-reach, reach])
    below, above = 1 / (1 + np.exp(-ends))
    return Interval(value, float(below), float(above))


def paired_difference(first: Sequence[bool], second: Sequence[bool]) -> Interval:
    """The difference of two shares of the same cases, first less second: the adjusted Wald interval of Agresti and Min
    (2005).

    Raises:
        ValueError: they are not of as many cases, or of none.
    """
    more = sum(a and not b for a, b in zip(first, second, strict=True))
    fewer = sum(b and not a for a, b in zip(first, second, strict=True))
    value = (more - fewer) / len(first)
    n, up, down = len(first) + 2, more + 0.5, fewer + 0.5
    middle = (up - down) / n
    reach = 1.959964 * (max(0.0, up + down - (up - down) ** 2 / n)) ** 0.5 / n
    return Interval(value, max(-1.0, middle - reach), min(1.0, middle + reach))
