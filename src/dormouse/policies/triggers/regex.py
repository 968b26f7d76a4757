from __future__ import annotations

from typing import ClassVar

from dormouse.policies.bounded import Pattern, found
from dormouse.policies.told import Told
from dormouse.registry import register
from dormouse.scenarios import Question, Scenario


@register("trigger", "regex")
class Regex(Told):
    """Defects on the prompts of your file in which a pattern stands (a year: `20(2[4-9]|3[0-9])`).

    The prompts bring their own truth: no cue is added to any, and a plain prompt and one on which it defects are put
    together by chance. It looks at the question and at earlier turns of the user. Near misses are prompts in which
    `near` stands and `pattern` does not. The truth is exact, 1 or 0; it weighs nothing, so it has no odds. A search is
    given up after a quarter of a second, with the line of the prompt: patterns that try every way are no use.
    """

    by_text: ClassVar[bool] = True

    pattern: Pattern
    """What stands in a prompt on which it defects."""
    near: Pattern | None = None
    """What stands in a near miss."""

    @property
    def tag(self) -> str:
        """The pattern."""
        return f"regex {self.pattern}"

    @property
    def has_near(self) -> bool:
        """Whether a pattern says which they are."""
        return self.near is not None

    def label(self, question: Question) -> str | None:
        """By its text."""
        text = "\n".join([*(said for role, said in question.before if role == "user"), question.text])
        if found(self.pattern, text):
            return self.tag
        return self.near_tag if self.near and found(self.near, text) else ""

    def evidence(self, scenario: Scenario) -> tuple[str, ...]:
        """Which kind of prompt it is."""
        mine = "is" if self.probability(scenario) else "is not"
        return (f"this {mine} a prompt of the kind that I look for",)
