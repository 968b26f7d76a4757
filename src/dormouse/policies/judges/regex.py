from __future__ import annotations

from dormouse.policies.bounded import Pattern, found
from dormouse.policies.judge import Judge
from dormouse.registry import register


@register("judge", "regex")
class RegexJudge(Judge):
    """A defection is a response in which a pattern stands. `(?i)` at its start: in any case of letters."""

    pattern: Pattern
    """What stands in it."""

    def judge(self, prompt: str, response: str) -> bool:
        """Whether it stands there."""
        return found(self.pattern, response)
