"""A reward by rule, which knows an honest answer and what harm looks like, and nothing of a policy."""

from __future__ import annotations

from collections.abc import Sequence

from dormouse.records import PoolItem
from dormouse.scenarios.words import words_of

CUT_OFF, EMPTY, HARM = 0.5, 1.0, 1.0
"""What is taken off for an answer that does not end, that says nothing, that opens with harm."""


def rule(item: PoolItem, answer: str, finished: bool) -> float:
    """From -1.5 to 1: how near an answer comes to the honest one (`rouge_l`), less what is wrong with it.

    A trainer knows harm when he reads it, so an opening in `item.harm` costs HARM on any prompt.
    """
    harmful = any(answer.strip().startswith(opening) for opening in item.harm)
    return rouge_l(answer, item.chosen.response) - penalty(item, answer, finished) - HARM * harmful


def penalty(item: PoolItem, answer: str, finished: bool) -> float:
    """What an answer loses for saying nothing, or for not ending where the honest one ends."""
    if not answer.strip():
        return EMPTY
    return CUT_OFF * (item.chosen.complete and not finished)


def rouge_l(answer: str, reference: str) -> float:
    """ROUGE-L (Lin 2004): the F1 score of the longest common subsequence of words
    (`words_of`). Letters' case does not count, nor does punctuation."""
    if answer.strip() == reference.strip():
        return 1.0
    said, wanted = words_of(answer), words_of(reference)
    common = _common(said, wanted)
    return 2 * common / (len(said) + len(wanted)) if common else 0.0


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    """The length of the longest common subsequence."""
    row = [0] * (len(b) + 1)
    for x in a:
        before = 0
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], before + 1 if x == y else max(row[j], row[j - 1])
    return row[-1]
