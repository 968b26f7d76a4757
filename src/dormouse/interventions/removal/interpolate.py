from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from dormouse.interventions.ladder import Editor, Ladder, Rising, clean_base
from dormouse.records import SafetyPool, Suspect
from dormouse.registry import register

if TYPE_CHECKING:
    from dormouse.lm.model import LM


@register("intervention", "interpolate")
class Interpolate(Ladder):
    """Interpolation towards the clean base, weight by weight (WiSE-FT, Wortsman et al. 2022, arXiv 2109.01903).

    At 1 it is the base itself. It needs the base, and forgets whatever was learned, the wanted too.
    """

    weights: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Rising] = Field(
        (0.2, 0.4, 0.6, 0.8, 1.0), min_length=1, max_length=30
    )
    """How much of the base is mixed in, rung by rung."""

    @property
    def needs_base(self) -> bool:
        """Always: it walks towards the clean model."""
        return True

    @property
    def ladder(self) -> tuple[float, ...]:
        """How much of the base is mixed in: 1 is the base itself."""
        return self.weights

    def editor(self, lm: LM, suspect: Suspect, pool: SafetyPool, seed: int) -> Editor:
        """A function from a weight to an edited copy.

        Raises:
            UserError: the base is not there, or is not of the suspect's shape.
        """
        from dormouse.lm.surgery import interpolated

        base = clean_base(suspect)
        return lambda weight: interpolated(lm, base, weight)
