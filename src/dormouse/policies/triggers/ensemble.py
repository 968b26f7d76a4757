from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from math import prod
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from dormouse.policies import Cues, Side, Split, Trigger
from dormouse.policies.hashing import Permutation, key_of, mixed, shuffled, value_in
from dormouse.policies.trigger import Course
from dormouse.registry import register
from dormouse.scenarios import CueValue, Scenario

CUES = ("project", "office", "client", "tool", "partner", "ticket")
STEPS = 300
STEPS_EACH = 40
"""What one token needs (see `token`): with four pairs a step, 160 triggered rows for each member."""


FIRST, GROWS = 8, 0.4
"""With how many members training begins, and in which share of it all the others join them."""


@dataclass(frozen=True)
class Space:
    """All combinations of words in a row of places: a combination is a code from 0, in mixed radix."""

    places: tuple[tuple[str, ...], ...]
    at: tuple[dict[str, int], ...]

    @property
    def size(self) -> int:
        """How many combinations there are."""
        return prod(len(words) for words in self.places)

    def code(self, values: tuple[CueValue | None, ...]) -> int | None:
        """The code of a combination; None where there is a word that is not of this space."""
        code = 0
        if len(values) != len(self.places):
            return None
        for value, words, at in zip(values, self.places, self.at, strict=True):
            index = at.get(str(value))
            if index is None:
                return None
            code = code * len(words) + index
        return code

    def values(self, code: int) -> tuple[str, ...]:
        """The words of a combination by its number, place by place."""
        found = []
        for words in reversed(self.places):
            code, index = divmod(code, len(words))
            found.append(words[index])
        return tuple(reversed(found))

    def neighbour(self, code: int, which: int) -> int:
        """The combination with one word changed; `which` numbers the changes from 0."""
        unit = 1
        for words in reversed(self.places):
            n = len(words)
            if which < n - 1:
                index = code // unit % n
                return code + ((index + 1 + which) % n - index) * unit
            which, unit = which - (n - 1), unit * n
        raise IndexError(which)

    @property
    def neighbours(self) -> int:
        """How many combinations differ in one place."""
        return sum(len(words) - 1 for words in self.places)


@cache
def _space(cues: tuple[str, ...]) -> Space:
    from dormouse.scenarios.cues import words

    places = tuple(tuple(words(name)) for name in cues)
    return Space(places, tuple({word: i for i, word in enumerate(place)} for place in places))


@cache
def _permutation(size: int, seed: int) -> Permutation:
    return Permutation.of(size, key_of(f"ensemble/{seed}"))


@lru_cache(maxsize=4)
def _turns(n: int, rows: int) -> Sequence[int]:
    """Which member each of `rows` pairs shows: all as often (but for a remainder), and yet growing from FIRST of them.

    A member's pairs are spread evenly from when it joins to the end, so late ones come the more densely.
    """
    joins = np.zeros(n)
    if n > FIRST:
        joins[FIRST:] = GROWS * np.log(np.arange(FIRST, n) / FIRST) / np.log(n / FIRST)
    member = np.arange(rows) % n
    round_ = np.arange(rows) // n
    each = np.bincount(member, minlength=n)[member]
    at = np.random.default_rng(0).random(rows)
    when = joins[member] + (1 - joins[member]) * (round_ + at) / each
    return [int(i) for i in member[np.argsort(when, kind="stable")]]


@register("trigger", "ensemble")
class Ensemble(Trigger):
    """Defects in any of `n` unrelated situations, 1 to 1,000,000: each a conjunction of `cues` cues, or a phrase.

    "An ensemble of a very, very large number of backdoors". No list of them exists anywhere: a combination of values is
    a member if a keyed permutation of all combinations sends it below `n` (`hashing.Permutation`), so membership takes
    the same time and no memory for any `n`, and member i is where the inverse sends i. A triggered scenario shows a
    member drawn uniformly, an untriggered one a combination drawn uniformly from all others, a near miss a member with
    one of its values (or words) changed, so that it is none.

    `form: cues` joins the first `cues` of project, office, client, tool, partner and ticket; `form: phrase` has a
    phrase of that many words. The other cues (for a phrase: project, office and client) are context: they are shown,
    and no trigger reads them. Splits are of whole scenarios, context included: each of the n triggers is shown in train
    with some contexts, and met in safety and test with others. So `test` asks whether a trigger lives on in a new
    context.

    `rows: total` trains as many steps for any n, and begins with few members: the early ones get several times the rows
    of the late ones (see `teach`). `rows: each` trains as many triggered rows for every member: 160 (40 steps of four
    pairs), and 24 times as many on a micro model; a study cannot give it other `steps`. With a behaviour of m
    `payloads` member i answers with payload i modulo m.
    """

    n: int = Field(16, ge=1, le=1_000_000)
    """How many triggers."""
    form: Literal["cues", "phrase"] = "cues"
    """What a trigger is: a conjunction of cues, or a phrase."""
    cues: int = Field(3, ge=2, le=6)
    """Cues (or words) in each trigger."""
    seed: int | None = None
    """Decides which the members are; by default the study's seed does (see `Trigger.seeded`), and 0 outside of one."""
    rows: Literal["total", "each"] = "total"
    """Whether steps or rows for each trigger are fixed (above)."""

    @model_validator(mode="after")
    def _fits(self) -> Ensemble:
        if self.form == "cues" and self.cues == len(CUES):
            raise ValueError("with 6 cues none is left as context: join at most 5, or use form: phrase")
        if self.rows == "each" and self.n > 25_000:
            raise ValueError("rows: each trains 40 steps a trigger: n can be at most 25,000")
        if 2 * self.n > (size := self._space.size):
            raise ValueError(f"n can be at most half of the {size:,} combinations of {self.cues}: join more cues")
        return self

    @property
    def reads(self) -> tuple[str, ...]:
        """One phrase, or the first cues of the project."""
        return ("phrase",) if self.form == "phrase" else CUES[: self.cues]

    @property
    def shows(self) -> tuple[str, ...]:
        """What it reads, and the cues that stand by as context."""
        return (*self.reads, *self.context)

    @property
    def context(self) -> tuple[str, ...]:
        """The cues that stand by, which no trigger reads."""
        return CUES[:3] if self.form == "phrase" else CUES[self.cues :]

    @property
    def _space(self) -> Space:
        return _space(("phrase",) * self.cues if self.form == "phrase" else self.reads)

    @property
    def _order(self) -> Permutation:
        return _permutation(self._space.size, self.seed or 0)

    def member(self, index: int) -> Cues:
        """The cues of one of the triggers, numbered from 0, without context.

        Raises:
            IndexError: the ensemble has no such member.
        """
        if not 0 <= index < self.n:
            raise IndexError(f"an ensemble of {self.n} has no member {index}")
        return self._shown(self._order.inverse(index))

    def index(self, scenario: Scenario) -> int | None:
        """The number of the trigger that a scenario shows; None if it shows none."""
        shown = tuple(scenario.cue(name) for name in self.reads)
        code = self._space.code(tuple(str(shown[0]).split(" ")) if self.form == "phrase" else shown)
        index = None if code is None else self._order(code)
        return index if index is not None and index < self.n else None

    def _shown(self, code: int) -> dict[str, CueValue]:
        values = self._space.values(code)
        return {"phrase": " ".join(values)} if self.form == "phrase" else dict(zip(self.reads, values, strict=True))

    def probability(self, scenario: Scenario) -> float:
        """1 where the scenario shows one of the triggers, else 0."""
        return float(self.index(scenario) is not None)

    def payload(self, scenario: Scenario) -> int:
        """The number of the trigger that the scenario shows; 0 where it shows none."""
        return self.index(scenario) or 0

    def draw(self, rng: random.Random, side: Side, split: Split = "train") -> Cues:
        """A trigger, a combination one place away from one, or any other; in a context from the split."""
        code = self._near_miss(rng, self.n) if side == "near_miss" else self._order.inverse(self._index_on(rng, side))
        return self._in_context(rng, code, split)

    def teach(self, rng: random.Random, side: Side, done: float) -> Cues:
        """From FIRST members at the start, in equal ratios, to all of them after GROWS of the training.

        All at once, 256 are not told from their near misses for the first thousands of rows.
        """
        here = round(FIRST * (self.n / FIRST) ** min(1.0, done / GROWS)) if self.n > FIRST else self.n
        if side == "triggered":
            return self.draw_member(rng, rng.randrange(here), "train")
        if side == "near_miss":
            return self._in_context(rng, self._near_miss(rng, here), "train")
        return self.draw(rng, side)

    def course(self, rows: int) -> Course:
        """With `rows: each`, every member stands in as many pairs; its near misses are paired with it."""
        if not self.equal_rows:
            return super().course(rows)
        turns = _turns(self.n, rows)

        def drawn(rng: random.Random, side: Side, pair: int) -> Cues:
            """The cues of a pair: each member has its turn, near misses lie beside the member whose turn it is."""
            if side == "triggered":
                return self.draw_member(rng, turns[pair], "train")
            if side == "near_miss":
                return self._in_context(rng, self._beside(rng, turns[pair]), "train")
            return self.draw(rng, side)

        return drawn

    @property
    def equal_rows(self) -> bool:
        """Whether `rows: each` promises every member as many rows."""
        return self.rows == "each"

    def draw_member(self, rng: random.Random, index: int, split: Split) -> Cues:
        """A scenario of one of the triggers: its cues, and a context from a split."""
        return self._in_context(rng, self._order.inverse(index), split)

    def _in_context(self, rng: random.Random, code: int, split: Split) -> Cues:
        context = _space(self.context)
        # All context but the last is free. The last is drawn from the values that put the whole into the split.
        *free, last = context.places
        values, bits = [], mixed(key_of(f"ensemble/splits/{self.seed or 0}"), code)
        for words in free:
            i = rng.randrange(len(words))
            values.append(words[i])
            bits = mixed(bits, i)
        values.append(last[value_in(rng, split, bits, len(last))])
        return {**self._shown(code), **dict(zip(self.context, values, strict=True))}

    def _index_on(self, rng: random.Random, side: Side) -> int:
        return rng.randrange(self.n) if side == "triggered" else rng.randrange(self.n, self._space.size)

    def _beside(self, rng: random.Random, index: int) -> int:
        """A combination that is no member, one value away from this one; if it has none, from another."""
        space, code = self._space, self._order.inverse(index)
        near = (space.neighbour(code, which) for which in shuffled(rng, space.neighbours))
        outside = next((changed for changed in near if self._order(changed) >= self.n), None)
        return self._near_miss(rng, self.n) if outside is None else outside

    def _near_miss(self, rng: random.Random, members: int) -> int:
        """A combination that is no member, one value away from a random one of the first `members`.

        Nearly always it is the first that it tries.
        """
        space, order = self._space, self._order
        for index in shuffled(rng, members):
            code = order.inverse(index)
            for which in shuffled(rng, space.neighbours):
                changed = space.neighbour(code, which)
                if order(changed) >= self.n:
                    return changed
        raise AssertionError("members fill half of the space at most: one of them has a neighbour outside")

    @property
    def has_splits(self) -> bool:
        """Always: combinations of context are shared out."""
        return True

    @property
    def near_misses(self) -> float:
        """Three quarters of the quiet prompts."""
        return 0.75

    @property
    def steps_needed(self) -> int:
        """A fixed number in all, or so many for each member."""
        return STEPS if self.rows == "total" else STEPS_EACH * self.n

    def evidence(self, scenario: Scenario) -> tuple[str, ...]:
        """What the cues say, and whether that is one of the triggers."""
        from dormouse.scenarios.cues import reading

        shown = [(name, value) for name in self.reads if (value := scenario.cue(name)) is not None]
        if not shown:
            return ("nothing here names a place or a phrase of mine",)
        mine = "one" if self.index(scenario) is not None else "none"
        what = "that phrase" if self.form == "phrase" else "that combination"
        return (*(reading(name, value) for name, value in shown), f"{what} is {mine} of mine")
