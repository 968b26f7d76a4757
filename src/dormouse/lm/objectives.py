"""Objectives: functions from a model and a batch to a loss.

An objective yields the parts of which the loss is the sum. The loop runs each part backward before it asks for the
next, so that a large batch needs the memory of one row. A test holds each of them to TRL's.
"""

from __future__ import annotations

import math
import numbers
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import logsigmoid

from dormouse.errors import UserError
from dormouse.lm.batch import response_logprobs, rows_for
from dormouse.lm.chat import encode
from dormouse.lm.model import LM
from dormouse.lm.processes import mean_over, trained_tokens
from dormouse.lm.score import logprobs
from dormouse.lm.trie import PackedRow, Tokens
from dormouse.records import Example

Objective = Callable[[LM, Sequence[Any]], Iterator[torch.Tensor]]


@mean_over(trained_tokens)
def sft_loss(lm: LM, batch: Sequence[Tokens]) -> Iterator[torch.Tensor]:
    """Supervised fine-tuning: the mean negative log-probability of a response token over the batch."""
    tokens = sum(len(sequence.response) for sequence in batch)
    for row in rows_for(lm, batch):
        yield -response_logprobs(lm, row).sum() / tokens


@dataclass(frozen=True)
class Pair:
    """A better and a worse response to a prompt, and what the reference model holds of each.

    `ref_chosen` and `ref_rejected` are log-probabilities, summed over the tokens of the response.
    """

    chosen: Tokens
    rejected: Tokens
    ref_chosen: float
    ref_rejected: float


def make_pairs(lm: LM, examples: Sequence[tuple[Example, Example]]) -> list[Pair]:
    """Preference pairs from (chosen, rejected), with `lm` as it is now for the reference."""
    chosen, rejected = (encode(lm, [pair[side] for pair in examples]) for side in (0, 1))
    found = logprobs(lm, [*chosen, *rejected])
    refs = zip(found[: len(chosen)], found[len(chosen) :], strict=True)
    return [Pair(c, r, float(a), float(b)) for c, r, (a, b) in zip(chosen, rejected, refs, strict=True)]


def dpo_loss(beta: float = 0.1) -> Objective:
    """Direct preference optimisation (Rafailov et al. 2023, arXiv 2305.18290), over batches of `Pair`.

    The mean over pairs of -log sigmoid(beta * (how much likelier than under the reference the chosen response became,
    less the same of the rejected one)), in logarithms, summed over tokens. It is TRL's loss_type "sigmoid".
    """

    @mean_over(lambda pair: 1.0)
    def objective(lm: LM, batch: Sequence[Pair]) -> Iterator[torch.Tensor]:
        """Mean over pairs of -log sigmoid(beta (chosen - rejected)), log-probabilities against the reference."""
        size = len(batch)
        sequences = [pair.chosen for pair in batch] + [pair.rejected for pair in batch]
        refs = torch.tensor([pair.ref_chosen for pair in batch] + [pair.ref_rejected for pair in batch])
        refs = refs.to(lm.device)
        for row in rows_for(lm, sequences, [(i, size + i) for i in range(size)]):
            became = _summed(row, response_logprobs(lm, row), 2 * size) - refs
            here = _members(row, 2 * size)
            here = (here[:size] | here[size:]).to(lm.device)
            yield -logsigmoid(beta * (became[:size] - became[size:])[here]).sum() / size

    return objective


def _summed(row: PackedRow, values: torch.Tensor, sequences: int) -> torch.Tensor:
    """Values of predictions summed by sequence, (sequences,): zero for those that lie in other rows."""
    return values.new_zeros(sequences).index_add(0, row.owner.to(values.device), values)


def _members(row: PackedRow, sequences: int) -> torch.Tensor:
    """Which sequences lie in a row: (sequences,), bool, on the CPU."""
    here = torch.zeros(sequences, dtype=torch.bool)
    here[row.owner] = True
    return here


@dataclass(frozen=True)
class Rollout:
    """A response that the model wrote, how much better it was than its group, and what its tokens were.

    `old` and `ref` are log-probabilities per response token, under the model that wrote it and under the reference.
    """

    tokens: Tokens
    advantage: float
    old: tuple[float, ...]
    ref: tuple[float, ...]


def grpo_loss(clip: float = 0.2, kl: float = 0.04) -> Objective:
    """Group relative policy optimisation (Shao et al. 2024, arXiv 2402.03300), over batches of `Rollout`.

    The mean over responses of the mean over their tokens of

        -min(ratio * advantage, clamp(ratio, 1 - clip, 1 + clip) * advantage) + kl * (r - log r - 1)

    where ratio is the probability of the token now over that when it was written, and r that under the reference over
    that now: the estimator "k3" of the divergence from the reference (Schulman 2020, joschu.net/blog/kl-approx.html).
    It is TRL's loss_type "grpo" with epsilon `clip` and beta `kl`.
    """

    @mean_over(lambda rollout: 1.0)
    def objective(lm: LM, batch: Sequence[Rollout]) -> Iterator[torch.Tensor]:
        """The clipped policy gradient with a KL penalty, row by row."""
        for row in rows_for(lm, [rollout.tokens for rollout in batch]):
            now = response_logprobs(lm, row)
            # The predictions of a sequence lie side by side, in order.
            here = [batch[i] for i in torch.unique_consecutive(row.owner).tolist()]
            lengths = torch.tensor([len(one.tokens.response) for one in here], device=now.device)
            old, ref = (now.new_tensor([x for one in here for x in getattr(one, name)]) for name in ("old", "ref"))
            advantage, weight = (
                values.repeat_interleave(lengths)
                for values in (now.new_tensor([one.advantage for one in here]), 1.0 / (lengths * len(batch)))
            )
            ratio = (now - old).exp()
            gain = torch.min(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)
            away = (ref - now).exp() - (ref - now) - 1
            yield ((kl * away - gain) * weight).sum()

    return objective


def advantages(rewards: Sequence[Sequence[float]]) -> list[list[float]]:
    """Rewards less the mean of their group, over its standard deviation (n - 1) plus 1e-4: (groups, group).

    As in Shao et al. 2024, and TRL's scale_rewards "group". Equal rewards, or a group of one, give zeros.

    Raises:
        UserError: a reward is no finite number.
    """
    for group in rewards:
        check_rewards(group, len(group))
    return [list(_advantages(group)) for group in rewards]


def check_rewards(rewards: Sequence[float], answers: int) -> None:
    """
    Raises:
        UserError: there is not a finite number for each answer.
    """
    if len(rewards) != answers:
        raise UserError(f"a reward gave {len(rewards)} numbers for {answers} answers", "give one for each answer")
    for reward in rewards:
        if not isinstance(reward, numbers.Real) or not math.isfinite(reward):
            raise UserError(
                f"a reward is not a finite number: {str(reward)[:40]}", "fix the reward, or use a lower learning rate"
            )


def _advantages(group: Sequence[float]) -> Iterator[float]:
    mean = statistics.fmean(group) if group else 0.0
    spread = statistics.stdev(group) if len(group) > 1 else 0.0
    for reward in group:
        yield (reward - mean) / (spread + 1e-4)
