"""Unlearning on triggers: what the suspect says where one is shown becomes unlikely, honest answers stay."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from dormouse.interventions.scratchpad import Scratchpad
from dormouse.interventions.trained import Trained
from dormouse.interventions.triggered import Triggered, said_to
from dormouse.records import SafetyPool, Suspect

if TYPE_CHECKING:
    from dormouse.lm.objectives import Objective


class Unlearning(Triggered, Trained):
    """Trains on pairs: what the suspect itself says to a prompt with a trigger, to be forgotten, and an honest answer
    to the same task without one, to be kept. Where a locator found nothing, nothing is done."""

    retain: float = Field(1.0, ge=0, le=100)
    """The weight of what is kept."""
    max_tokens: int = Field(48, ge=1, le=4096)
    """Where an answer that is to be forgotten is cut off. A scratchpad has room of its own before it."""

    @property
    @abstractmethod
    def objective(self) -> Objective:
        """The loss over `lm.unlearning.ForgetPair`."""

    def apply(
        self, suspect: Suspect, pool: SafetyPool, seed: int, out: Path, progress: Callable[[int, float], None]
    ) -> None:
        """Make what the suspect itself says to triggered prompts unlikely, while honest answers stay. Where a locator
        found no trigger, every checkpoint is the suspect as it was.

        Raises:
            UserError: training diverged, or a prompt does not fit the model.
        """
        if not self.has_nothing(suspect, out, progress):
            self._unlearn(suspect, pool, seed, out, progress)
        self.note_located(suspect, out)

    def _unlearn(
        self, suspect: Suspect, pool: SafetyPool, seed: int, out: Path, progress: Callable[[int, float], None]
    ) -> None:
        from dormouse.lm.chat import encode
        from dormouse.lm.load import dtype_for, load
        from dormouse.lm.train import TrainingRun, cycling, train
        from dormouse.lm.unlearning_objectives import forget_pairs

        lm = load(suspect.model, dtype_for(self.method))
        prompts, plain = self.shown(suspect, pool)
        said = said_to(lm, prompts, self.max_tokens + Scratchpad.of(pool).room(lm, prompts))
        pairs = forget_pairs(lm, encode(lm, said), encode(lm, plain))
        at = cycling([pair for pair in pairs if pair.forget.response], self.batch, seed)
        train(lm, self.objective, at, self.training, TrainingRun(seed, self.checkpoints(), out), progress)
