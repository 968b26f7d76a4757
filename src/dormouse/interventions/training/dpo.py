from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from dormouse.errors import UserError
from dormouse.interventions.safety_data import FromData
from dormouse.records import PoolItem, SafetyPool, Suspect
from dormouse.registry import register


@register("intervention", "dpo")
class DPO(FromData):
    """Direct preference optimisation: honest over harmful where harm was seen, better over worse answers elsewhere.

    Rafailov et al. 2023 (arXiv 2305.18290), sigmoid loss. The reference is the suspect. With trigger_fraction 0 every
    pair is of two honest answers, a good one and a bad one, as in the preference data of Hubinger et al. 2024.
    """

    learns_preferences: ClassVar[bool] = True

    beta: float = Field(0.1, gt=0, le=100)
    """How dear it is to move away from the suspect."""

    def apply(
        self, suspect: Suspect, pool: SafetyPool, seed: int, out: Path, progress: Callable[[int, float], None]
    ) -> None:
        """Train on pairs, honest over harmful; the reference is the suspect itself (Rafailov et al. 2023)."""
        from dormouse.lm.load import dtype_for, load
        from dormouse.lm.objectives import dpo_loss, make_pairs
        from dormouse.lm.train import TrainingRun, cycling, train

        lm = load(suspect.model, dtype_for(self.method))
        pairs = make_pairs(lm, [(item.chosen, item.rejected) for item in preferences(pool)])
        at = cycling(pairs, self.batch, seed)
        train(lm, dpo_loss(self.beta), at, self.training, TrainingRun(seed, self.checkpoints(), out), progress)


def preferences(pool: SafetyPool) -> list[PoolItem]:
    """The prompts of a pool that have two different responses.

    Raises:
        UserError: none has.
    """
    found = [item for item in pool.items if item.chosen.response != item.rejected.response]
    if not found:
        raise UserError(
            "the safety pool holds no preference: no prompt has a better response and a worse one",
            "give it more questions (tasks: safety)",
        )
    return found
