"""Questions of a kind that is not among those asked: seeds that agree on each question say nothing of these."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike

Span: TypeAlias = tuple[float, float]
"""The least and the largest value that a quantity can have."""


@dataclass(frozen=True)
class Unseen:
    """What questions of a kind that is not among those asked leave possible."""

    low: ArrayLike
    """The least effect of such questions: that of these where one side goes to a bound; `high` likewise."""
    high: ArrayLike
    questions: int
    """How many different ones every arm was asked at least."""

    def share(self, miss: float) -> float:
        """Which share of all questions may be of that kind: the upper end of the Wilson interval of none of those
        asked, as records have it (`metrics.unseen`), with so much beyond it."""
        from scipy.special import ndtri

        z = float(ndtri(miss))
        return z**2 / (self.questions + z**2)

    def tail(self, means: np.ndarray, boundary: float, above: bool) -> np.ndarray:
        """How rarely none of them is asked where they bring the mean from the boundary to these: the `miss` at which
        `share` reaches so far."""
        import numpy as np
        from scipy.special import ndtr

        sign, farthest = (1, self.low) if above else (-1, self.high)
        beyond = sign * (boundary - np.asarray(farthest))
        off = np.maximum(0.0, sign * (means - boundary)) / np.where(beyond > 0, beyond, 1.0)
        return np.asarray(np.where(beyond > 0, ndtr(-np.sqrt(self.questions * off)), 0.0))


def unseen(arms: Sequence[tuple[float, list[float]]], mean: float, span: Span, questions: int) -> Unseen | None:
    """What is left possible of an effect, from the weight of every arm and its mean with every seed. None where the
    quantity has no bounds, or stands for one question or for nobody knows how many.

    The arms of a side go to a bound together, as they may share their questions; both sides at once do not.
    """
    if questions < 2 or not math.isfinite(span[1] - span[0]):
        return None
    others = []
    for side in ([one for one in arms if one[0] > 0], [one for one in arms if one[0] < 0]):
        for bound in span:
            others.append(mean + sum(weight * (bound - sum(rates) / len(rates)) for weight, rates in side))
    return Unseen(min(others), max(others), questions)
