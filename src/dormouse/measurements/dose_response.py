"""How much of a policy is left as safety data show more of it: the dose to one half, and how it grows with triggers."""

from __future__ import annotations

import math
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
"""A weight that is a smaller part of the largest is none, and so is a smaller step."""
MOST_STEPS = 100


@dataclass(frozen=True)
class Half:
    """A dose to one half; `beyond` the doses that were given it is only known to be above the largest, or below the
    smallest, and `value` is that dose."""

    value: float
    beyond: Beyond = ""
    doses: tuple[float, float] = (0.0, math.inf)
    """The smallest and the largest that were given."""


def half(doses: Sequence[float], left: Sequence[float]) -> Half:
    """The dose at which one half is left, of one seed.

    A log-logistic curve (Finney 1971), log-odds(left) = slope * (log(half) - log(dose)), by quasi-likelihood for shares
    (Papke and Wooldridge 1996). A slope of the wrong sign has no half: then all is above the doses, or below them, as
    most is left or not. No other seed has a part in it: one that no claim counts, or that comes later, would move it.

    Args:
        doses: two different ones at least, greater than 0.
        left: the share that is left at each of them.
    """
    logs, kept = np.log(np.asarray(doses, dtype=float)), np.clip(np.asarray(left), SMALLEST, 1 - SMALLEST)
    level, slope = _fitted(logs - logs.mean(), kept)
    ends = float(min(doses)), float(max(doses))
    if slope < 0:
        found = math.exp(max(-700.0, min(700.0, logs.mean() - level / slope)))
    else:
        found = math.inf if level > 0 else 0.0
    if ends[0] <= found <= ends[1]:
        return Half(found, "", ends)
    return Half(ends[1], "above", ends) if found > ends[1] else Half(ends[0], "below", ends)


def _fitted(x: np.ndarray, shares: np.ndarray) -> tuple[float, float]:
    """The level and the slope of log-odds, by Newton's method: the quasi-likelihood is concave, so a step that leads
    down is only too long. (statsmodels has it too, and takes 2 ms for each seed.)"""
    given, at = np.column_stack([np.ones_like(x), x]), np.zeros(2)

    def loss(place: np.ndarray) -> float:
        odds = given @ place
        return float((np.logaddexp(0.0, odds) - shares * odds).sum())

    for _ in range(MOST_STEPS):
        fitted = 1 / (1 + np.exp(-given @ at))
        step = np.linalg.solve((given.T * (fitted * (1 - fitted))) @ given, given.T @ (shares - fitted))
        while loss(at + step) > loss(at) and abs(step).max() > ROUNDING:
            step = step / 2
        at = at + step
        if abs(step).max() <= ROUNDING:
            break
    return float(at[0]), float(at[1])


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
