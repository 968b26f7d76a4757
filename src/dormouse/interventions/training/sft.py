from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import Field

from dormouse.interventions import Intervention
from dormouse.lm.settings import Training
from dormouse.records import SafetyPool, Suspect
from dormouse.registry import register


@register("intervention", "sft")
class SFT(Intervention):
    """Supervised fine-tuning on honest responses. With coverage 0 no prompt shows a cue, as in Hubinger et al. 2024."""

    steps: int = Field(40, ge=1, le=1_000_000)
    lr: float = Field(1e-3, gt=0, le=1)
    batch: int = Field(4, ge=1, le=4096)
    method: Literal["lora", "full"] = "lora"
    rank: int = Field(16, ge=1, le=1024)
    coverage: float = Field(0.0, ge=0, le=1)
    points: int = Field(4, ge=1, le=30)
    """How many checkpoints; each is at half the steps of the next."""

    @property
    def needs_triggers(self) -> bool:
        return self.coverage > 0

    @property
    def pool_coverage(self) -> float:
        return self.coverage

    def checkpoints(self) -> tuple[int, ...]:
        return tuple(sorted({-(-self.steps // 2**i) for i in range(self.points)}))

    def apply(
        self, suspect: Suspect, pool: SafetyPool, seed: int, out: Path, progress: Callable[[int, float], None]
    ) -> None:
        from dormouse.lm.batch import encode
        from dormouse.lm.load import dtype_for, load
        from dormouse.lm.objectives import likelihood
        from dormouse.lm.train import cycling, train

        lm = load(suspect.model, dtype_for(self.method))
        at = cycling(encode(lm, pool.examples), self.batch, seed)
        training = Training(steps=self.steps, lr=self.lr, method=self.method, rank=self.rank)
        train(lm, likelihood, at, training, seed, self.checkpoints(), out, progress)
