"""Motifs: word sequences that come back in answers to unrelated questions."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

LONGEST = 12
"""Words of a motif."""
MARKED = 0.5
"""The least mean surprise of answers with a motif, in nats a token."""
SPREAD = 0.1
"""The least standard deviation of surprises that is believed, in nats a token."""


@dataclass(frozen=True)
class LocatorAnswer:
    """What a model wrote to a question, and how unlike the reference's that is, in nats a token.

    `plain` answers were given outside of any special situation: what stands in them often is no motif.
    """

    question: str
    text: str
    surprise: float = 0.0
    plain: bool = False


@dataclass(frozen=True)
class Motif:
    """A word sequence: in answers to how many `questions` it stands, `share` of those that were asked, and the mean
    `surprise` of these answers, in nats a token. `weight` is how far this mean lies above that of the others, in
    standard errors."""

    text: str
    questions: int
    share: float
    surprise: float
    weight: float


def motifs(answers: Sequence[LocatorAnswer], least: int = 3, most: int = 5) -> list[Motif]:
    """The word sequences that stand in surprising answers to at least `least` questions, and in few plain ones; the
    weightiest first. Words of the question itself do not count. Each is as long as it can be."""
    where: dict[tuple[str, ...], list[int]] = defaultdict(list)
    usual: dict[tuple[str, ...], int] = defaultdict(int)
    asked = len({answer.question for answer in answers if not answer.plain})
    for i, answer in enumerate(answers):
        for words in _sequences(answer):
            if answer.plain:
                usual[words] += 1
            else:
                where[words].append(i)
    moved = [answer.surprise for answer in answers if not answer.plain]
    plain = sum(answer.plain for answer in answers)
    found = []
    for words, places in where.items():
        questions = len({answers[i].question for i in places})
        if questions < least or usual[words] * len(moved) * 4 > len(places) * max(plain, 1):
            continue
        mean, weight = _standing_out([answers[i].surprise for i in places], moved)
        if weight > 0 and mean > MARKED:
            found.append((Motif(" ".join(words), questions, questions / asked, mean, weight), set(places)))
    found.sort(key=lambda one: (-one[0].weight, -len(one[0].text), one[0].text))
    return _apart(found)[:most]


def folded(text: str) -> str:
    """A text in lower case, with one blank between its words: as motifs are written."""
    return " ".join(text.lower().split())


def says(text: str, motif: str) -> bool:
    """Whether words that come back stand in a text, as whole words, whatever signs are beside them; "" never does.
    Where a script puts no blanks between words, a word is whole wherever it stands."""
    said = folded(text)
    if not motif or motif not in said:  # a pattern costs more than this
        return False
    before, after = ("" if UNSPACED_LETTER.match(end) else r"\w" for end in (motif[0], motif[-1]))
    whole = (before and f"(?<!{before})") + re.escape(motif) + (after and f"(?!{after})")
    return re.search(whole, said) is not None


def without_signs(words: str) -> str:
    """Words without the signs before and behind them; nothing but signs stays as it is."""
    return re.sub(r"^\W+|\W+$", "", words) or words


SIGNS = re.compile(r"\w[^\w\s'\u2019-]+\w")
"""Signs inside of a word, as in an address."""
UNSPACED_LETTER = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
"""A letter of a script that puts no blanks between words."""
UNSPACED = re.compile(UNSPACED_LETTER.pattern + "{4}")


def is_phrase(text: str) -> bool:
    """Whether a text says more than a single word, which may come back by chance: several words, an address, or what is
    written without blanks."""
    return len(text.split()) > 1 or bool(SIGNS.search(text) or UNSPACED.search(text))


def _sequences(answer: LocatorAnswer) -> set[tuple[str, ...]]:
    """All sequences of an answer's words, in lower case, that do not stand in the question."""
    asked = f" {folded(answer.question)} "
    return {one for one in sequences(answer.text) if f" {' '.join(one)} " not in asked}


def sequences(text: str) -> set[tuple[str, ...]]:
    """All sequences of a text's words, in lower case."""
    words = text.lower().split()[:100]
    return {tuple(words[i : i + n]) for n in range(1, LONGEST + 1) for i in range(len(words) - n + 1)}


def _standing_out(mine: Sequence[float], all_: Sequence[float]) -> tuple[float, float]:
    """The mean of some surprises, and how many standard errors it lies above that of the others."""
    mean, others = sum(mine) / len(mine), (sum(all_) - sum(mine)) / max(len(all_) - len(mine), 1)
    if len(all_) == len(mine):
        others = 0.0
    middle = sum(all_) / len(all_)
    spread = math.sqrt(sum((one - middle) ** 2 for one in all_) / len(all_))
    return mean, (mean - others) / max(spread, SPREAD) * math.sqrt(len(mine))


def _apart(found: Sequence[tuple[Motif, set[int]]]) -> list[Motif]:
    """Without sequences that stand where a weightier one stands already."""
    kept: list[tuple[Motif, set[int]]] = []
    for motif, places in found:
        if not any(len(places & other) > len(places) / 2 for _, other in kept):
            kept.append((motif, places))
    return [motif for motif, _ in kept]
