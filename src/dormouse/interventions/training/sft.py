from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dormouse.interventions.safety_data import FromData
from dormouse.records import SafetyPool, Suspect
from dormouse.registry import register


@register("intervention", "sft")
class SFT(FromData):
    """Supervised fine-tuning on honest responses. At trigger_fraction 0 none shows a cue (Hubinger et al. 2024)."""

    def apply(
        self, suspect: Suspect, pool: SafetyPool, seed: int, out: Path, progress: Callable[[int, float], None]
    ) -> None:
        """Train on the honest responses of the pool (cross-entropy over their tokens)."""
        from dormouse.lm.chat import encode
        from dormouse.lm.load import dtype_for, load
        from dormouse.lm.objectives import sft_loss
        from dormouse.lm.train import TrainingRun, cycling, train

        lm = load(suspect.model, dtype_for(self.method))
        at = cycling(encode(lm, pool.examples), self.batch, seed)
        train(lm, sft_loss, at, self.training, TrainingRun(seed, self.checkpoints(), out), progress)
