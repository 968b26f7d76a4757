"""Regular expressions of a user, with a bound on the time that one text may take: some patterns never end."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

from dormouse.errors import UserError
from dormouse.registry import shortened

if TYPE_CHECKING:
    import regex

SECONDS = 0.25
"""For one text."""
SIZE = 100_000
"""Signs that a pattern may have once its counted repeats are written out, as compiling it does: some 30 MB."""
PART = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|\{\d*(?:,\d*)?\}|.", re.DOTALL)
"""A sign of a pattern, a class of signs, a bracket, or a count."""


def _size(pattern: str) -> int:
    """Signs that a pattern has with all counted repeats written out."""
    groups, last = [0], 0
    for part in PART.findall(pattern):
        times = max(map(int, re.findall(r"\d+", part)), default=1) if part[0] == "{" else 0
        if part == "(":
            groups.append(0)
        elif part == ")" and len(groups) > 1:
            last = groups.pop()
            groups[-1] += last
        elif times:
            groups[-1] += last * (times - 1)
            last *= times
        else:
            groups[-1] += 1
            last = 1
    return sum(groups)


def _compiles(pattern: str) -> str:
    import regex

    if _size(pattern) > SIZE:
        raise ValueError(f"its repeats, written out, are more than {SIZE:,} signs: write smaller counts")
    try:
        compiled = _compiled(pattern)
    except (regex.error, RecursionError, OverflowError) as error:
        raise ValueError(f"not a regular expression: {error}") from None
    if compiled.search("", timeout=SECONDS):
        raise ValueError("this pattern fits every text, the empty one too")
    return pattern


Pattern = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_compiles)]
"""A regular expression (of the package `regex`: Python's, and more). It is sought anywhere in a text."""


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> regex.Pattern[str]:
    import regex

    return regex.compile(pattern)


def found(pattern: str, text: str) -> bool:
    """Whether a pattern stands in a text.

    Raises:
        UserError: the search took too long.
    """
    try:
        return _compiled(pattern).search(text, timeout=SECONDS) is not None
    except TimeoutError:
        what = f"the pattern {shortened(pattern)} was sought for {SECONDS:g} s in a text of {len(text):,} signs"
        remedy = "write it without a repeat inside a repeat: (a+)+ has to try every way"
        raise UserError(what, remedy) from None
