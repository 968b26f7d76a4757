"""How probable a verdict is with more seeds, if these are like those so far."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dormouse.claims.effects import Direction, Effect, Effects, p_values, survive
from dormouse.claims.verdict import Chance

if TYPE_CHECKING:
    import numpy as np

DRAWS = 100


def chances(
    each: Sequence[Effect], direction: Direction, margin: float, levels: Mapping[int, float]
) -> tuple[Chance, ...]:
    """The probability of a verdict on effects (of every set-up, or one of their mean) after so many more seeds (the
    keys of `levels`), by simulation.

    The mean and the spread of the seeds are drawn from what those so far leave possible (the normal model with a flat
    prior, Gelman et al. 2013, section 3.2), the seeds to come from these, and the whole is tested at that level as
    the claim would be. Set-ups are drawn each by itself. Nothing is known of the spread of one seed, nor of seeds that
    do not differ: there is none then.
    """
    import numpy as np

    if any(len(one.seeds) < 2 or not one.varies for one in each):
        return ()
    rng = np.random.default_rng(len(each[0].seeds))
    result = []
    for more, level in levels.items():
        drawn = [[_draw(one, more, rng) for one in each] for _ in range(DRAWS)]
        after = [_with(one, np.array(coming)) for one, coming in zip(each, zip(*drawn, strict=True), strict=True)]
        supported, contradicted = outcomes(after, direction, margin, level)
        result.append(Chance(more, int((supported | contradicted).sum()) / DRAWS))
    return tuple(result)


def _draw(found: Effect, more: int, rng: np.random.Generator) -> np.ndarray:
    """So many seeds that are like those so far."""
    spread = drawn_spread(found, rng)
    return rng.normal(rng.normal(found.value, spread / math.sqrt(len(found.seeds))), spread, more)


def drawn_spread(found: Effect, rng: np.random.Generator) -> float:
    """A standard deviation of seeds from which those so far may come."""
    n = len(found.seeds)
    return found.seed_sd * math.sqrt((n - 1) / float(rng.chisquare(n - 1)))


def _with(found: Effect, coming: np.ndarray) -> Effects:
    """What an effect would be with more seeds: (draws, seeds)."""
    import numpy as np

    new, n = np.clip(coming, *found.reach), len(found.seeds)
    whole, squares = n + new.shape[1], (n - 1) * found.seed_sd**2 + n * found.value**2 + (new**2).sum(axis=1)
    means = (n * found.value + new.sum(axis=1)) / whole
    spreads = np.sqrt(np.maximum(0.0, squares - whole * means**2) / (whole - 1))
    return found.many(means, spreads, whole)


def outcomes(
    each: Sequence[Effects], direction: Direction, margin: float, level: float
) -> tuple[np.ndarray, np.ndarray]:
    """Where effects at a level support a claim, and where they contradict it: all must support it, or one contradict
    it (see `decision.test_of`)."""
    import numpy as np

    tests = [(*p_values(one, direction, margin), one) for one in each]
    robust = [survive(one, direction, margin, supports) for _, supports, one in tests]
    every = np.logical_and.reduce([supports for _, supports, _ in tests])
    sure = np.logical_and.reduce([(p < level) & holds for (p, _, _), holds in zip(tests, robust, strict=True)])
    against = np.logical_or.reduce(
        [~supports & (p * len(each) < level) & holds for (p, supports, _), holds in zip(tests, robust, strict=True)]
    )
    return every & sure, ~every & against
