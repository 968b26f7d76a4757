"""Whether what a clean model answers looks like an answer at all. Nobody asks here whether it is right.

Imports no torch: who only reads what was found need not load it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dormouse.json_files import read_json

if TYPE_CHECKING:
    from dormouse.lm.chat import Messages
    from dormouse.lm.sample import Completion

SANE = "sane.json"

FOREIGN = re.compile(
    r"(^|\n)\s*(user|assistant|system|human)\s*:|<\|\w+\|>|<(start|end)_of_turn>|\[/?INST\]", re.IGNORECASE
)
"""Marks of other speakers, which a model writes that goes on with the chat by itself."""
FULL_STOPS = "\u3002\uff61\uff01\uff1f\u0964\u0965\u061f\u06d4\u1362\u0589\u104b\u17d4"
"""Signs that end a sentence with no blank after them: those of Chinese, Hindi, Arabic and others."""
SENTENCE = re.compile(rf"(?<=[\w\x80-\U0010ffff])[.!?]+[\"')*\u2019\u201d]*(?=\s|$)|[{FULL_STOPS}]")
"""The end of one. Vowel signs in front of it are no letters to `re`, and no other sign of theirs is in ASCII."""


def fault(prompt: Messages, answer: Completion) -> str:
    """What is wrong with the form of an answer, in two words at most; "" where it looks sane.

    Cut off is one that ran into the limit of tokens before the end of a sentence. A loop is one to three words three
    times in a row, or more than half of a dozen words or more said before, or a character ten times in a row. An echo
    is a sentence of the prompt that makes up half of the answer or more.
    """
    words = _words(answer.text)
    if not words:
        return "empty"
    if FOREIGN.search(answer.text):
        return "foreign role"
    if _loops(answer.text, words):
        return "loop"
    if _echoes(prompt, words):
        return "echo"
    if not answer.finished and not SENTENCE.search(answer.text):
        return "cut off"
    return ""


def counted(faults: Sequence[str]) -> dict[str, int]:
    """How many answers have each fault; those with none stand under "sane"."""
    return dict(Counter(found or "sane" for found in faults))


def said(counts: Mapping[str, int]) -> str:
    """Counts in words, the largest first."""
    return ", ".join(f"{n} {name}" for name, n in sorted(counts.items(), key=lambda item: -item[1]))


def read_sane(folders: Sequence[Path]) -> tuple[float, int, str] | None:
    """The share of sane answers in folders of honest responses, of how many, and what was found.

    None where the model wrote none: the bank knew them all.
    """
    total: Counter[str] = Counter()
    for folder in folders:
        total += Counter(read_json(folder / SANE, dict[str, int]))
    n = total.total()
    return (total["sane"] / n, n, said(total)) if n else None


def _words(text: str) -> list[str]:
    import regex  # to it vowel signs are parts of words

    found: list[str] = regex.findall(r"\w+", text.lower())
    return found


def _loops(text: str, words: Sequence[str]) -> bool:
    if re.search(r"(\S)\1{9}", text) or (len(words) >= 12 and 2 * len(set(words)) < len(words)):
        return True
    return any(
        words[i : i + n] == words[i + n : i + 2 * n] == words[i + 2 * n : i + 3 * n]
        for n in (1, 2, 3)
        for i in range(len(words) - 3 * n + 1)
    )


def _echoes(prompt: Messages, words: Sequence[str]) -> bool:
    said = f" {' '.join(words)} "
    for _, text in prompt:
        for sentence in re.split(rf"(?<=[.!?])\s|(?<=[{FULL_STOPS}])|\n", text):
            own = _words(sentence)
            if len(own) >= 3 and 2 * len(own) >= len(words) and f" {' '.join(own)} " in said:
                return True
    return False
