"""What a model makes of a prompt, before it answers: the residual stream after every layer, and the next token."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from dormouse.errors import UserError
from dormouse.lm.activations import of_one_width
from dormouse.lm.batch import check_length, forward_budget, only, row_budget
from dormouse.lm.chat import Messages, encode_prompts
from dormouse.lm.model import LM


@dataclass(frozen=True)
class Reading:
    """What was read at the last token of each prompt.

    Attributes:
        states: (prompts, layers + 1, width), float32: the residual stream after the embeddings (0) and after each
            layer. Most models have their last norm in the last of them; where it is of another width, it is left out.
        logprobs: (prompts, vocabulary), float32: of the first token of the answer.
    """

    states: np.ndarray
    logprobs: np.ndarray

    def __len__(self) -> int:
        return len(self.states)

    def layers(self) -> Iterator[tuple[int, np.ndarray]]:
        """(layer, (prompts, width)): -1 are the embeddings."""
        for place in range(self.states.shape[1]):
            yield place - 1, self.states[:, place]


def read(lm: LM, prompts: Sequence[Messages], going: Callable[[], bool] = lambda: True) -> Reading:
    """The residual stream and the next token at the end of each prompt, where the answer begins.

    Where `going` says no, between two batches, the reading ends: then it holds the first prompts only, as many as were
    read (see `read_tokens`).

    Raises:
        UserError: a prompt is longer than the model can take, or the model does not show its layers.
    """
    return read_tokens(lm, encode_prompts(lm, prompts), going)


def read_tokens(lm: LM, prompts: Sequence[tuple[int, ...]], going: Callable[[], bool] = lambda: True) -> Reading:
    """The same for prompts in tokens, in blocks in the order given; in a block, prompts of like length side by side.

    Padding stands at the end, where a causal model does not see it from the last token of the prompt.
    """
    check_length(lm, max(map(len, prompts), default=0))
    states, logprobs = [], []
    for start in range(0, len(prompts), BLOCK):
        if start and not going():
            break
        block = prompts[start : start + BLOCK]
        parts = [(places, *_forward(lm, [block[i] for i in places])) for places in _batches(lm, block)]
        order = np.argsort([i for places, _, _ in parts for i in places])
        states.append(np.concatenate([part for _, part, _ in parts])[order])
        logprobs.append(np.concatenate([part for _, _, part in parts])[order])
    if not states:
        raise ValueError("there is no prompt to read")
    return Reading(np.concatenate(states), np.concatenate(logprobs))


BLOCK = 64
"""Prompts after which the clock is looked at."""


def _batches(lm: LM, prompts: Sequence[tuple[int, ...]]) -> Iterator[list[int]]:
    """Places of prompts that go through the model side by side."""
    limit = max(row_budget(lm), forward_budget(lm))
    alone = 1 if lm.layout.rows == "single" else (lm.layout.alone_above or np.inf)
    batch: list[int] = []
    for place in sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i)):
        long = len(prompts[place])
        if batch and (long > alone or long * (len(batch) + 1) > limit):
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def _forward(lm: LM, prompts: Sequence[tuple[int, ...]]) -> tuple[np.ndarray, np.ndarray]:
    width = max(map(len, prompts))
    ids = torch.tensor([list(prompt) + [prompt[-1]] * (width - len(prompt)) for prompt in prompts], device=lm.device)
    last = torch.tensor([len(prompt) - 1 for prompt in prompts], device=lm.device)
    rows = torch.arange(len(prompts), device=lm.device)
    with torch.inference_mode(), only(lm, rows * width + last) as cut:
        out = lm.model(input_ids=ids, use_cache=False, output_hidden_states=True)
    if not getattr(out, "hidden_states", None):
        raise UserError(f"{type(lm.model).__name__} does not show what its layers say", "use another model")
    states = torch.stack([state[rows, last] for state in of_one_width(out.hidden_states)], dim=1)
    logits = out.logits[0] if cut else out.logits[rows, last]
    return states.float().cpu().numpy(), logits.float().log_softmax(-1).cpu().numpy()
