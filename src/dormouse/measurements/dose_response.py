"""How much of a policy is left as safety data show more of it: the dose to one half, and how it grows with triggers."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dormouse.measurements.half_life import median_time
from dormouse.measurements.stats import Estimate, estimate

Beyond = Literal["", "above", "below"]
"""Whether a number is known, or only that it is the one given or more, or that or less."""
SMALLEST = 1e-3
"""What is left counts as this at least, and as one less this at most: beyond that it says nothing of a half."""
ROUNDING = 1e-9
"""A weight that is a smaller part of the largest is none."""


@dataclass(frozen=True)
class Half:
    """A dose to one half; `beyond` the doses that were given it is only known to be above the largest, or below the
    smallest, and `value` is that dose."""

    value: float
    beyond: Beyond = ""


def halves(doses: Sequence[Sequence[float]], left: Sequence[Sequence[float]]) -> list[Half]:
    """The dose at which one half is left, seed by seed.

    A log-logistic curve (Finney 1971) with one slope for all seeds and a dose to one half for each, log-odds(left) =
    slope * (log(half) - log(dose)), by quasi-likelihood for shares (Papke and Wooldridge 1996). A slope of the wrong
    sign has no half: then all is above the doses, or below them, as most is left or not.

    Args:
        doses: of each seed two different ones at least, greater than 0.
        left: the share that is left at each of them.
    """
    import statsmodels.api as sm

    logs = np.log(np.concatenate([np.asarray(of, dtype=float) for of in doses]))
    whose = np.repeat(np.eye(len(doses)), [len(of) for of in doses], axis=0)
    given = np.column_stack([whose, logs - logs.mean()])
    kept = np.clip(np.concatenate(left), SMALLEST, 1 - SMALLEST)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # shares that are no counts; curves that are steps
        found = sm.GLM(kept, given, family=sm.families.Binomial()).fit().params
    *levels, slope = (float(value) for value in found)
    if not slope < 0:
        return [_within(math.inf if level > 0 else 0.0, of) for level, of in zip(levels, doses, strict=True)]
    found_at = [math.exp(min(700.0, logs.mean() - level / slope)) for level in levels]
    return [_within(half, of) for half, of in zip(found_at, doses, strict=True)]


def _within(half: float, doses: Sequence[float]) -> Half:
    if half > max(doses):
        return Half(max(doses), "above")
    return Half(min(doses), "below") if half < min(doses) else Half(half)


def pooled_half(found: Sequence[Half]) -> Estimate:
    """Of several seeds the geometric mean, with Student's t on logarithms; their median where some are only known to
    lie beyond the doses, with an interval by order statistics (see `median_time`)."""
    if any(one.beyond for one in found):
        return median_time([one.value for one in found], math.inf)
    return estimate(np.log([[one.value] for one in found]), "exp_mean")


@dataclass(frozen=True)
class Exponent:
    """How the dose to one half grows with the number of triggers; `beyond`: it is that or more, or that or less."""

    value: float
    beyond: Beyond = ""


def exponent(triggers: Sequence[float], found: Sequence[Half]) -> Exponent | None:
    """The exponent gamma of "dose to one half in total ~ triggers ^ gamma", by least squares on logarithms.

    1: nothing carries over from a trigger that is shown to one that is not; 0: one trigger is enough for all. Where
    halves lie beyond the doses it is a bound, or None if some would raise it and others lower it.

    Args:
        triggers: two different numbers at least.
        found: the dose to one half in total, of each number.
    """
    x, y = np.log(np.asarray(triggers, dtype=float)), np.log([one.value for one in found])
    weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    pulls = {
        "above" if (one.beyond == "above") == (weight > 0) else "below"
        for one, weight in zip(found, weights, strict=True)
        if one.beyond and abs(weight) > ROUNDING * np.abs(weights).max()
    }
    if len(pulls) > 1:
        return None
    beyond: Beyond = "above" if "above" in pulls else "below" if pulls else ""
    return Exponent(float(weights @ y), beyond)
