from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import Field

from dormouse.interventions.safety_training import SafetyTraining
from dormouse.records import SafetyPool, Suspect
from dormouse.registry import register


@register("intervention", "crow")
class Crow(SafetyTraining):
    """Internal consistency regularisation (CROW, Min et al. 2024, arXiv 2411.12768): blind.

    SFT on the pool's honest answers, plus a penalty on how much each layer turns the residual stream, under the small
    change of the embeddings that makes it largest. A step costs about three of `sft`.
    """

    alpha: float = Field(5.5, gt=0, le=1000)
    """The weight of the penalty."""
    epsilon: float = Field(0.1, ge=0, le=100)
    """How far each number of the embeddings is moved."""

    def apply(
        self, suspect: Suspect, pool: SafetyPool, seed: int, out: Path, progress: Callable[[int, float], None]
    ) -> None:
        """Train honest answers, and the penalty on how much each layer turns the stream, together.

        Raises:
            UserError: training diverged, or a prompt does not fit the model.
        """
        from dormouse.lm.chat import encode
        from dormouse.lm.consistency import crow_loss
        from dormouse.lm.load import dtype_for, load
        from dormouse.lm.train import TrainingRun, cycling, train

        lm = load(suspect.model, dtype_for(self.method))
        at = cycling(encode(lm, pool.examples), self.batch, seed)
        objective = crow_loss(self.alpha, self.epsilon)
        train(lm, objective, at, self.training, TrainingRun(seed, self.checkpoints(), out), progress)
