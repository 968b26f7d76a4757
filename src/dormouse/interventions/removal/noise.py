from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from dormouse.interventions.ladder import Editor, Ladder, Rising
from dormouse.records import SafetyPool, Suspect
from dormouse.registry import register

if TYPE_CHECKING:
    from dormouse.lm.model import LM


@register("intervention", "noise")
class Noise(Ladder):
    """Gaussian noise on all weights: what is learned narrowly may break before what is learned broadly.

    Tice et al. 2024 (arXiv 2412.01784) use it to find sandbagging; here it is the plainest way to damage a model.
    """

    scales: Annotated[tuple[Annotated[float, Field(gt=0, le=100)], ...], Rising] = Field(
        (0.02, 0.05, 0.1, 0.2, 0.4), min_length=1, max_length=30
    )
    """Noise as a multiple of the standard deviation of each weight tensor, rung by rung, in the same direction."""

    @property
    def ladder(self) -> tuple[float, ...]:
        """The noise of each rung, as a multiple of the standard deviation of each weight tensor."""
        return self.scales

    def editor(self, lm: LM, suspect: Suspect, pool: SafetyPool, seed: int) -> Editor:
        """A function from a scale to a noised copy, in the same direction at each."""
        from dormouse.lm.surgery import noised

        return lambda scale: noised(lm, scale, seed)
