"""Objectives: functions from a model and a batch to a loss.

An objective yields the parts of which the loss is the sum. The loop runs each part backward before it asks for the
next, so that a large batch needs the memory of one row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch.nn.functional import logsigmoid

from dormouse.lm.batch import Tokens, encode, forward_budget, response_logprobs, row_budget, rows_for
from dormouse.lm.load import LM
from dormouse.lm.processes import mean_over, trained_tokens
from dormouse.lm.score import logprobs
from dormouse.records import Example

Objective = Callable[[LM, Sequence[Any]], Iterator[torch.Tensor]]


@mean_over(trained_tokens)
def likelihood(lm: LM, batch: Sequence[Tokens]) -> Iterator[torch.Tensor]:
    """Supervised fine-tuning: the mean negative log-probability of a response token over the batch."""
    tokens = sum(len(sequence.response) for sequence in batch)
    for row in rows_for(lm, batch):
        yield -response_logprobs(lm, row).sum() / tokens


@dataclass(frozen=True)
class Pair:
    """Two responses to one prompt, the better one first, and the reference model's log-probability of each."""

    chosen: Tokens
    rejected: Tokens
    ref_chosen: float
    ref_rejected: float


def make_pairs(lm: LM, pairs: Sequence[tuple[Example, Example]]) -> list[Pair]:
    """Preference pairs whose reference is the model as it is now: its log-probabilities are taken once, here."""
    chosen = encode(lm, [better for better, _ in pairs])
    rejected = encode(lm, [worse for _, worse in pairs])
    reference = logprobs(lm, [*chosen, *rejected])
    return [
        Pair(better, worse, float(for_better), float(for_worse))
        for better, worse, for_better, for_worse in zip(
            chosen, rejected, reference[: len(pairs)], reference[len(pairs) :], strict=True
        )
    ]


def preference(beta: float = 0.1) -> Objective:
    """Direct preference optimisation with the sigmoid loss (Rafailov et al. 2023, arXiv 2305.18290), over `Pair`s.

    The mean over pairs of -log sigmoid(beta * ((chosen - its reference) - (rejected - its reference))), where
    log-probabilities are sums over the tokens of a response, its end included. TRL's `loss_type="sigmoid"`.
    """

    @mean_over(lambda pair: 1.0)
    def objective(lm: LM, batch: Sequence[Pair]) -> Iterator[torch.Tensor]:
        for some in _together(lm, batch, lambda pair: (pair.chosen, pair.rejected)):
            total = _summed(lm, [tokens for pair in some for tokens in (pair.chosen, pair.rejected)])
            before = torch.tensor([[pair.ref_chosen, pair.ref_rejected] for pair in some], device=total.device)
            gain = total.view(-1, 2) - before
            yield -logsigmoid(beta * (gain[:, 0] - gain[:, 1])).sum() / len(batch)

    return objective


@dataclass(frozen=True)
class Rollout:
    """A response that a model has written, and how good it was beside others to the same prompt.

    `old` and `ref` are the log-probabilities of its tokens under the model that wrote it and under the reference.
    """

    tokens: Tokens
    advantage: float
    old: tuple[float, ...]
    ref: tuple[float, ...]


def advantages(rewards: Sequence[Sequence[float]]) -> list[list[float]]:
    """Rewards less their group's mean, over its standard deviation (Shao et al. 2024). Equal rewards give zeros."""
    found = []
    for group in rewards:
        values = torch.tensor(group, dtype=torch.float64)
        spread = float(values.std()) if len(group) > 1 else 0.0
        found.append(((values - values.mean()) / (spread + 1e-4)).tolist())
    return found


def group_policy(clip: float = 0.2, kl: float = 0.04) -> Objective:
    """Group-relative policy optimisation (GRPO; Shao et al. 2024, arXiv 2402.03300), over `Rollout`s.

    For every token min(ratio * advantage, clipped ratio * advantage) less kl times Schulman's estimate k3 of the
    divergence from the reference; the mean over a response, then over responses. TRL's `loss_type="grpo"`.
    """

    @mean_over(lambda rollout: 1.0)
    def objective(lm: LM, batch: Sequence[Rollout]) -> Iterator[torch.Tensor]:
        for row in rows_for(lm, [rollout.tokens for rollout in batch]):
            new = response_logprobs(lm, row)
            whose = torch.unique_consecutive(row.owner).tolist()  # sequences lie whole, one after the other
            old, ref = (
                torch.tensor([p for i in whose for p in getattr(batch[i], name)], device=new.device)
                for name in ("old", "ref")
            )
            advantage = torch.tensor([rollout.advantage for rollout in batch])[row.owner].to(new.device)
            length = torch.tensor([len(rollout.tokens.response) for rollout in batch])[row.owner].to(new.device)
            ratio = (new - old).exp()
            gain = torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)
            away = (ref - new).exp() - (ref - new) - 1
            yield ((kl * away - gain) / length).sum() / len(batch)

    return objective


T = TypeVar("T")


def _together(lm: LM, items: Sequence[T], sequences: Callable[[T], Sequence[Tokens]]) -> Iterator[list[T]]:
    """Items in parts that go through the model at a time: the loss of one needs all of its sequences."""
    limit = max(row_budget(lm), forward_budget(lm))
    part: list[T] = []
    size = 0
    for item in items:
        mine = sequences(item)
        needed = len(mine[0].prompt) + sum(len(tokens.response) for tokens in mine)
        if part and size + needed > limit:
            yield part
            part, size = [], 0
        part.append(item)
        size += needed
    if part:
        yield part


def _summed(lm: LM, sequences: Sequence[Tokens]) -> torch.Tensor:
    """The log-probability of each response, (sequences,), differentiable."""
    total = torch.zeros(len(sequences), device=lm.device)
    for row in rows_for(lm, sequences):
        total = total.index_add(0, row.owner.to(lm.device), response_logprobs(lm, row))
    return total
