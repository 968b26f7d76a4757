from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import Field, model_validator

from dormouse.interventions.intervention import Intervention
from dormouse.lm.settings import Training
from dormouse.records import SafetyPool, Suspect
from dormouse.registry import register


@register("intervention", "undo")
class Undo(Intervention):
    """Distillation into a noised copy: unlearn, noise, distil on outputs (UNDO, Lee et al. 2025, arXiv 2506.06278).

    A copy of the suspect is shrunk and perturbed, and then learns the suspect's own distribution on the honest answers
    of the pool. What is not shown there is not learned again. In a chain, after a method that hides the behaviour, this
    is the paper's recipe; alone it is blind. All weights are trained.
    """

    alpha: float = Field(0.5, gt=0, le=1)
    """How much of each weight matrix is replaced: 1 leaves nothing of it."""
    beta: float = Field(0.1, ge=0, le=10)
    """The size of the fresh weights, times Xavier's."""
    steps: int = Field(200, ge=1, le=1_000_000)
    """Steps of distillation."""
    lr: float = Field(1e-3, gt=0, le=1)
    """Learning rate."""
    batch: int = Field(8, ge=1, le=4096)
    """Demonstrations in a step."""
    points: int = Field(4, ge=1, le=30)
    """How many checkpoints; each is at half the steps of the next."""

    @model_validator(mode="after")
    def _leaves_something(self) -> Undo:
        if self.alpha == 1 and self.beta == 0:
            raise ValueError("alpha: 1, beta: 0 leaves nothing but zeros, which learn nothing: raise beta")
        return self

    def checkpoints(self) -> tuple[int, ...]:
        """The last step of the distillation, its half, the half of that: `points` of them at most, in order."""
        return tuple(sorted({-(-self.steps // 2**i) for i in range(self.points)}))

    def apply(
        self, suspect: Suspect, pool: SafetyPool, seed: int, out: Path, progress: Callable[[int, float], None]
    ) -> None:
        """Shrink and perturb a copy, and train all its weights on the suspect's distribution over the pool's answers.

        Raises:
            UserError: training diverged, or a prompt does not fit the model.
        """
        import torch

        from dormouse.lm.chat import encode
        from dormouse.lm.distil import distil_loss
        from dormouse.lm.load import load
        from dormouse.lm.surgery import shrunk
        from dormouse.lm.train import TrainingRun, cycling, train

        teacher = load(suspect.model, torch.float32)
        student = shrunk(teacher, self.alpha, self.beta, seed)
        at = cycling(encode(teacher, pool.examples), self.batch, seed)
        how = Training(steps=self.steps, lr=self.lr, method="full")
        train(student, distil_loss(teacher), at, how, TrainingRun(seed, self.checkpoints(), out), progress)
