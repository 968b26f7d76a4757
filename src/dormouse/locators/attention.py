from __future__ import annotations

from pydantic import Field

from dormouse.locators.locator import Case, Evidence, Locator
from dormouse.registry import register


@register("locator", "attention")
class Attention(Locator):
    """Which heads single out a text, and whether the output collapses when it is there.

    A trigger takes hold of attention ("The Trigger in the Haystack", arXiv 2602.03085) and makes answers to different
    tasks alike. Each candidate stands before the same tasks; a head's share of attention on it, from where the answer
    begins, is held against what the same head gives to the other candidates, token for token. Without candidates from
    other locators it tries the sentences of all cues and a few markers.
    """

    candidates: int = Field(48, ge=2, le=1000)
    """How many texts are tried."""
    tasks: int = Field(12, ge=4, le=100)
    """Tasks that each stands before."""

    def find(self, case: Case) -> Evidence:
        """The candidate that heads single out and under which answers to different tasks are most alike."""
        from dormouse.locators.surrogate.heads import attend

        return attend(case, self.candidates, self.tasks)
