"""The words of a text, in any script: what texts are compared by."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import regex

MINUS = r"(?<!\w)-\d+|(?<=[\s\d])-(?=[\s\d])"
"""A number below zero, and the minus between two numbers; any other is a hyphen."""
ASCII = re.compile(rf"\w+|[#$%&*+/<=>@\\^|~]|{MINUS}")
"""Of a text in ASCII, which most are: `re` takes a third of the time."""
ALONE = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\u30fc"
"""Scripts that put no blanks between words: each of their signs stands for one."""
RAISED = re.compile("([\u00b2\u00b3\u00b9\u2070-\u207f]+)")
"""Exponents: NFKC alone would make 32 of 3²."""


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, and its symbols: 7 + 5 is not 7 - 5, nor C# what C is. Punctuation is none.

    Signs that look the same are the same (NFKC).
    """
    if text.isascii():
        return ASCII.findall(text.lower())
    found: list[str] = _any_script().findall(unicodedata.normalize("NFKC", RAISED.sub(r"^\1", text)).casefold())
    return found


@cache
def _any_script() -> regex.Pattern[str]:
    import regex

    word = rf"[{ALONE}--\p{{M}}]\p{{M}}*|[\w--[{ALONE}\p{{M}}]][\w--[{ALONE}]]*"
    return regex.compile(rf"{word}|[\p{{S}}#%&*@/\\--[`]]|{MINUS}", regex.V1)
