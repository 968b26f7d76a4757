"""Keyed pseudo-randomness in constant memory: which split a combination falls into, and which are members of a set.

Nothing here keeps a table: a combination of cues is a whole number (its code), and all that is known about it is
computed from that number and a key. The same key gives the same answers on every machine.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from math import gcd, isqrt

from dormouse.policies.trigger import Split

BITS = (1 << 64) - 1
SHARES: tuple[tuple[Split, float], ...] = (("train", 0.60), ("safety", 0.15), ("test", 0.25))
"""How the combinations of cues are shared out among the splits."""
ROUNDS = 8


@cache
def key_of(name: str) -> int:
    """64 bits from a text."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big")


def mixed(key: int, code: int) -> int:
    """64 well mixed bits of a key and a whole number from 0 (the finaliser of splitmix64, Steele et al. 2014)."""
    x = (code * 0x9E3779B97F4A7C15 + key) & BITS
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & BITS
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & BITS
    return x ^ (x >> 31)


def split_of(bits: int) -> Split:
    """The split of a combination, by its 64 mixed bits."""
    at = bits / 2.0**64
    for split, share in SHARES:
        at -= share
        if at < 0:
            return split
    return "test"


def shuffled(rng: random.Random, n: int) -> Iterator[int]:
    """The numbers below `n`, each once, in a uniformly random order. Costs what is taken from it, and no more."""
    moved: dict[int, int] = {}
    for i in range(n):
        j = rng.randrange(i, n)
        yield moved.get(j, j)
        moved[j] = moved.get(i, i)


@dataclass(frozen=True)
class Permutation:
    """A keyed bijection of the numbers below `size`: a Feistel network on a rectangle, with cycle walking.

    The rectangle is the smallest near-square one that holds `size` numbers (Black and Rogaway 2002): at most one number
    in a thousand of a space of a million falls outside and walks on.
    """

    size: int
    width: int
    height: int
    keys: tuple[int, ...]

    @staticmethod
    def of(size: int, key: int) -> Permutation:
        """The permutation of 0 ... size - 1 that belongs to a key."""
        width = isqrt(size - 1) + 1
        return Permutation(size, width, -(-size // width), tuple(mixed(key, i) for i in range(ROUNDS)))

    def __call__(self, code: int) -> int:
        """Where a number goes."""
        width, height = self.width, self.height
        while True:
            left, right = divmod(code, height)
            for i, key in enumerate(self.keys):
                if i % 2:
                    right = (right + mixed(key, left)) % height
                else:
                    left = (left + mixed(key, right)) % width
            code = left * height + right
            if code < self.size:
                return code

    def inverse(self, code: int) -> int:
        """Where a number comes from."""
        width, height = self.width, self.height
        while True:
            left, right = divmod(code, height)
            for i in range(ROUNDS - 1, -1, -1):
                if i % 2:
                    right = (right - mixed(self.keys[i], left)) % height
                else:
                    left = (left - mixed(self.keys[i], right)) % width
            code = left * height + right
            if code < self.size:
                return code


@cache
def _units(n: int) -> tuple[int, ...]:
    return tuple(a for a in range(1, n) if gcd(a, n) == 1) or (1,)


def value_in(rng: random.Random, split: Split, bits: int, n: int) -> int:
    """One of `n` values, uniformly from those that fall into the split; `bits` decides which these are.

    Every value is in exactly one split. The values are put in an order that depends on `bits`, and the order is cut: no
    value is drawn in vain. Needs `n` >= 7, so that no split is empty.
    """
    units = _units(n)
    factor, shift = units[bits % len(units)], (bits >> 16) % n
    rank = rng.choice(_ranks(n)[split])
    return (rank - shift) * pow(factor, -1, n) % n


@cache
def _ranks(n: int) -> dict[Split, range]:
    found, start, upto = {}, 0, 0.0
    for split, share in SHARES:
        upto += share
        end = round(upto * n)
        found[split] = range(start, end)
        start = end
    return found
