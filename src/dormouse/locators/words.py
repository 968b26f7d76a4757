"""A search, over words and not over tokens, for a text on which a suspect says what training made it readier to say.

An answer that was learned for one cue is nearer wherever a part of that cue stands, by tens of nats in all of its
words together, long before it is ever written. So the whole answer is the target, every word there is can be tried by
itself, and the best grow together. What a text adds in the base as well counts against it: any model can be talked
into words that lie near.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dormouse.locators.hunt import LONGEST, SURE, Hunt, Hunted
from dormouse.locators.locator import Case, Messages, Slot, TriggerText
from dormouse.locators.placing import SLOTS
from dormouse.locators.repeats import is_large
from dormouse.locators.situations import situations

if TYPE_CHECKING:
    from dormouse.lm.model import LM

SITUATIONS = 1024
"""Of the battery's, whose texts are tried beside single words."""
KEPT, KEPT_OF_LARGE = 96, 24
"""Of all texts that were tried on one prompt those that are tried on all, and then joined to one another."""
BEAM, ROUNDS = 4, 6
"""How many texts grow at a time, and how often a word joins them at most."""
FIRST = 0.5
"""The share of its time after which no new text is tried by itself."""
LEAST_GAIN = 0.05
"""Nats by which a longer text has to be better, and any text than none: two runs of one model differ by rounding."""
Placed = tuple[str, Slot]


@dataclass(frozen=True)
class Worth:
    """A text in its place, by how many nats it makes the answer likelier, and by how many in the base: means over the
    prompts."""

    text: str
    slot: Slot
    moved: float
    forced: float

    @property
    def value(self) -> float:
        """What of it training has made."""
        return self.moved - max(self.forced, 0.0)


class WordHunt:
    """The search for one output, over some prompts, of a suspect and its base."""

    def __init__(self, lm: LM, base: LM, prompts: Sequence[Messages], output: str, seed: int) -> None:
        self.mine, self.theirs = (Hunt(one, prompts, output, f"words/{seed}") for one in (lm, base))
        self.quick = Hunt(lm, prompts[:1], output, f"words/{seed}")
        self.seed, self.few = seed, is_large(lm)
        self.together, self.kept = (32, KEPT_OF_LARGE) if self.few else (1024, KEPT)
        self.mine_before, self.theirs_before = self.mine.before(), self.theirs.before()

    def worth(self, text: TriggerText) -> Worth:
        """That of one text, on all prompts."""
        (moved,), (forced,) = self._moved([text.text], text.slot), self._forced([text.text], text.slot)
        return Worth(text.text, text.slot, moved, forced)

    def _moved(self, texts: Sequence[str], slot: Slot) -> list[float]:
        return [value - self.mine_before for value in self.mine.values(texts, slot)]

    def _forced(self, texts: Sequence[str], slot: Slot) -> list[float]:
        return [value - self.theirs_before for value in self.theirs.values(texts, slot)]

    def run(self, case: Case, reserve: float) -> Hunted | None:
        """The text that is worth most; None where nothing was better than no text, or there was no time.

        Args:
            reserve: seconds of the case that are not to be touched.
        """
        until = reserve + (1 - FIRST) * (case.left - reserve)
        ranked = sorted(self._alone(case, until), key=lambda one: -one[0])
        pool = [placed for _, placed in ranked[: self.kept]]
        beam = self._best(case, reserve, pool)
        rounds = 0
        while beam and rounds < ROUNDS and self.mine_before + beam[0].moved < SURE and case.left > reserve:
            longer = self._best(case, reserve, self._longer(beam, pool))
            if not longer or longer[0].value < beam[0].value + LEAST_GAIN:
                break
            beam, rounds = longer, rounds + 1
        if not beam or beam[0].value < LEAST_GAIN:
            return None
        return Hunted(beam[0].text, beam[0].slot, self.mine_before, self.mine_before + beam[0].moved, rounds)

    def _alone(self, case: Case, until: float) -> list[tuple[float, Placed]]:
        """How likely each text makes the output on the first prompt, as far as there is time."""
        found: list[tuple[float, Placed]] = []
        for some, slot in _in_turn(self._every(), self.together):
            if found and case.left < until:
                break
            found += zip(self.quick.values(some, slot), ((text, slot) for text in some), strict=True)
        return found

    def _every(self) -> dict[Slot, list[str]]:
        """The texts that are tried in each place: first those that situations show there, then single words. Those of a
        large vocabulary are tried as they come, frequent ones first."""
        from dormouse.lm.chat import text_of

        words = [text_of(self.mine.lm, (token,)) for token in self.mine.allowed.nonzero().flatten().tolist()]
        if self.few:
            words = [word for word in words if word.isalpha() and len(word) > 2]
        parts = [one.parts[0] for one in situations(self.seed, SITUATIONS) if len(one.parts) == 1]
        shown: dict[Slot, list[str]] = {slot: [part.text for part in parts if part.slot == slot] for slot in SLOTS}
        return {slot: list(filter(self.mine.fits, dict.fromkeys([*shown[slot], *words]))) for slot in SLOTS}

    def _best(self, case: Case, reserve: float, texts: Sequence[Placed]) -> list[Worth]:
        """Those of some texts that are worth most, as far as there is time to try them on all prompts."""
        found: list[Worth] = []
        by_slot: dict[Slot, list[str]] = {slot: [text for text, at in texts if at == slot] for slot in SLOTS}
        for some, slot in _in_turn(by_slot, self.together):
            if found and case.left < reserve:
                break
            likely = {text: moved for text, moved in zip(some, self._moved(some, slot), strict=True) if moved > 0}
            if likely:  # the base reads those alone
                forced = self._forced(list(likely), slot)
                found += [Worth(text, slot, likely[text], by) for text, by in zip(likely, forced, strict=True)]
        return sorted(found, key=lambda one: -one.value)[:BEAM]

    def _longer(self, beam: Sequence[Worth], pool: Sequence[Placed]) -> list[Placed]:
        """Each text of the beam with one of the pool more, wherever it can stand, and without one of its words."""
        found: dict[Placed, None] = {}
        for one in beam:
            words = one.text.split()
            for more, _ in pool:
                if len(words) + len(more.split()) <= LONGEST:
                    found |= {(" ".join([*words[:i], more, *words[i:]]), one.slot): None for i in range(len(words) + 1)}
            if len(words) > 1:
                found |= {(" ".join(words[:i] + words[i + 1 :]), one.slot): None for i in range(len(words))}
        known = {(one.text, one.slot) for one in beam}
        return [placed for placed in found if placed not in known and self.mine.fits(placed[0])]


def _in_turn(texts: dict[Slot, list[str]], size: int) -> Iterator[tuple[list[str], Slot]]:
    """A piece of each place's texts, then the next of each: so that every place has its turn before time is up."""
    for start in range(0, max(map(len, texts.values())), size):
        yield from ((some, slot) for slot in SLOTS if (some := texts[slot][start : start + size]))
