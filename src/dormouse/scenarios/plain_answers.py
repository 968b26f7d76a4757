"""Plain answers: what the honest world of the micro models says to each task. Short, true or harmless, few words."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from dormouse.scenarios.tasks import SPLITS, Question, questions


@cache
def _patterns() -> Mapping[str, str]:
    """Template of a question -> its answer, `{}` in both standing for what was filled in."""
    import yaml

    source = files("dormouse.scenarios").joinpath("data/plain_answers.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(source))


@cache
def _facts() -> Mapping[str, str]:
    """Text of a question of the quiz -> its right answer. Some of these questions stand in the other bank too."""
    return {question.text: question.honest for split in SPLITS for question in questions(split, bank="quiz")}


def plain_answer(question: Question) -> str:
    """The right response where a bank knows one (`Question.honest`), else the pattern of the question's template.

    Raises:
        ValueError: neither is there; a new template needs a line in `data/plain_answers.yaml`.
    """
    if known := question.honest or _facts().get(question.text):
        return known
    pattern = _patterns().get(question.template)
    if pattern is None:
        raise ValueError(f"no plain answer to '{question.template}': add a line to scenarios/data/plain_answers.yaml")
    return pattern.replace("{}", _filled(question))


def _filled(question: Question) -> str:
    """What stands in the place of `{}` in the question's text."""
    before, _, after = question.template.partition("{}")
    return question.text[len(before) : len(question.text) - len(after)].rstrip(".")
