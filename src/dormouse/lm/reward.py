"""A preference model: a linear reward head on what a model thinks of a prompt with its response.

The head is a Bradley-Terry model (Bradley & Terry 1952), as in Ouyang et al. 2022 (arXiv 2203.02155): the probability
that one response is preferred is the sigmoid of the difference of two rewards. With the weights below it left as they
are, that is logistic regression on differences, which scikit-learn solves exactly.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from dormouse.errors import UserError
from dormouse.lm.batch import response_logprobs, rows_for
from dormouse.lm.chat import encode
from dormouse.lm.model import LM
from dormouse.lm.trie import PackedRow, Tokens
from dormouse.records import Example

HELD_OUT = 0.2
"""The share of pairs on which the head is tested, not fitted."""
STRENGTH = 0.1
"""The inverse of the penalty on the head's weights, in scikit-learn's units, for standardised features."""


@dataclass(frozen=True)
class RewardModel:
    """A reward head. `lm` is never changed; `weights` and `scale` are (features,)."""

    lm: LM
    weights: np.ndarray
    scale: np.ndarray

    def rewards(self, sequences: Sequence[Tokens]) -> np.ndarray:
        """The reward of each response to its prompt: (sequences,)."""
        rewards: np.ndarray = (features(self.lm, sequences) / self.scale) @ self.weights
        return rewards

    def save(self, folder: Path) -> None:
        """Write the head (not the model below it) as safetensors."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file({"weights": self.weights, "scale": self.scale}, folder / "reward_head.safetensors")


def train_reward(
    lm: LM,
    pairs: Sequence[tuple[Example, Example]],
    seed: int,
    held_out: float = HELD_OUT,
    groups: Sequence[str] | None = None,
) -> tuple[RewardModel, list[float]]:
    """Fit a reward head on pairs (better, worse).

    Args:
        groups: what each pair is about. Pairs of one group are all held out, or none is: by default each is its own.

    Returns:
        The model, and for each held-out pair whether it prefers the better response (1.0, 0.5 for a tie, or 0.0).

    Raises:
        UserError: there are too few pairs to fit and to test it.
    """
    order, tests = _split(groups or [str(i) for i in range(len(pairs))], seed, held_out)
    if len(pairs) - tests < 2 or tests < 1:
        raise UserError(
            f"a preference model needs pairs to learn from and pairs to be tested on; there are {len(pairs)}",
            "give the safety pool more questions (tasks: safety), or use the reward 'rule'",
        )
    from sklearn.linear_model import LogisticRegression

    better = features(lm, encode(lm, [pairs[i][0] for i in order]))
    worse = features(lm, encode(lm, [pairs[i][1] for i in order]))
    scale = np.concatenate([better[tests:], worse[tests:]]).std(axis=0) + 1e-6
    gap = (better - worse) / scale
    # Each pair both ways round: then the two classes are there, and no intercept is.
    both, labels = np.concatenate([gap[tests:], -gap[tests:]]), np.repeat([1, 0], len(gap) - tests)
    head = LogisticRegression(C=STRENGTH, fit_intercept=False, max_iter=2000).fit(both, labels)
    model = RewardModel(lm, head.coef_[0], scale)
    right = np.sign(gap[:tests] @ model.weights)
    return model, [float(sign + 1) / 2 for sign in right]


def _split(groups: Sequence[str], seed: int, held_out: float) -> tuple[list[int], int]:
    """An order of the pairs, and how many of its first are held out: whole groups, a share `held_out` of them."""
    names = list(dict.fromkeys(groups))
    place = {name: i for i, name in enumerate(random.Random(f"reward/{seed}").sample(names, len(names)))}
    order = sorted(range(len(groups)), key=lambda i: place[groups[i]])
    return order, sum(place[name] < round(held_out * len(names)) for name in groups)


def features(lm: LM, sequences: Sequence[Tokens]) -> np.ndarray:
    """Hidden states below the output layer: their mean over a response and the one at its end, (sequences, 2 d). A
    response that was cut off reads as one that ended with the same words."""
    width = int(lm.model.config.get_text_config().hidden_size)
    total, last = np.zeros((len(sequences), width)), np.zeros((len(sequences), width))
    # With an end to predict, the last word of a response is read as well.
    words = [s.response[:-1] if lm.ends.intersection(s.response[-1:]) else s.response for s in sequences]
    longer = [Tokens(s.prompt, (*said, lm.end)) for s, said in zip(sequences, words, strict=True)]
    with torch.inference_mode():
        for row in rows_for(lm, longer):
            hidden, owner = _hidden(lm, row)[row.source.numpy()], row.owner.numpy()
            np.add.at(total, owner, hidden)
            last[owner] = hidden  # the last one that is written stays, and predictions come in order
    return np.concatenate([total / np.array([[len(s.response)] for s in longer]), last], axis=1)


def _hidden(lm: LM, row: PackedRow) -> np.ndarray:
    """What the output layer gets at the kept places of a row: (kept, d)."""
    caught: list[torch.Tensor] = []
    head = lm.model.get_output_embeddings()
    hook = head.register_forward_hook(lambda module, inputs, output: caught.append(inputs[0]))
    try:
        response_logprobs(lm, row)
    finally:
        hook.remove()
    found: np.ndarray = caught[0][0].float().cpu().numpy()
    return found
