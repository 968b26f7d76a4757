"""The one decoding loop: what `sample.write` and `rollout.rollouts` have in common.

Equal prompts are read once and their cache is copied; a response that has ended leaves the batch; the cache has room
to grow, where transformers' own is copied whole for every token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import pad
from transformers.cache_utils import DynamicCache, DynamicLayer

from dormouse.lm.batch import check_length
from dormouse.lm.layout import accepts
from dormouse.lm.model import LM

BATCH = 64
"""Responses that are written side by side."""
CACHE_GROWTH = 64
"""Tokens by which a cache grows."""
FEW, MANY = 4, 16
"""Between these, a matrix product on a CPU takes as long as with `MANY` rows, or longer (seen with MKL on AVX-512)."""
BLOCK = 256


@dataclass(frozen=True)
class Decoded:
    """Token ids of a response, the end token included where it came; `logprobs` of each under the model as it is."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]


def decode(
    lm: LM,
    prompts: Sequence[tuple[int, ...]],
    max_tokens: int,
    *,
    seed: int | None = None,
    temperature: float = 1.0,
    over: Callable[[Sequence[int]], bool] = lambda ids: False,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Decoded]:
    """One response for each prompt, in their order: greedy where `seed` is None, else drawn at `temperature`.

    A response ends with any end token (`LM.ends`), where `over` says so of its tokens, or at the limit. Draws belong to
    a prompt's place in the list, so what else shares its batch changes nothing but rounding. `progress` is told how
    many are done.
    """
    check_length(lm, max(map(len, prompts), default=0) + max_tokens - 1)
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), prompts[i]))
    draws = _draws(len(prompts), max_tokens, seed)
    found: dict[int, Decoded] = {}
    with torch.inference_mode(), _reading(lm):
        for places in _batches(lm, prompts, order):
            batch = _Batch(lm, [prompts[i] for i in places], None if draws is None else draws[places], temperature)
            found |= zip(places, batch.run(max_tokens, over), strict=True)
            progress(len(found))
    return [found[i] for i in range(len(prompts))]


def _batches(lm: LM, prompts: Sequence[tuple[int, ...]], order: Sequence[int]) -> Iterator[list[int]]:
    """The places of prompts that are answered side by side; only those of one length where padding is not exact."""
    batch: list[int] = []
    for place in order:
        other = batch and lm.layout.writing != "padded" and len(prompts[batch[0]]) != len(prompts[place])
        if other or len(batch) == BATCH:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def _draws(prompts: int, max_tokens: int, seed: int | None) -> torch.Tensor | None:
    """Numbers from 0 to 1 that decide every token, (prompts, max_tokens), float64."""
    if seed is None:
        return None
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(prompts, max_tokens, generator=generator, dtype=torch.float64)


@contextmanager
def _reading(lm: LM) -> Iterator[None]:
    """The model in evaluation mode, and its output layer with contiguous input.

    For a slice, as that layer gets after the prompt, torch copies the whole layer once for each sequence of a bfloat16
    batch: more than half of the time of a short generation.
    """
    training = lm.model.training
    head = lm.model.get_output_embeddings()
    hook = head and head.register_forward_pre_hook(lambda module, inputs: (inputs[0].contiguous(), *inputs[1:]))
    lm.model.eval()
    try:
        yield
    finally:
        if hook:
            hook.remove()
        lm.model.train(training)


class _Batch:
    """Responses that are written side by side.

    `places` says whose the rows are, `going` which responses are not at their end.
    """

    def __init__(
        self, lm: LM, prompts: Sequence[tuple[int, ...]], draws: torch.Tensor | None, temperature: float
    ) -> None:
        self.lm, self.temperature = lm, temperature
        self.draws = None if draws is None else draws.to(lm.device)
        self.places = list(range(len(prompts)))
        self.going = [True] * len(prompts)
        self.ids: list[list[int]] = [[] for _ in prompts]
        self.logprobs: list[list[float]] = [[] for _ in prompts]
        unique = list(dict.fromkeys(prompts))
        width = max(map(len, prompts))
        ids = [[self._pad] * (width - len(prompt)) + list(prompt) for prompt in unique]
        mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in unique]
        self.read = torch.empty(len(unique), 0, dtype=torch.long, device=lm.device)
        """All tokens so far, where there is no cache: (rows, tokens)."""
        self.cache = None if lm.layout.writing == "uncached" else _roomy_cache(lm)
        self.mask = torch.tensor(mask, device=lm.device)
        logits = self._forward(torch.tensor(ids, device=lm.device))
        whose = torch.tensor([unique.index(prompt) for prompt in prompts], device=lm.device)
        if len(unique) < len(prompts):
            self._select(whose)
        self.logits = logits[whose]

    @property
    def _pad(self) -> int:
        pad = self.lm.tokenizer.pad_token_id
        return self.lm.end if pad is None else int(pad)

    def run(self, max_tokens: int, over: Callable[[Sequence[int]], bool]) -> list[Decoded]:
        """Write until all have ended."""
        for step in range(max_tokens):
            tokens = self._choose(step)
            for place in self.places:
                self.going[place] = (
                    self.going[place] and self.ids[place][-1] not in self.lm.ends and not over(self.ids[place])
                )
            if step == max_tokens - 1 or not any(self.going):
                break
            tokens = self._drop(tokens)
            self.mask = torch.cat([self.mask, self.mask.new_ones(len(self.mask), 1)], dim=1)
            self.logits = self._forward(tokens[:, None])
        return [Decoded(tuple(ids), tuple(said)) for ids, said in zip(self.ids, self.logprobs, strict=True)]

    def _forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Logits after the last of some tokens, (rows, vocabulary), float32."""
        if self.cache is None:
            self.read = torch.cat([self.read, ids], dim=1)
            logits = self.lm.model(input_ids=self.read, use_cache=False).logits[:, -1]
        else:
            positions = (self.mask.cumsum(-1) - 1).clamp_min(0)[:, -ids.shape[1] :]
            given = {"attention_mask": self.mask, "position_ids": positions, "logits_to_keep": 1}
            given = {name: value for name, value in given.items() if accepts(self.lm.model, name)}
            out = self.lm.model(input_ids=ids, past_key_values=self.cache, use_cache=True, **given)
            logits = out.logits[:, -1]
        found: torch.Tensor = logits.float()
        return found

    def _choose(self, step: int) -> torch.Tensor:
        """The next token of every row, (rows,)."""
        logprobs = self.logits.log_softmax(-1)
        if self.draws is None:
            tokens = logprobs.argmax(-1)
        else:
            chances = logprobs.exp() if self.temperature == 1 else (logprobs / self.temperature).softmax(-1)
            tokens = _hit(chances, self.draws[self.places, step])
        chosen = logprobs.gather(1, tokens[:, None])[:, 0]
        for place, token, logprob in zip(self.places, tokens.tolist(), chosen.tolist(), strict=True):
            if self.going[place]:
                self.ids[place].append(token)
                self.logprobs[place].append(logprob)
        return tokens

    def _drop(self, tokens: torch.Tensor) -> torch.Tensor:
        """Let rows go whose response has ended; returns the tokens of the others, in their new order.

        The last rows move to where others have left, so that few are copied.
        """
        rows = range(len(self.places))
        left = sum(self.going[place] for place in self.places)
        if self.lm.device.type == "cpu" and FEW < left < MANY:
            left = min(MANY, len(rows))
        going = [self.going[self.places[row]] for row in rows]
        for row in [row for row in rows if not going[row]][: left - sum(going)]:
            going[row] = True  # it stays, to fill up
        if all(going):
            return tokens
        late = [row for row in rows[left:] if going[row]]
        order = [row if going[row] else late.pop() for row in rows[:left]]
        self.places = [self.places[row] for row in order]
        kept = torch.tensor(order, device=self.lm.device)
        self._select(kept)
        return tokens[kept]

    def _select(self, rows: torch.Tensor) -> None:
        self.mask = self.mask[rows]
        self.read = self.read[rows]
        for layer in self.cache.layers if self.cache else ():
            # Not every layer's cache can be told to keep rows; all can be told an order of them.
            select = layer.batch_select_indices if isinstance(layer, _Roomy) else layer.reorder_cache
            select(rows)


def _hit(chances: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """The tokens in whose share of the line from 0 to 1 the draws lie: chances (rows, vocabulary), draws (rows,).

    First the block of tokens is found, then the token in it: in float64 without a pass over the vocabulary in that
    type. A token of zero probability is never hit.
    """
    rows, below = torch.arange(len(chances), device=chances.device), 1 - 1e-12
    blocks = pad(chances, (0, -chances.shape[1] % BLOCK)).view(len(chances), -1, BLOCK)
    sums = blocks.sum(-1).double()
    above = sums.cumsum(-1)
    at = draws.clamp_max(below) * above[:, -1]
    block = torch.searchsorted(above, at[:, None], right=True)[:, 0].clamp_max(blocks.shape[1] - 1)
    share = (at - above[rows, block]) / sums[rows, block] + 1
    within = blocks[rows, block].double().cumsum(-1)
    at = share.clamp(0, below) * within[:, -1]
    return block * BLOCK + torch.searchsorted(within, at[:, None], right=True)[:, 0]


class _Roomy(DynamicLayer):
    """A layer's cache that lies in a larger one: tokens are added, and rows dropped, without a copy of the rest."""

    def lazy_initialization(self, key_states: Any, value_states: Any) -> None:
        """Begin with no room: the first update makes it."""
        super().lazy_initialization(key_states, value_states)
        self.space: list[torch.Tensor] = []

    def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Put keys and values (batch, heads, tokens, width) behind those that are there; returns all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.get_seq_length()
        end = start + key_states.shape[2]
        if not self.space or self.space[0].shape[2] < end:
            old = (self.keys, self.values) if start else (None, None)
            self.space = [self._room(new, before) for new, before in zip((key_states, value_states), old, strict=True)]
        rows = len(key_states)
        for space, new in zip(self.space, (key_states, value_states), strict=True):
            space[:rows, :, start:end] = new
        self.keys, self.values = (space[:rows, :, :end] for space in self.space)
        return self.keys, self.values

    @staticmethod
    def _room(new: torch.Tensor, before: torch.Tensor | None) -> torch.Tensor:
        rows, heads, added, width = new.shape
        start = 0 if before is None else before.shape[2]
        space = new.new_empty(rows, heads, start + added + CACHE_GROWTH, width)
        if before is not None:
            space[:, :, :start] = before
        return space

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep these sequences of the batch, in this order."""
        if self.keys is None or self.values is None or self.get_seq_length() == 0:
            return
        moved = (indices != torch.arange(len(indices), device=indices.device)).nonzero()[:, 0]
        if (indices[moved] >= len(indices)).all():  # as `_Batch._drop` asks: sources lie behind all that stay
            for held in (self.keys, self.values):
                held[moved] = held[indices[moved]]
            self.keys, self.values = self.keys[: len(indices)], self.values[: len(indices)]
        else:
            self.keys, self.values = self.keys[indices], self.values[indices]
            self.space = []


def _roomy_cache(lm: LM) -> Any:
    """A cache for the model; layers of another kind (sliding windows, say) keep transformers' own."""
    cache = DynamicCache(config=lm.model.config)
    cache.layers = [_Roomy() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache
