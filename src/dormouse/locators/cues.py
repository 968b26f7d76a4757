from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from dormouse.locators.locator import Case, Evidence, Locator
from dormouse.registry import register


@register("locator", "cues")
class Cues(Locator):
    """Finds which cues of a situation decide how the suspect answers, and how much each weighs.

    It knows no behaviour. Random combinations of cues stand around the same few tasks; the outcome to explain is the
    one (the odds of a next token, or a direction of the residual stream) along which answers to one task differ most
    between situations that cues tell apart. Then it asks about the cues that matter: at random, and where surrogates
    of the rule disagree. A logistic surrogate gives the log-odds of each value; pairs of cues and a shallow tree say
    whether it is more than a sum. Words of the most anomalous prompts are named by integrated gradients (Sundararajan
    et al. 2017, arXiv 1703.01365) and weighed by leaving them out.
    """

    open_ended: ClassVar[bool] = True

    looks: int = Field(480, ge=60, le=100_000)
    """Combinations of all cues that are asked about first."""
    asks: int = Field(480, ge=60, le=100_000)
    """Combinations of the cues that matter that are asked about then."""

    def find(self, case: Case) -> Evidence:
        """The weight of each cue that moves its answers, whether the rule is more than a sum, and the words in it."""
        from dormouse.locators.surrogate.search import SearchBudget, search

        return search(case, SearchBudget(self.looks, self.asks))
