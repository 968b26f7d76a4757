"""What everything that trains has in common: a budget, a way to train, and checkpoints on the way."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dormouse.interventions.intervention import Intervention
from dormouse.lm.settings import Training


class Trained(Intervention):
    """A method that trains for some steps."""

    steps: int = Field(40, ge=1, le=1_000_000)
    """Steps of training."""
    lr: float = Field(1e-3, gt=0, le=1)
    """Learning rate."""
    batch: int = Field(4, ge=1, le=4096)
    """Prompts in a training step."""
    method: Literal["lora", "full"] = "lora"
    """An adapter (LoRA), or all weights."""
    rank: int = Field(16, ge=1, le=1024)
    """Rank of the adapter."""
    points: int = Field(4, ge=1, le=30)
    """How many checkpoints; each is at half the steps of the next."""

    @property
    def training(self) -> Training:
        """How it is trained, for the one loop."""
        return Training(steps=self.steps, lr=self.lr, method=self.method, rank=self.rank)

    def checkpoints(self) -> tuple[int, ...]:
        """The last step, and halves of it, halves of these: as many as `points`, in order, without doubles."""
        return tuple(sorted({-(-self.steps // 2**i) for i in range(self.points)}))
