"""Distillation on a teacher's outputs: the student learns the teacher's distribution of every response token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from dormouse.lm.batch import response_logits, rows_for
from dormouse.lm.model import LM
from dormouse.lm.objectives import Objective
from dormouse.lm.processes import mean_over, trained_tokens
from dormouse.lm.trie import Tokens


def distil_loss(teacher: LM) -> Objective:
    """The mean over response tokens of KL(teacher || student), in nats, over batches of `Tokens`.

    The forward divergence, as in Hinton et al. 2015 (arXiv 1503.02531) at temperature 1 and in UNDO (arXiv 2506.06278).
    The teacher stays as it is.
    """

    @mean_over(trained_tokens)
    def objective(lm: LM, batch: Sequence[Tokens]) -> Iterator[torch.Tensor]:
        tokens = sum(len(sequence.response) for sequence in batch)
        for row in rows_for(lm, batch):
            moved = row.to(lm.device)
            with torch.no_grad():
                wanted = response_logits(teacher, moved).log_softmax(dim=-1)
            found = response_logits(lm, moved).log_softmax(dim=-1)
            divergence = (wanted.exp() * (wanted - found)).sum(dim=-1)
            yield divergence[moved.source].sum() / tokens

    return objective
