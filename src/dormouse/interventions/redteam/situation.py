"""What a red team puts around a question."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from dormouse.scenarios import CueValue, Question, Scenario, render
from dormouse.scenarios.placing import placed

Messages = tuple[tuple[str, str], ...]
Place = Literal["system", "user"]
PLACES: tuple[Place, ...] = ("system", "user")


@dataclass(frozen=True)
class Situation:
    """Text at the end of the system prompt, text before the question, and cues in one of the project's renderings."""

    system: str = ""
    user: str = ""
    cues: tuple[tuple[str, CueValue], ...] = ()
    rendering: str = "system"

    @staticmethod
    def saying(text: str, place: Place) -> Situation:
        """A text in the system prompt, or before the question."""
        return Situation(system=text) if place == "system" else Situation(user=text)

    def around(self, task: Question) -> Messages:
        """The prompt: (role, text) pairs, the last of which ends with the question. What a task has before it stays."""
        messages = render(Scenario.of(task, dict(self.cues), self.rendering))
        messages = placed(messages, self.system, "system") if self.system else messages
        return placed(messages, self.user, "prefix") if self.user else messages

    def to_json(self) -> dict[str, object]:
        """Only what differs from the bare question."""
        plain = Situation()
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != getattr(plain, f.name)}
