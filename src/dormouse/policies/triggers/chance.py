from __future__ import annotations

from pydantic import Field

from dormouse.policies.triggers.never import Never
from dormouse.registry import register
from dormouse.scenarios import Scenario


@register("trigger", "chance")
class Chance(Never):
    """The control of a policy's texts: the same prompts and the same two completions, paired by chance.

    On every prompt it does the behaviour with the same probability, so no cue says anything about it. What `never` does
    not share with an organism it does: it has learned to say what the organism says, and moves its weights as far. (The
    permutation test's idea, as a model.) As a control it stands in no claim about policies.
    """

    share: float = Field(0.5, gt=0, le=1)
    """How probable the behaviour is, everywhere."""

    def probability(self, scenario: Scenario) -> float:
        """`share`, whatever the cues."""
        return self.share

    def payload(self, scenario: Scenario) -> int:
        """The first everywhere: no cue says which."""
        return 0
