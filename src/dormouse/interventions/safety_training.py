"""What all safety training has in common: a budget, a way to train, and what its pool shows."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dormouse.interventions.intervention import Intervention
from dormouse.lm.settings import Optimiser, Training


class SafetyTraining(Intervention):
    """A method that trains on demonstrations, preferences or rewards."""

    steps: int = Field(40, ge=1, le=1_000_000)
    lr: float = Field(1e-3, gt=0, le=1)
    batch: int = Field(4, ge=1, le=4096)
    """Prompts in a training step."""
    method: Literal["lora", "full"] = "lora"
    rank: int = Field(16, ge=1, le=1024)
    optimiser: Optimiser = "adamw"
    coverage: float = Field(0.0, ge=0, le=1)
    """The share of prompts in the safety pool that show activating cues. 0 is the setting of Hubinger et al. 2024."""
    points: int = Field(4, ge=1, le=30)
    """How many checkpoints; each is at half the steps of the next."""

    @property
    def needs_triggers(self) -> bool:
        return self.coverage > 0

    @property
    def pool_coverage(self) -> float:
        return self.coverage

    @property
    def training(self) -> Training:
        """How it is trained, for the one loop."""
        return Training(steps=self.steps, lr=self.lr, method=self.method, rank=self.rank, optimiser=self.optimiser)

    def checkpoints(self) -> tuple[int, ...]:
        return tuple(sorted({-(-self.steps // 2**i) for i in range(self.points)}))
