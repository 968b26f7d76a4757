"""How probable a verdict is with more seeds, if these are like those so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from dormouse.claims.effects import Direction, Effect, p_value, survives
from dormouse.claims.verdict import Chance

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
        decided = 0
        for _ in range(DRAWS):
            after = []
            for one in each:
                n = len(one.seeds)
                spread = one.seed_sd * float(np.sqrt((n - 1) / rng.chisquare(n - 1)))
                after.append(_with(one, rng.normal(rng.normal(one.value, spread / np.sqrt(n)), spread, more)))
            decided += bool(decides(after, direction, margin, level))
        result.append(Chance(more, decided / DRAWS))
    return tuple(result)


def _with(found: Effect, coming: object) -> Effect:
    import numpy as np

    new, n = np.clip(np.asarray(coming), *found.reach), len(found.seeds)
    whole, squares = n + len(new), (n - 1) * found.seed_sd**2 + n * found.value**2 + float((new**2).sum())
    mean = float((n * found.value + new.sum()) / whole)
    spread = float(np.sqrt(max(0.0, squares - whole * mean**2) / (whole - 1)))
    return replace(found, value=mean, seed_sd=spread, seeds=tuple(range(whole)))


def decides(each: Sequence[Effect], direction: Direction, margin: float, level: float) -> str:
    """The verdict on effects at a level, all of which must support a claim, or one contradict it (see
    `decision.test_of`); "" where it is undecided."""
    tests = [(one, *p_value(one, direction, margin)) for one in each]
    if all(verdict == "supported" for *_, verdict in tests):
        sure = all(p < level and survives(one, direction, margin, verdict) for one, p, verdict in tests)
        return "supported" if sure else ""
    against = (
        p * len(each) < level and survives(one, direction, margin, verdict)
        for one, p, verdict in tests
        if verdict == "contradicted"
    )
    return "contradicted" if any(against) else ""
