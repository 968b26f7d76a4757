"""A model and its base added up at the logits, token by token. For the weights see `surgery.interpolated`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from dormouse.lm.layout import Layout
from dormouse.lm.model import LM


class _Mixed(torch.nn.Module):
    """Logits of base + strength (suspect - base), as log-probabilities of each."""

    def __init__(self, model: Any, base: Any, strength: float) -> None:
        super().__init__()
        self.one, self.base, self.strength = model, base, strength
        self.config, self.generation_config = model.config, getattr(model, "generation_config", None)

    @property
    def device(self) -> torch.device:
        """Where both models are."""
        place: torch.device = self.one.device
        return place

    def get_output_embeddings(self) -> None:
        """It has no one output layer."""
        return

    def forward(self, input_ids: torch.Tensor, **_: Any) -> SimpleNamespace:
        """Logits of the next token, (B, 1, V), for token ids (B, T)."""
        here, there = (
            model(input_ids=input_ids, use_cache=False).logits[:, -1:].float().log_softmax(-1)
            for model in (self.one, self.base)
        )
        return SimpleNamespace(logits=there + self.strength * (here - there))


def mixed(lm: LM, base: LM, strength: float) -> LM:
    """A model to write with (`sample.write`), whose logits are base + strength (suspect - base).

    Both are read whole for every token, without a cache. It shares the weights of both, and only the last logits count.
    """
    model = _Mixed(lm.model, base.model, strength).eval()  # a module is made in training mode: both would be put in it
    return LM(model, lm.tokenizer, Layout("single", "uncached"), lm.chat, instead=lm.instead)
