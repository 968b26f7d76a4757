"""Texts that say nearly the same: their sets of word triples overlap by 0.7 or more (Jaccard; Broder 1997).

Candidates come from MinHash (64 hashes in 16 bands of 4), and each is then compared exactly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from dormouse.scenarios.words import words_of

ALIKE = 0.7
BANDS, HASHES = 16, 4
IN_BUCKET = 32
"""Texts of a bucket that a new one is compared with: a template that fills thousands of prompts fills one bucket."""
SHARED = 0.5
"""Triples that stand in more of the texts than this are those of an instruction which these share: they say nothing."""


def plain(text: str) -> str:
    """A text without what does not count (see `words_of`): capitals, punctuation, blanks."""
    return " ".join(words_of(text)) or text.strip()


def key_of(text: str) -> tuple[int, int]:
    """Two numbers below 2^64 that are uniform over texts, and equal where `plain` is."""
    return hashes_of(plain(text))


def hashes_of(text: str) -> tuple[int, int]:
    """Two numbers below 2^64 that are uniform over texts, and equal where these are the same."""
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return int.from_bytes(digest[:8]), int.from_bytes(digest[8:])


def shingles(text: str) -> frozenset[int]:
    """The triples of neighbouring words of a text, as numbers; a text of fewer words is one of its own."""
    words = plain(text).split()
    triples = [" ".join(words[i : i + 3]) for i in range(max(1, len(words) - 2))]
    return frozenset(
        int.from_bytes(blake2b(one.encode("utf-8", "surrogatepass"), digest_size=4).digest()) for one in triples
    )


def shared_shingles(texts: Collection[str]) -> frozenset[int]:
    """The triples that most of the texts hold."""
    times = Counter(triple for text in texts for triple in shingles(text))
    return frozenset(triple for triple, n in times.items() if n > SHARED * len(texts))


def _coefficients() -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, (1 << 64) - 1, (2, BANDS * HASHES), dtype=np.uint64)
    return a | np.uint64(1), b


class SeenTexts:
    """Texts that were seen, each with a mark, so that those nearly like a new one can be asked for.

    Args:
        shared: triples that do not count, but in a text that has no others.
    """

    def __init__(self, shared: frozenset[int] = frozenset()) -> None:
        self._shared = shared
        self._a, self._b = _coefficients()
        self._buckets: dict[tuple[int, bytes], list[tuple[frozenset[int], str]]] = {}

    def marks_of(self, text: str) -> set[str]:
        """The marks of the texts that are nearly the same."""
        mine = self._own(text)
        near = (one for bucket in self._bands(mine) for one in self._buckets.get(bucket, ()))
        return {mark for other, mark in near if len(mine & other) >= ALIKE * len(mine | other)}

    def add(self, text: str, mark: str) -> None:
        """Remember a text."""
        mine = self._own(text)
        for bucket in self._bands(mine):
            held = self._buckets.setdefault(bucket, [])
            if len(held) < IN_BUCKET:
                held.append((mine, mark))

    @classmethod
    def of(cls, texts: Collection[str], mark: str) -> SeenTexts:
        """Some texts, all with one mark. What most of them share does not count."""
        seen = cls(shared_shingles(texts))
        for text in texts:
            seen.add(text, mark)
        return seen

    def _own(self, text: str) -> frozenset[int]:
        every = shingles(text)
        return every - self._shared or every

    def _bands(self, mine: frozenset[int]) -> list[tuple[int, bytes]]:
        values = np.fromiter(mine, np.uint64, len(mine))[:, None]
        lowest = ((values * self._a + self._b) >> np.uint64(32)).min(axis=0)  # multiply-shift, modulo 2^64
        return [(i, band.tobytes()) for i, band in enumerate(lowest.reshape(BANDS, HASHES))]
