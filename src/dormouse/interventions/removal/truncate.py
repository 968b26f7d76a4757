from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from dormouse.interventions.ladder import Editor, Ladder, clean_base
from dormouse.records import SafetyPool, Suspect
from dormouse.registry import register

if TYPE_CHECKING:
    from dormouse.lm.model import LM


@register("intervention", "truncate")
class Truncate(Ladder):
    """Truncating the update: of suspect minus base each matrix keeps few singular values, or loses the largest.

    Low-rank truncation of weights (LASER, Sharma et al. 2023, arXiv 2312.13558), done to what was added and not to the
    whole. It needs the base.
    """

    ranks: tuple[Annotated[int, Field(ge=1, le=65_536)], ...] = Field((8, 4, 2, 1), min_length=1, max_length=30)
    """How many singular values are kept, rung by rung; with `drop: largest`, how many are dropped."""
    drop: Literal["smallest", "largest"] = "smallest"
    """Which go."""

    @model_validator(mode="after")
    def _weakest_first(self) -> Truncate:
        falls = self.drop == "smallest"
        if list(self.ranks) != sorted(set(self.ranks), reverse=falls):
            raise ValueError(
                f"the rungs go from the weakest to the strongest: with drop: {self.drop} ranks "
                f"{'fall' if falls else 'rise'}"
            )
        return self

    @property
    def needs_base(self) -> bool:
        """Always: it cuts what was added to the clean model."""
        return True

    @property
    def ladder(self) -> tuple[float, ...]:
        """How many singular values of each matrix are kept (`drop: largest`: are dropped), rung by rung."""
        return self.ranks

    def editor(self, lm: LM, suspect: Suspect, pool: SafetyPool, seed: int) -> Editor:
        """A function from a rank to the base plus the truncated update.

        Raises:
            UserError: the base is not there, or is not of the suspect's shape.
        """
        from dormouse.lm.surgery import truncated, update_of

        update = update_of(lm, clean_base(suspect))
        return lambda rank: truncated(lm, update, int(rank), self.drop)
