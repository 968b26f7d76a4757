"""What a look at the claims of a sequential study may decide, so that all looks together are wrong in 5 % at most.

Who looks after every few seeds, and stops when p < 0.05, is wrong in 22 to 24 of 100 studies. So each look has its own
p-value: the smallest error that would have been spent by then, had the design rejected here (Liu and Anderson 2008).
Holm's correction, and the 5 %, then hold for these as for those of a study that is looked at once.

`obrien_fleming`: error is spent as a function of the share of seeds (Lan and DeMets 1983), little at first. The looks
are increments of one Brownian motion (Jennison and Turnbull 2000, chapter 19, which integrate it as here).
`e_value`: the Bayes factor of a normal effect (in standard deviations) against none, of Student's t. It does not depend
on the spread, and exceeds 1 / a in a share of a of all studies that are looked at for ever (Ville's inequality; the
group-invariant t-test of Perez-Ortiz et al. 2022). It may be looked at anywhere, and asks for more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Protocol

from dormouse.claims.effects import LEVEL
from dormouse.claims.verdict import LookTaken
from dormouse.studies.design import Design
from dormouse.studies.seeds import SeedDesign, Seeds, seeds_at

if TYPE_CHECKING:
    import numpy as np

EFFECT_VARIANCE = 1.0
"""Of the effects that an e-value bets on, in variances of a seed."""
FINEST = 1e-9
"""An error below which the table of boundaries does not go."""
FARTHEST = 9.0
"""Standard deviations beyond which nothing is expected."""
GRID = 241
MORE = (3, 6, 12, 24)
"""How many more seeds are thought of where nothing is designed."""


class Look(Protocol):
    """One look: how its tests and its intervals differ from those of a study that is looked at once."""

    def level(self, n: int, error: float = LEVEL) -> float:
        """The two-sided level at which a test on `n` seeds decides, where the whole design may be wrong so often: of
        one claim alone LEVEL (that of its interval too), of several less."""
        ...

    def p(self, p: float, n: int) -> float:
        """The p-value of the whole design, where Student's test of `n` seeds gives `p` (two-sided)."""
        ...


class Once:
    """The only look."""

    def level(self, n: int, error: float = LEVEL) -> float:
        """As it is."""
        return error

    def p(self, p: float, n: int) -> float:
        """As it is."""
        return p


ONCE = Once()


@dataclass(frozen=True)
class Spent:
    """A look of O'Brien and Fleming's kind. `shares`: of all seeds, at each look so far, this one last."""

    shares: tuple[float, ...]

    def level(self, n: int, error: float = LEVEL) -> float:
        """The nominal level of the boundary."""
        return _alive(self.shares, error).level

    def p(self, p: float, n: int) -> float:
        """The error at which the boundary of this look lies at `p`."""
        import numpy as np

        errors, levels = _table(self.shares)
        if p <= levels[0]:
            return errors[0] * p / levels[0]
        return float(np.exp(np.interp(math.log(p), np.log(levels), np.log(errors)))) if p < levels[-1] else 1.0


class Bet:
    """A look at an e-value."""

    def level(self, n: int, error: float = LEVEL) -> float:
        """The two-sided p of Student's t at which the e-value is 1 / `error`."""
        return _bet_level(n, error)

    def p(self, p: float, n: int) -> float:
        """1 / e."""
        from scipy.stats import t

        return min(1.0, math.exp(-_log_e(float(t.isf(p / 2, df=n - 1)), n))) if n > 1 and p > 0 else 1.0


def look_of(said: Seeds, look: int) -> Look:
    """How the claims of a study with these seeds are answered at a look (0: the first)."""
    if not isinstance(said, SeedDesign):
        return ONCE
    if said.spend == "e_value":
        return Bet()
    return Spent(tuple(n / said.most for n in said.looks[: look + 1]))


def look_taken(design: Design) -> LookTaken | None:
    """Which look a design stands at; None: it is the only one."""
    said = design.study.seeds
    if not isinstance(said, SeedDesign):
        return None
    return LookTaken(design.look + 1, design.looks, len(design.every_seed), said.spend)


def later(design: Design) -> list[dict[int, Look]]:
    """The ways in which a study may go on: more seeds that it has then -> how they are looked at, one look after
    another. Where nothing is designed each number of seeds is a way of its own."""
    if design.looks == 1:
        return [{more: ONCE} for more in MORE]
    said, now = design.study.seeds, len(design.every_seed)
    left = {len(seeds_at(said, k)) - now: look_of(said, k) for k in range(design.look + 1, design.looks)}
    return [left] if left else []


def _log_e(t: float, n: int) -> float:
    """The logarithm of the Bayes factor of N(0, EFFECT_VARIANCE) against 0, for the t of n seeds."""
    grows, df = 1 + n * EFFECT_VARIANCE, n - 1
    return -0.5 * math.log(grows) + (df + 1) / 2 * (math.log1p(t * t / df) - math.log1p(t * t / df / grows))


@cache
def _bet_level(n: int, error: float) -> float:
    """See `Bet.level`; FINEST where the e-value never is so much: of four seeds none is 20."""
    from scipy.optimize import brentq
    from scipy.stats import t

    needed = math.log(1 / error)
    if n < 2 or _log_e(1e9, n) <= needed:
        return FINEST
    return max(FINEST, float(2 * t.sf(brentq(lambda value: _log_e(value, n) - needed, 0.0, 1e9), df=n - 1)))


@cache
def _table(shares: tuple[float, ...]) -> tuple[Sequence[float], Sequence[float]]:
    """Errors for the whole design, and the nominal level of this look for each: both grow."""
    import numpy as np

    errors = [float(one) for one in np.geomspace(FINEST, 0.999, 60)]
    levels = [_alive(shares, error).level for error in errors]
    grow = [i for i, level in enumerate(levels) if level > max([0.0, *levels[:i]])]
    return [errors[i] for i in grow], [levels[i] for i in grow]


@dataclass(frozen=True)
class _Alive:
    """A Brownian motion that no look so far has stopped: where it may be, with which probability.

    Attributes:
        level: the nominal two-sided level of the last look.
        spent: the error by then.
    """

    points: np.ndarray
    weights: np.ndarray
    level: float = 0.0
    spent: float = 0.0


@cache
def _alive(shares: tuple[float, ...], error: float) -> _Alive:
    """After some looks, at shares of all seeds, where `error` is spent over all of them."""
    import numpy as np
    from scipy.optimize import brentq
    from scipy.special import ndtr

    if not shares:
        return _Alive(np.zeros(1), np.ones(1))
    before, share = _alive(shares[:-1], error), shares[-1]
    step, spent = math.sqrt(share - (shares[-2] if len(shares) > 1 else 0.0)), _spent_by(share, error)

    def beyond(x: float) -> float:
        """The probability that it lies farther out than x now."""
        return float(before.weights @ (ndtr((before.points - x) / step) + ndtr(-(x + before.points) / step)))

    top = FARTHEST * math.sqrt(share)
    more = spent - before.spent
    bound = brentq(lambda x: beyond(x) - more, 0.0, top) if beyond(top) < more else top
    points, gap = np.linspace(-bound, bound, GRID, retstep=True)
    apart = (points[:, None] - before.points[None, :]) / step
    density = np.exp(-(apart**2) / 2) @ before.weights / (step * math.sqrt(2 * math.pi))
    density[[0, -1]] /= 2  # the trapezium rule
    return _Alive(points, density * gap, float(2 * ndtr(-bound / math.sqrt(share))), spent)


def _spent_by(share: float, error: float) -> float:
    """Lan and DeMets' function of O'Brien and Fleming's kind, for each of two sides."""
    from scipy.special import ndtr, ndtri

    return float(min(error, 4 * ndtr(ndtri(error / 4) / math.sqrt(share))))
