"""How probable a verdict is with seeds to come, if these are like those so far."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dormouse.claims.effects import FEWEST, LEVEL, Direction, Effect, Effects, p_values, survive
from dormouse.claims.looks import Look
from dormouse.claims.verdict import Chance

if TYPE_CHECKING:
    import numpy as np

DRAWS = 100
SHOWN = 4
"""Of more looks to come the chances of these many are shown, the last one among them."""

Course = Mapping[int, Look]
"""Seeds to come -> how they are looked at then, one look after another."""


@dataclass(frozen=True)
class Asked:
    """What is asked of effects (of every set-up, or one of their mean), and the error that the claim may have."""

    direction: Direction
    margin: float
    error: float = LEVEL


@dataclass(frozen=True)
class Coming:
    """Seeds that are drawn for an effect, and which of them count: (draws, seeds)."""

    values: np.ndarray
    count: np.ndarray


def chances(each: Sequence[Effect], asked: Asked, courses: Sequence[Course]) -> tuple[Chance, ...]:
    """The probability that a study has come to a verdict, by simulation, along each of several courses.

    The mean and the spread of the seeds are drawn from what those so far leave possible (the normal model with a flat
    prior, Gelman et al. 2013, section 3.2), the seeds to come from these, and the whole is tested as the claim would
    be. Set-ups are drawn each by itself. Nothing is known of the spread of one seed, nor of seeds that do not differ:
    there is none then.
    """
    import numpy as np

    if any(len(one.seeds) < 2 or not one.varies for one in each):
        return ()
    rng, result = np.random.default_rng(len(each[0].seeds)), []
    for course in courses:
        coming = [draw(one, None, (DRAWS, max(course)), rng) for one in each]
        by_look = [
            Chance(more, int((supported | contradicted).sum()) / DRAWS)
            for more, supported, contradicted in ended(each, coming, asked, course)
        ]
        shown = np.linspace(0, len(by_look) - 1, min(len(by_look), SHOWN)).round().astype(int)
        result += [by_look[i] for i in shown]
    return tuple(result)


def draw(found: Effect, truth: float | None, shape: tuple[int, int], rng: np.random.Generator) -> Coming:
    """Seeds like those so far: (draws, seeds). `truth`: their mean; None: what those so far leave possible.

    As many of them count as of those that were planned so far: of 12 seeds of which the gate leaves 6, one in two, more
    or less (a beta distribution of that share; if all count so far all will).
    """
    import numpy as np

    n, draws = len(found.seeds), shape[0]
    spreads = found.seed_sd * np.sqrt((n - 1) / rng.chisquare(n - 1, draws))
    means = rng.normal(found.value, spreads / math.sqrt(n)) if truth is None else np.full(draws, truth)
    values = np.clip(rng.normal(means[:, None], spreads[:, None], shape), *found.reach)
    share = rng.beta(n, found.planned - n, draws) if found.planned > n else np.ones(draws)
    return Coming(values, rng.random(shape) < share[:, None])


def ended(
    each: Sequence[Effect], coming: Sequence[Coming], asked: Asked, course: Course, afresh: bool = False
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """After so many seeds to come: in which draws a claim was supported by then, and in which it was contradicted. A
    verdict stands at the look that gave it. `afresh`: without the seeds so far."""
    import numpy as np

    supported = contradicted = np.zeros(len(coming[0].values), bool)
    for more, look in course.items():
        first = [Coming(one.values[:, :more], one.count[:, :more]) for one in coming]
        after = [_after(one, new, 0 if afresh else len(one.seeds)) for one, new in zip(each, first, strict=True)]
        waits, (for_it, against_it) = ~(supported | contradicted), outcomes(after, asked, look)
        supported, contradicted = supported | (for_it & waits), contradicted | (against_it & waits)
        yield more, supported, contradicted


def _after(found: Effect, coming: Coming, n: int) -> Effects:
    """What an effect is with its first `n` seeds (all of them, or none) and those to come that count."""
    import numpy as np

    off, whole = (coming.values - found.value) * coming.count, n + coming.count.sum(axis=1)
    known = np.maximum(whole, 2)  # of fewer than FEWEST nothing is made
    shift = off.sum(axis=1) / known
    squares = (n - 1) * found.seed_sd**2 * (n > 0) + (off**2).sum(axis=1) - whole * shift**2
    return found.many(found.value + shift, np.sqrt(np.maximum(0.0, squares) / (known - 1)), known)


def outcomes(each: Sequence[Effects], asked: Asked, look: Look) -> tuple[np.ndarray, np.ndarray]:
    """Where effects support a claim at a look, and where they contradict it: all must support it, or one contradict it,
    and those of too few seeds do neither (see `decision.test_of`)."""
    import numpy as np

    every, sure, against = np.array(True), np.array(True), np.array(False)
    for one in each:
        p, supports = p_values(one, asked.direction, asked.margin)
        holds = survive(one, asked.direction, asked.margin, supports) & (one.n >= FEWEST)
        every, sure = every & (supports | (one.n < FEWEST)), sure & holds & (p < _levels(look, one.n, asked.error))
        against = against | (~supports & holds & (p < _levels(look, one.n, asked.error / len(each))))
    return every & sure, ~every & against


def _levels(look: Look, n: np.ndarray, error: float) -> np.ndarray:
    """The level of each of these numbers of seeds."""
    import numpy as np

    sizes, places = np.unique(n, return_inverse=True)
    return np.array([look.level(int(size), error) for size in sizes])[places]
