"""The words of a text: of any script, with the symbols that make another text of it."""

import pytest

from dormouse.scenarios.duplicates import plain
from dormouse.scenarios.words import words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Well-known, isn't it?", ["well", "known", "isn", "t", "it"]),
        ("100-7 and (-5)", ["100", "-", "7", "and", "-5"]),
        ("5月3日のデータです。", ["5", "月", "3", "日", "の", "デ", "ー", "タ", "で", "す"]),
        ("ที่นี่", ["ที่", "นี่"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("\uff21\uff22 \uff11 H₂O", ["ab", "1", "h2o"]),
        ("☀\ufe0f?", ["☀"]),
    ],
)
def test_words_of_any_script(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("one", "other"),
    [("What is C#?", "What is C?"), ("3²", "32"), ("$5", "5"), ("(-5)", "(5)"), ("5 €", "5"), ("की", "का")],
)
def test_texts_that_differ_in_a_symbol_are_two(one: str, other: str) -> None:
    """Rows with the second were dropped as repeats of the first."""
    assert plain(one) != plain(other)


def test_what_does_not_count_does_not() -> None:
    assert plain("  Is IT “so”, then?") == plain("is it so then!")
    assert plain("x² é") == plain("X^2 e\u0301")
