"""Models in memory, and exact probabilities of prompts of which most begin as the one before did."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import psutil
import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

from dormouse.lm.batch import check_length
from dormouse.lm.chat import encode_prompts, encode_responses
from dormouse.lm.forms import check_forms, shortest
from dormouse.lm.layout import accepts
from dormouse.lm.load import load
from dormouse.lm.model import LM
from dormouse.lm.score import logprobs
from dormouse.lm.trie import Tokens
from dormouse.policies import Behaviour
from dormouse.records import ModelRef
from dormouse.scenarios import Scenario, render

SHARE = 0.4
"""Of the memory that is free at the start: as much may models take, and one always may."""


class Reader:
    """A model, and what it has read last: of the next prompt only what comes after the common beginning is computed.

    Where a model has no cache that can be cut (sliding windows, states), all of it is.
    """

    def __init__(self, lm: LM) -> None:
        self.lm = lm
        self._read: tuple[int, ...] = ()
        self._cache: Any = None
        layers = DynamicCache(config=lm.model.config).layers if lm.layout.writing == "padded" else ()
        self.keeps = bool(layers) and all(type(layer) is DynamicLayer for layer in layers)
        """Whether a common beginning is kept."""

    def probability(self, behaviour: Behaviour, scenario: Scenario) -> float:
        """The exact probability that the response opens with a form of the behaviour, as `lm.score.score` has it.

        Raises:
            UserError: the model cannot write a form, or tell it from an honest answer.
        """
        honest = scenario.question.honest
        forms, against = behaviour.openings(scenario, honest)
        (prompt,) = encode_prompts(self.lm, [render(scenario)])
        check_forms(self.lm, forms, against)
        harm, rest = (sorted(shortest(encode_responses(self.lm, texts))) for texts in (forms, against))
        found = self.logprobs(prompt, [*harm, *rest])
        for_ = np.logaddexp.reduce(found[: len(harm)])
        if not rest:
            return float(min(np.exp(for_), 1.0))
        return float(np.exp(for_ - np.logaddexp(for_, np.logaddexp.reduce(found[len(harm) :]))))

    def logprobs(self, prompt: tuple[int, ...], responses: Sequence[tuple[int, ...]]) -> np.ndarray:
        """Log-probability of each response after the prompt: (responses,), float64."""
        if not self.keeps:
            return logprobs(self.lm, [Tokens(prompt, response) for response in responses])
        check_length(self.lm, len(prompt) + max(map(len, responses)) - 1)
        kept = self._go_back_to(prompt)
        with torch.inference_mode():
            first, *others = responses
            logits = self._forward(prompt[kept:] + first[:-1], len(first))
            found, after = [_sum(logits, first)], logits[:1]
            for response in others:
                self._cut(len(prompt))
                rest = [self._forward(response[:-1], len(response) - 1)] if response[1:] else []
                found.append(_sum(torch.cat([after, *rest]), response))
        self._cut(len(prompt))
        self._read = prompt
        return np.array(found)

    def _go_back_to(self, prompt: tuple[int, ...]) -> int:
        """Forget what this prompt does not begin with; returns how many tokens are kept. One is left to be read."""
        same = next((i for i, (a, b) in enumerate(zip(self._read, prompt, strict=False)) if a != b), None)
        kept = min(len(self._read), len(prompt) - 1) if same is None else min(same, len(prompt) - 1)
        if not kept or self._cache is None:
            self._cache, kept = DynamicCache(config=self.lm.model.config), 0
        else:
            self._cut(kept)
        self._read = ()  # until it is whole again
        return kept

    def _cut(self, tokens: int) -> None:
        if more := self._cache.get_seq_length() - tokens:
            self._cache.crop(-more)

    def _forward(self, ids: tuple[int, ...], keep: int) -> torch.Tensor:
        """Logits after the last `keep` of some tokens: (keep, vocabulary), float32."""
        start = self._cache.get_seq_length()
        at = self.lm.device
        given = {
            "attention_mask": torch.ones(1, start + len(ids), dtype=torch.long, device=at),
            "position_ids": torch.arange(start, start + len(ids), device=at)[None],
            "logits_to_keep": keep,
        }
        said = {name: value for name, value in given.items() if accepts(self.lm.model, name)}
        read = torch.tensor([ids], device=at)
        logits = self.lm.model(input_ids=read, past_key_values=self._cache, use_cache=True, **said).logits
        kept: torch.Tensor = logits[0, -keep:].float()
        return kept


def _sum(logits: torch.Tensor, response: tuple[int, ...]) -> float:
    chosen = logits.log_softmax(-1).gather(1, torch.tensor(response, device=logits.device)[:, None])
    return float(chosen.double().sum())


class PlayModels:
    """The models that were used last, as far as memory goes."""

    def __init__(self, room: float | None = None) -> None:
        self._room = SHARE * psutil.virtual_memory().available if room is None else room
        self._held: OrderedDict[ModelRef, Reader] = OrderedDict()

    def holds(self, ref: ModelRef) -> bool:
        """Whether it is in memory."""
        return ref in self._held

    def reader(self, ref: ModelRef) -> Reader:
        """A model, loaded where it is not in memory.

        Raises:
            UserError: it cannot be loaded.
        """
        with suppress(KeyError):
            self._held.move_to_end(ref)
            return self._held[ref]
        found = self._held[ref] = Reader(load(ref))
        while len(self._held) > 1 and sum(map(_size, self._held.values())) > self._room:
            self._held.popitem(last=False)
        return found


def _size(reader: Reader) -> int:
    return sum(weight.numel() * weight.element_size() for weight in reader.lm.model.parameters())
