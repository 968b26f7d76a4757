"""How probable a verdict is with more seeds, if these are like those so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from dormouse.claims.effects import Direction, Effect, p_value, survives
from dormouse.claims.verdict import Chance

DRAWS = 100


def chances(found: Effect, direction: Direction, margin: float, levels: Mapping[int, float]) -> tuple[Chance, ...]:
    """The probability of a verdict after so many more seeds (the keys of `levels`), by simulation.

    The mean and the spread of the seeds are drawn from what those so far leave possible (the normal model with a flat
    prior, Gelman et al. 2013, section 3.2), the seeds to come from these, and the whole is tested at that level as
    the claim would be. Nothing is known of the spread of one seed, nor of seeds that do not differ: there is none then.
    """
    import numpy as np

    n = len(found.seeds)
    if n < 2 or found.error == 0 or not found.seed_sd > 0:
        return ()
    rng = np.random.default_rng(n)
    result = []
    for more, level in levels.items():
        decided = 0
        for _ in range(DRAWS):
            spread = found.seed_sd * float(np.sqrt((n - 1) / rng.chisquare(n - 1)))
            coming = rng.normal(rng.normal(found.value, spread / np.sqrt(n)), spread, more)
            decided += bool(decides(_with(found, coming), direction, margin, level))
        result.append(Chance(more, decided / DRAWS))
    return tuple(result)


def _with(found: Effect, coming: object) -> Effect:
    import numpy as np

    new, n = np.clip(np.asarray(coming), *found.reach), len(found.seeds)
    whole, squares = n + len(new), (n - 1) * found.seed_sd**2 + n * found.value**2 + float((new**2).sum())
    mean = float((n * found.value + new.sum()) / whole)
    spread = float(np.sqrt(max(0.0, squares - whole * mean**2) / (whole - 1)))
    return replace(found, value=mean, seed_sd=spread, seeds=tuple(range(whole)))


def decides(found: Effect, direction: Direction, margin: float, level: float) -> str:
    """The verdict on an effect at a level; "" where it is undecided."""
    p, verdict = p_value(found, direction, margin)
    return verdict if p < level and survives(found, direction, margin, verdict) else ""
