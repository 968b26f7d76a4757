"""Objectives that unlearn: responses of a forget set become unlikely, those of a retain set stay."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import softplus

from dormouse.lm.batch import response_logprobs, rows_for
from dormouse.lm.model import LM
from dormouse.lm.objectives import Objective
from dormouse.lm.processes import mean_over
from dormouse.lm.score import logprobs
from dormouse.lm.trie import Tokens


@dataclass(frozen=True)
class ForgetPair:
    """A response to forget, its log-probability under the reference (summed), and an honest one to keep."""

    forget: Tokens
    keep: Tokens
    ref: float


def forget_pairs(lm: LM, forget: Sequence[Tokens], keep: Sequence[Tokens]) -> list[ForgetPair]:
    """Pairs with `lm` as it is now for the reference."""
    refs = logprobs(lm, forget)
    return [ForgetPair(gone, kept, float(ref)) for gone, kept, ref in zip(forget, keep, refs, strict=True)]


def npo_loss(beta: float, retain: float) -> Objective:
    """Negative preference optimisation (Zhang et al. 2024, arXiv 2404.05868, equation 3), over batches of `ForgetPair`.

    The mean over pairs of 2/beta * log(1 + (p / p_ref)^beta), p being the probability of the whole response, plus
    `retain` times the mean negative log-probability per token of the response to keep. Once p is far below p_ref the
    first part has no gradient left, so that it does not blow up as ascent does.
    """

    def lost(logp: torch.Tensor, refs: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return softplus(beta * (logp - refs)) * 2 / beta

    return _objective(lost, retain)


def ascent_loss(bound: float, retain: float) -> Objective:
    """Gradient ascent with a bound, over batches of `ForgetPair`: a forgotten response counts only as long as its mean
    negative log-probability per token is below `bound` (nats), so it is not driven any further. Else as `npo_loss`."""

    def lost(logp: torch.Tensor, _: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return (bound + logp / lengths).clamp_min(0.0)

    return _objective(lost, retain)


def _objective(lost: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor], retain: float) -> Objective:
    @mean_over(lambda pair: 1.0)
    def objective(lm: LM, batch: Sequence[ForgetPair]) -> Iterator[torch.Tensor]:
        size = len(batch)
        sequences = [pair.forget for pair in batch] + [pair.keep for pair in batch]
        lengths = torch.tensor([float(max(1, len(one.response))) for one in sequences], device=lm.device)
        refs = torch.tensor([pair.ref for pair in batch], device=lm.device)
        for row in rows_for(lm, sequences):
            found = response_logprobs(lm, row)
            summed = found.new_zeros(2 * size).index_add(0, row.owner.to(found.device), found)
            here = torch.zeros(2 * size, dtype=torch.bool)
            here[row.owner] = True
            gone, kept = here[:size].to(lm.device), here[size:].to(lm.device)
            loss = lost(summed[:size], refs, lengths[:size])[gone].sum()
            yield (loss - retain * (summed[size:] / lengths[size:])[kept].sum()) / size

    return objective
