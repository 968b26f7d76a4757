"""Effects between arms: mean paired differences over seeds and questions, their tests, and the seeds still wanted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

LEVEL = 0.05
POWER = 0.8
FEWEST = 3
"""Seeds below which nothing is decided: the variance of two says next to nothing."""
MOST_SEEDS = 1000
"""If even so many seeds would not decide a claim, it is said that seeds will not."""

RESOLUTION = 1e-12
"""An error that is smaller than this share of the effect is rounding: no seed and no question differs from another."""

Direction = Literal["less", "greater", "different"]
Found = tuple[tuple[str, ...], tuple[float, ...]]
"""Items, and a value for each."""


@dataclass(frozen=True)
class Effect:
    """A mean paired difference over seeds and items: its interval, and what a test needs."""

    value: float
    low: float
    high: float
    seeds: tuple[int, ...]
    items: int
    """How many items all arms were asked with every seed; 0 where they were not asked the same ones."""
    seed_sd: float
    """The standard deviation of the seeds' mean differences."""
    item_variance: float
    """What the sample of items adds to the variance of the mean, whatever the number of seeds."""
    paired: str

    @property
    def error(self) -> float:
        """The standard error: of the mean over seeds, and of the questions that were drawn. 0 where it is rounding."""
        error = math.sqrt(self.seed_sd**2 / len(self.seeds) + self.item_variance)
        return 0.0 if error <= RESOLUTION * max(1.0, abs(self.value)) else error


def effect(weighted: Sequence[tuple[float, Mapping[int, Found]]], constant: float = 0.0) -> Effect | None:
    """The weighted sum of arms, minus a constant, over the seeds that all of them share.

    Arms that were asked the very same items, with every seed, are paired item by item. Others (their prompts differ)
    are compared by the mean of each seed, and every group of arms with the same items adds what the sample of these
    adds to the variance. Items of which only some have the same name are other items. Those of an arm that differ from
    seed to seed are in the variance of the seeds already.

    Returns:
        None where the arms share no seed.
    """
    import numpy as np
    from scipy.stats import norm, t

    from dormouse.measurements.stats import CONFIDENCE

    seeds = sorted(set.intersection(*(set(found) for _, found in weighted)))
    if not seeds:
        return None
    several = len(seeds) > 1
    means, asked = np.full(len(seeds), -constant), set()
    groups: dict[tuple[str, ...], np.ndarray] = {}
    """Items that some arms were asked with every seed -> what these arms make of them, by seed and item."""
    for weight, found in weighted:
        cells = [sorted(zip(*found[seed], strict=True)) for seed in seeds]
        asked |= (items := {tuple(item for item, _ in cell) for cell in cells})
        means += [weight * float(np.mean([value for _, value in cell])) for cell in cells]
        if len(items) == 1:
            values = weight * np.array([[value for _, value in cell] for cell in cells])
            groups[min(items)] = groups.get(min(items), 0.0) + values
    drawn = [values.mean(axis=0) for values in groups.values() if values.shape[1] > 1]
    of_items = sum(float(of_item.var(ddof=1)) / len(of_item) for of_item in drawn)
    seed_sd = float(means.std(ddof=1)) if several else math.nan
    error = math.sqrt((seed_sd**2 / len(seeds) if several else 0.0) + of_items)
    quantile = (1 + CONFIDENCE) / 2
    width = error * float(t.ppf(quantile, df=len(seeds) - 1) if several else norm.ppf(quantile))
    mean, alike = float(means.mean()), len(asked) == 1
    return Effect(
        mean,
        mean - width,
        mean + width,
        tuple(seeds),
        len(min(asked)) if alike else 0,
        seed_sd,
        of_items,
        "not paired: a number" if len(weighted) == 1 else "seeds and questions" if alike and drawn else "seeds",
    )


def p_value(found: Effect, direction: Direction, margin: float) -> tuple[float, str]:
    """(p, the verdict that a small p gives). Two-sided, of the hypothesis that the effect is the margin itself.

    `less` is supported where the effect is surely below -margin, and contradicted where it is surely above. `different`
    is supported outside -margin to margin, and contradicted inside (two one-sided tests, Schuirmann 1987).

    Where nothing differs (rates that are all 0 on one side and all 1 on the other, say) the spread is not known, and no
    t test can be made: equal values do not make a certain effect. The exact sign test over seeds stands in. All n seeds
    on one side of the margin have p = 2 / 2^n, so that it takes six to decide at 5 %.
    """
    if direction == "different":
        outside = min(_tail(found, margin, above=True), _tail(found, -margin, above=False))
        inside = max(_tail(found, margin, above=False), _tail(found, -margin, above=True))
        return min(1.0, 2 * min(outside, inside)), "supported" if outside <= inside else "contradicted"
    boundary = -margin if direction == "less" else margin
    above, below = _tail(found, boundary, above=True), _tail(found, boundary, above=False)
    supports = below if direction == "less" else above
    return min(1.0, 2 * min(above, below)), "supported" if supports < 0.5 else "contradicted"


def _tail(found: Effect, boundary: float, above: bool) -> float:
    """One-sided p of "the effect is above (below) the boundary": how rarely such a mean comes from the boundary."""
    from scipy.stats import t

    away = (found.value - boundary) * (1 if above else -1)
    if found.error == 0:
        rare = 0.5 ** len(found.seeds)
        return 0.5 if abs(away) <= RESOLUTION else rare if away > 0 else 1 - rare
    return float(t.sf(away / found.error, df=len(found.seeds) - 1))


def seeds_needed(found: Effect, direction: Direction, margin: float, level: float = LEVEL) -> int | None:
    """How many seeds in all would decide it with power 0.8, if the effect and its spread are what they seem.

    The power is that of a t test (statsmodels). The items' share of the variance does not shrink with seeds. Where
    nothing differs, it is the first number of seeds with which a sign test can decide.

    Returns:
        None where even 1,000 seeds would not.
    """
    from statsmodels.stats.power import TTestPower

    boundaries = (-margin, margin) if direction == "different" else (-margin if direction == "less" else margin,)
    distance = min(abs(found.value - boundary) for boundary in boundaries)

    def decides(seeds: int) -> bool:
        """Whether so many seeds of the same spread would put p below the level."""
        error = math.sqrt(found.seed_sd**2 / seeds + found.item_variance)
        if found.error == 0:
            return distance > 0 and 2 * 0.5**seeds < level
        size = distance / error / math.sqrt(seeds)
        power = TTestPower().power(size, seeds, level, alternative="two-sided")
        return not power < POWER  # far beyond doubt it is no number any more

    low, high = FEWEST - 1, MOST_SEEDS
    if not decides(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return high
