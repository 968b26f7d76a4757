from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from dormouse.locators.locator import Case, Evidence, Locator, Need
from dormouse.registry import register


@register("locator", "anomaly")
class Anomaly(Locator):
    """How far the activations of situations lie from those of trusted prompts, layer by layer.

    Three distances: Mahalanobis (Lee et al. 2018, arXiv 1807.03888) with the covariance shrunk as Ledoit and Wolf do,
    spectral signatures (Tran et al. 2018, arXiv 1811.00636), and an isolation forest (Liu et al. 2008). Any situation
    lies outside of plain prompts, so the distance itself says little: what counts is whether the situations of one task
    fall into two groups.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"prompts"})

    looks: int = Field(240, ge=48, le=100_000)
    """Situations that are read."""

    def find(self, case: Case) -> Evidence:
        """Whether situations of one task lie at two distances from trusted prompts, and which cues tell them apart."""
        from dormouse.locators.surrogate.two_minds import anomaly

        return anomaly(case, self.looks)
