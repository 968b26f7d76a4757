from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from dormouse.interventions.ladder import Editor, Falling, Ladder
from dormouse.records import SafetyPool, Suspect
from dormouse.registry import register

if TYPE_CHECKING:
    from dormouse.lm.model import LM


@register("intervention", "rounding")
class Rounding(Ladder):
    """Rounding weights to few bits, as quantisation does: 8, 4 and fewer, to the nearest value, a scale for each row.

    Linear layers inside the blocks only; embeddings and the output layer stay, as usual. The rounded weights are stored
    as floats: this is about what is lost, not about memory.
    """

    bits: Annotated[tuple[Annotated[int, Field(ge=2, le=16)], ...], Falling] = Field(
        (8, 6, 4, 3, 2), min_length=1, max_length=15
    )
    """Bits of a weight, rung by rung."""

    @property
    def ladder(self) -> tuple[float, ...]:
        """Bits of a weight, rung by rung: fewer and fewer."""
        return self.bits

    def editor(self, lm: LM, suspect: Suspect, pool: SafetyPool, seed: int) -> Editor:
        """A function from bits to a rounded copy."""
        from dormouse.lm.surgery import rounded

        return lambda bits: rounded(lm, int(bits))
