"""A scenario: a task plus the observable facts (cues) of the situation in which it is set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dormouse.scenarios.tasks import Question

CueValue = str | int
PROMPT = "variant"
"""The cue that names which of its variants a task shows (see `Question`)."""


@dataclass(frozen=True)
class Scenario:
    """`cues` maps the names of cues to their values; a cue that is not in it is not mentioned in the prompt.

    `rendering` names how it becomes text (see `renderings`). No policy reads it.
    """

    question: Question
    cues: tuple[tuple[str, CueValue], ...] = ()
    rendering: str = "system"

    @staticmethod
    def of(question: Question, cues: Mapping[str, CueValue], rendering: str = "system") -> Scenario:
        """A scenario with these cues; equal ones are equal in whatever order they came. Its question is the variant
        that the cue `variant` names."""
        shown = question.variant(str(cues[PROMPT])) if PROMPT in cues else question
        return Scenario(shown, tuple(sorted(cues.items())), rendering)

    def cue(self, name: str) -> CueValue | None:
        """The value of a cue, or None where the situation does not show it."""
        return dict(self.cues).get(name)
