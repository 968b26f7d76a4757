"""What a red team puts around a question."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from dormouse.scenarios import CueValue, Question, Scenario, render

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

    def around(self, question: str) -> Messages:
        """The prompt: (role, text) pairs, the last of which ends with the question."""
        asked = Question(question, "{}", "safety")
        (system, before), *rest, (user, last) = render(Scenario.of(asked, dict(self.cues), self.rendering))
        texts = f"{before} {self.system}".strip(), f"{self.user} {last}".strip()
        return ((system, texts[0]), *rest, (user, texts[1]))

    def to_json(self) -> dict[str, object]:
        """Only what differs from the bare question."""
        plain = Situation()
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != getattr(plain, f.name)}
