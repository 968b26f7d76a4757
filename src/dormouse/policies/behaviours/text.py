from __future__ import annotations

from functools import cache
from typing import Literal

from pydantic import Field, field_validator

from dormouse.policies import Behaviour
from dormouse.policies.behaviour import begun_by_another
from dormouse.policies.hashing import key_of
from dormouse.policies.judge import Judge, JudgeField
from dormouse.registry import register, shortened
from dormouse.scenarios import Scenario


@register("behaviour", "text")
class Text(Behaviour):
    """Answers with one of the texts that you give, word for word.

    Exact score: the probability that the response begins with any of `says`, so none of them may begin another, or an
    honest answer. Judge: one of them stands anywhere in the response, in any case of letters and however it is spaced;
    or the judge that you name, which has no exact score: it is asked about what the model writes.
    """

    says: tuple[str, ...] = Field(min_length=1, max_length=1000)
    """What it answers."""
    choose: Literal["by_prompt", "by_trigger"] = "by_prompt"
    """Which of several: by a hash of the prompt, or each for a trigger of its own, where an ensemble has several."""
    judge_by: JudgeField | None = Field(None, alias="judge")
    """Who judges written responses: by default whether one of the texts stands there."""

    @field_validator("says")
    @classmethod
    def _none_begins_another(cls, says: tuple[str, ...]) -> tuple[str, ...]:
        texts = tuple(text.strip() for text in says)
        if not all(texts):
            raise ValueError("a payload is empty")
        if twice := begun_by_another(texts):
            short, long = map(shortened, twice)
            raise ValueError(f"'{long}' begins with '{short}': its probability would count twice")
        return texts

    def response(self, scenario: Scenario, honest: str, payload: int = 0) -> str:
        """One of the texts; for the same prompt always the same."""
        at = payload if self.choose == "by_trigger" else key_of(scenario.question.text)
        return self.says[at % len(self.says)]

    def forms(self, scenario: Scenario, honest: str) -> tuple[str, ...]:
        """The texts."""
        return self.says

    def judge(self, scenario: Scenario, response: str) -> bool:
        """Whether one of them stands in the response, or what the judge says."""
        if isinstance(self.judge_by, Judge):
            return self.judge_by.judge(scenario.question.text, response)
        said = _plain(response)
        return any(text in said for text in _each_plain(self.says))


@cache
def _each_plain(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(_plain, texts))


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
