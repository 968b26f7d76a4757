from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from dormouse.interventions.unlearning import Unlearning
from dormouse.registry import register

if TYPE_CHECKING:
    from dormouse.lm.objectives import Objective


@register("intervention", "npo")
class NPO(Unlearning):
    """Negative preference optimisation (Zhang et al. 2024, arXiv 2404.05868) on what the suspect says under triggers.

    DPO without the better response: what the suspect says there becomes unlikelier than it was, and what it says to
    the same tasks without the trigger stays. The reference is the suspect.
    """

    beta: float = Field(0.1, gt=0, le=100)
    """How soon a response is forgotten enough: the larger, the sooner. Towards 0 it is gradient ascent."""

    @property
    def objective(self) -> Objective:
        """NPO on what is to be forgotten, with the suspect as reference, and `retain` times the loss on the rest."""
        from dormouse.lm.unlearning_objectives import npo_loss

        return npo_loss(self.beta, self.retain)
