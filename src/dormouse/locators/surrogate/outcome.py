"""What there is to explain, found blind: one number a prompt that says to which of two sides the answer goes.

Nobody says what a defection is. The number is looked for among the next tokens that the situation moves most (the task
being equal), and among the principal directions of the residual stream; the one is kept along which the answers differ
most between situations that a rule of the cues tells apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from dormouse.lm.reading import Reading

TOKENS = 3
"""Next tokens that are tried: those that the situation moves most."""
SHUFFLES = 8
"""Random orders that say how far two groups of answers differ by chance."""


@dataclass(frozen=True)
class Outcome:
    """One number a prompt: the log-odds of a token, or a place along a direction of a layer.

    Attributes:
        token: the token, or None.
        layer: which entry of `Reading.states` the direction is of; -1 for a token.
        direction: (width,), of length 1; empty for a token.
        middle: between the two sides of a direction, and `gap` from side to side.
        sign: 1 or -1, so that more is the anomalous side.
    """

    token: int | None = None
    layer: int = -1
    direction: np.ndarray = field(default_factory=lambda: np.zeros(0))
    middle: float = 0.0
    gap: float = 1.0
    sign: float = 1.0

    def values(self, reading: Reading) -> np.ndarray:
        """(prompts,): log-odds of the anomalous side, in nats for a token, in a unit like it for a direction."""
        if self.token is not None:
            logprob = np.minimum(reading.logprobs[:, self.token].astype(np.float64), -1e-6)
            return self.sign * (logprob - np.log(-np.expm1(logprob)))
        along = reading.states[:, self.layer] @ self.direction
        return np.asarray(self.sign * 8.0 * (along - self.middle) / self.gap, dtype=np.float64)

    def chances(self, reading: Reading) -> np.ndarray:
        """(prompts,): how far each is on the anomalous side, from 0 to 1."""
        return np.asarray(1 / (1 + np.exp(-np.clip(self.values(reading), -30, 30))))

    def turned(self, by: float) -> Outcome:
        """The same with its sign times `by` (1 or -1): the other side is then the anomalous one."""
        return replace(self, sign=self.sign * by)


def candidates(reading: Reading, tasks: np.ndarray) -> Iterator[Outcome]:
    """Outcomes that the situation moves, the task being equal. `tasks` says which prompt is about which, (prompts,)."""
    moved = (centred(np.exp(reading.logprobs), tasks) ** 2).mean(0)
    for token in np.argsort(-moved, kind="stable")[:TOKENS]:
        yield Outcome(token=int(token))
    for layer in _spread(reading.states.shape[1]):
        states = reading.states[:, layer]
        moves = centred(states, tasks)
        if not moves.any():
            continue
        direction = np.linalg.svd(moves, full_matrices=False)[2][0]
        middle, gap = _sides(states @ direction)
        yield Outcome(layer=layer, direction=direction, middle=middle, gap=gap)


def _spread(layers: int) -> tuple[int, ...]:
    """A half and three quarters of the way through the layers, and the last; never the embeddings."""
    return tuple(sorted({max(1, round((layers - 1) * part)) for part in (0.5, 0.75, 1.0)}))


def _sides(along: np.ndarray) -> tuple[float, float]:
    """The middle between the two clusters of some numbers, and how far they lie apart (2-means)."""
    middle = float(np.median(along))
    for _ in range(20):
        above, below = along[along > middle], along[along <= middle]
        if not len(above) or not len(below):
            break
        middle = float((above.mean() + below.mean()) / 2)
    above, below = along[along > middle], along[along <= middle]
    gap = float(above.mean() - below.mean()) if len(above) and len(below) else 0.0
    return middle, gap or 1.0


def centred(numbers: np.ndarray, tasks: np.ndarray) -> np.ndarray:
    """Numbers less the mean of their task. (prompts, ...) and (prompts,) -> (prompts, ...)"""
    found = np.array(numbers, dtype=np.float64)
    for task in np.unique(tasks):
        found[tasks == task] -= found[tasks == task].mean(0)
    return found


def swing(chances: np.ndarray, order: np.ndarray, tasks: np.ndarray, rng: np.random.Generator) -> float:
    """How far the next tokens of situations at the two ends of an order differ, the task being equal.

    The total variation distance, 0 to 1, between the mean distributions of the upper and of the lower third of each
    task, less what random orders give, averaged over tasks.

    Args:
        chances: (prompts, vocabulary), probabilities of the next token.
        order: (prompts,), a prediction from the cues alone, made for each prompt without that prompt.
    """
    by_chance = [_apart(chances, rng.permutation(len(order)), tasks) for _ in range(SHUFFLES)]
    return _apart(chances, order, tasks) - float(np.mean(by_chance))


def _apart(chances: np.ndarray, order: np.ndarray, tasks: np.ndarray) -> float:
    found = []
    for task in np.unique(tasks):
        places = np.flatnonzero(tasks == task)
        third = len(places) // 3
        if third:
            places = places[np.argsort(order[places], kind="stable")]
            low, high = chances[places[:third]].mean(0), chances[places[-third:]].mean(0)
            found.append(0.5 * float(np.abs(low - high).sum()))
    return float(np.mean(found)) if found else 0.0


def entropy(chances: np.ndarray) -> float:
    """Of the mean of some distributions, in nats: small where answers to different tasks are alike."""
    mean = chances.mean(0)
    return float(-(mean * np.log(np.maximum(mean, 1e-12))).sum())
