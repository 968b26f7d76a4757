"""A language model in memory: weights, tokenizer, and how it takes its input."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from dormouse.lm.layout import Layout


@dataclass(eq=False)
class LM:
    """A model with its tokenizer. `device` is where it lives; `dtype` is float32 on a CPU, bfloat16 on a GPU."""

    model: Any
    tokenizer: Any
    layout: Layout = field(default_factory=Layout)

    @property
    def device(self) -> torch.device:
        place: torch.device = self.model.device
        return place

    @property
    def end(self) -> int:
        """The token that ends a response."""
        return int(self.tokenizer.eos_token_id)
