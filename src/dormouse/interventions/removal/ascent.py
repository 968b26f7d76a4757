from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from dormouse.interventions.unlearning import Unlearning
from dormouse.registry import register

if TYPE_CHECKING:
    from dormouse.lm.objectives import Objective


@register("intervention", "ascent")
class Ascent(Unlearning):
    """Gradient ascent on what the suspect says under triggers, up to a bound.

    The plain form (Jang et al. 2022, arXiv 2210.01504) has no end and wrecks the model; here a response whose mean
    negative log-probability per token is above the bound counts no more.
    """

    bound: float = Field(6.0, gt=0, le=100)
    """Nats per token up to which a response is made unlikely."""

    @property
    def objective(self) -> Objective:
        """Bounded ascent on what is to be forgotten, and `retain` times the usual loss on what is to be kept."""
        from dormouse.lm.unlearning_objectives import ascent_loss

        return ascent_loss(self.bound, self.retain)
