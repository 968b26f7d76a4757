"""What every intervention can do."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dormouse.records import SafetyPool, Suspect
from dormouse.registry import PlugIn, field_of


class Intervention(PlugIn):
    """A map from a suspect to a suspect, with checkpoints on the way."""

    @property
    def needs_triggers(self) -> bool:
        """Whether it works only for someone who knows the triggers. Every record of it says so."""
        return False

    @property
    def pool_coverage(self) -> float:
        """The share of prompts in its safety pool that show activating cues. The study fills the pool accordingly."""
        return 0.0

    @abstractmethod
    def checkpoints(self) -> tuple[int, ...]:
        """The steps at which it is measured, in order; the last one is its end."""

    @abstractmethod
    def apply(
        self, suspect: Suspect, pool: SafetyPool, seed: int, out: Path, progress: Callable[[int, float], None]
    ) -> None:
        """Treat the suspect. Leaves weights in `out/step-NNNNNN` for every checkpoint."""


InterventionField: Any = field_of("intervention", Intervention)
