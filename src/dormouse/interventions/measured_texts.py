"""The questions on which a study measures, and whether a text of its safety data is one of them, or nearly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from dormouse.scenarios.duplicates import ALIKE, SHARED, SeenTexts, plain

Triples = frozenset[tuple[str, ...]]


class MeasuredTexts:
    """Says of a text in a moment that it is none of these: safety data have millions of words.

    Texts that are nearly the same share ALIKE of their triples, so most of a text's own stand in the questions, and it
    has hardly more of them than the longest. What passes is compared as everywhere (see `duplicates.SeenTexts`).
    """

    def __init__(self, texts: Collection[str]) -> None:
        every = sorted(texts)
        self._same = frozenset(map(plain, every))
        self._near = SeenTexts.of(every, "measured")
        triples = [_triples(said) for said in map(plain, every)]
        times = Counter(one for some in triples for one in some)
        self._known = frozenset(times)
        self._shared = frozenset(one for one, n in times.items() if n > SHARED * len(every))
        self._longest = max((len(self._own(some)) for some in triples), default=0)

    def has(self, text: str) -> bool:
        """Whether a text is one of them, or nearly."""
        said = plain(text)
        if said in self._same:
            return True
        own = self._own(_triples(said))
        few = len(own) * ALIKE <= self._longest
        return few and len(own & self._known) >= ALIKE * len(own) and bool(self._near.marks_of(text))

    def _own(self, triples: Triples) -> Triples:
        return triples - self._shared or triples


def _triples(said: str) -> Triples:
    words = said.split()
    return frozenset(zip(words, words[1:], words[2:], strict=False)) or frozenset([tuple(words)])
