"""How to train, as a study file says it. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Optimiser = Literal["adamw", "sgd", "muon", "soap"]


class Training(BaseModel):
    """Settings of the one loop: linear warm-up over a share of the budget, then linear decay to zero.

    The optimisers are described in `lm.optimisers`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(ge=1, le=1_000_000)
    """The most steps."""
    tokens: int | None = Field(None, ge=1)
    """The most trained tokens, those of responses. The first step that reaches it is the last."""
    lr: float = Field(gt=0, le=1)
    method: Literal["lora", "full"] = "lora"
    rank: int = Field(16, ge=1, le=1024)
    optimiser: Optimiser = "adamw"
    warmup: float = Field(0.1, ge=0, le=1)
    clip: float = Field(1.0, gt=0)
