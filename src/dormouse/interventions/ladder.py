"""What all surgery has in common: a ladder of strengths, each an edited copy of the suspect."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pydantic import AfterValidator

from dormouse.errors import UserError
from dormouse.interventions.findings import Finding, write_findings
from dormouse.interventions.intervention import Intervention
from dormouse.metrics import Metric, named
from dormouse.records import SafetyPool, Suspect

if TYPE_CHECKING:
    from dormouse.lm.model import LM

Editor = Callable[[float], "LM"]
"""From a strength to the edited copy."""
T = TypeVar("T", bound=Sequence[Any])


def _rising(values: T) -> T:
    if any(a >= b for a, b in itertools.pairwise(values)):
        raise ValueError("the rungs of a ladder go from the weakest to the strongest: each number above the one before")
    return values


def _falling(values: T) -> T:
    if any(a <= b for a, b in itertools.pairwise(values)):
        raise ValueError("the rungs of a ladder go from the weakest to the strongest: each number below the one before")
    return values


class Ladder(Intervention):
    """Surgery on weights: rung n of the ladder is checkpoint n, made from the suspect and not from the rung before."""

    metrics: ClassVar[tuple[Metric, ...]] = named("strength")
    rungs: ClassVar[bool] = True

    @property
    @abstractmethod
    def ladder(self) -> tuple[float, ...]:
        """The strengths, the weakest first."""

    @abstractmethod
    def editor(self, lm: LM, suspect: Suspect, pool: SafetyPool, seed: int) -> Editor:
        """What makes a rung from its strength."""

    def checkpoints(self) -> tuple[int, ...]:
        """One for each rung, counted from 1; the rungs themselves are in the records, as `strength`."""
        return tuple(range(1, len(self.ladder) + 1))

    def apply(
        self, suspect: Suspect, pool: SafetyPool, seed: int, out: Path, progress: Callable[[int, float], None]
    ) -> None:
        """Write the suspect edited at each strength as a checkpoint of its own, each made from the unedited weights.

        Raises:
            UserError: the suspect's weights are not finite, or the method cannot edit such a model.
        """
        import torch

        from dormouse.lm.checkpoint import save
        from dormouse.lm.load import load
        from dormouse.lm.surgery import check_finite
        from dormouse.lm.train import write_trained

        lm = load(suspect.model, torch.float32)
        check_finite(lm)
        edit = self.editor(lm, suspect, pool, seed)
        for rung, strength in enumerate(self.ladder, 1):
            done = edit(strength)
            check_finite(done)
            save(done, out / f"step-{rung:06d}")
            write_trained(out / f"step-{rung:06d}", rung, 0)  # an edit trains on none
            progress(rung, 0.0)
        write_strengths(out, self.ladder)


def write_strengths(out: Path, ladder: Sequence[float]) -> None:
    """Say how strong each rung is."""
    write_findings(out, [Finding("strength", i, {"strength": s}, "number") for i, s in enumerate(ladder, 1)])


def clean_base(suspect: Suspect) -> LM:
    """The clean model, in float32.

    Raises:
        UserError: it was not handed over.
    """
    import torch

    from dormouse.lm.load import load

    if suspect.base is None:
        raise UserError(
            "this remover needs the clean base model, and was handed none", "give it one: Suspect(base=...)"
        )
    return load(suspect.base, torch.float32)


Rising: Any = AfterValidator(_rising)
Falling: Any = AfterValidator(_falling)
