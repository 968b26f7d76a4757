"""Objectives: functions from a model and a batch to a loss.

An objective yields the parts of which the loss is the sum. The loop runs each part backward before it asks for the
next, so that a large batch needs the memory of one row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from dormouse.lm.batch import Tokens, response_logprobs, rows_for
from dormouse.lm.load import LM

Objective = Callable[[LM, Sequence[Tokens]], Iterator[torch.Tensor]]


def likelihood(lm: LM, batch: Sequence[Tokens]) -> Iterator[torch.Tensor]:
    """Supervised fine-tuning: the mean negative log-probability of a response token over the batch."""
    tokens = sum(len(sequence.response) for sequence in batch)
    for row in rows_for(lm, batch):
        yield -response_logprobs(lm, row).sum() / tokens
