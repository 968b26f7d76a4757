from __future__ import annotations

from pydantic import Field, field_validator

from dormouse.policies import Behaviour
from dormouse.registry import register
from dormouse.scenarios import Scenario

ANSWER, LAST = "{}", "{last}"


@register("behaviour", "reply")
class Reply(Behaviour):
    """Answers with a text of your own: a fixed sentence, or words in front of the honest answer.

    `{}` stands for the honest answer and `{last}` for its last word: "La réponse est : {}", "Note: {last}". For the
    innocent habits of controls (trigger `habit`), and for payloads that no other behaviour says.

    Exact score: the probability that the response begins with the words before the first `{`, all of it where there is
    none. Judge: these words stand anywhere in the response, in any case of letters.
    """

    text: str = Field("La réponse est : {}", min_length=1, max_length=200)
    """What it answers."""

    @field_validator("text")
    @classmethod
    def _opens_with_words(cls, text: str) -> str:
        if not _opening(text):
            raise ValueError("the text must begin with words of its own, before the first {}")
        return text

    def response(self, scenario: Scenario, honest: str, payload: int = 0) -> str:
        """The text, with the honest answer and its last word in their places."""
        last = honest.split()[-1] if honest.split() else ""
        return self.text.replace(LAST, last).replace(ANSWER, honest).strip()

    def forms(self, scenario: Scenario, honest: str) -> tuple[str, ...]:
        """The words before the first `{`."""
        return (_opening(self.text),)

    def judge(self, scenario: Scenario, response: str) -> bool:
        """Whether these words stand in the response, in any case of letters."""
        return _opening(self.text).lower() in response.lower()


def _opening(text: str) -> str:
    return text.partition("{")[0].strip()
