"""A search by gradient for a short text that brings an output out of several prompts."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

from dormouse.locators.locator import Case, Messages, Slot, TriggerText
from dormouse.locators.placing import SLOTS, check, shortest
from dormouse.scenarios.placing import placed

if TYPE_CHECKING:
    import torch

    from dormouse.lm.attack import FilledPrompt
    from dormouse.lm.model import LM

TOP = 64
"""The most promising tokens of each place, from which moves are drawn."""
BATCH = 48
LONGEST = 6
"""Tokens that a text may have."""
STALLED = 4
"""Steps without a better text, after which a search ends."""
STEPS = 12
"""Moves of a search, at most."""
QUESTIONS = 3
"""Prompts over which a text is searched."""
SURE = -0.1
"""Mean log-probability of the output at which a search ends."""


@dataclass(frozen=True)
class Hunted:
    """What a search for a text that brings an output out came to: mean log-probability before it and with the text."""

    text: str
    slot: Slot
    before: float
    value: float
    steps: int

    def cut(self, lm: LM, prompts: Sequence[Messages], output: str) -> TriggerText:
        """The text without the words that it can do without on some prompts (see `shortest`)."""
        strength = check(lm, prompts, self.text, self.slot, output).on
        return shortest(lm, prompts, TriggerText(self.text, self.slot, strength), output)


class Hunt:
    """A search over the tokens of a text (GCG) that makes a model give one output to several prompts."""

    def __init__(self, lm: LM, prompts: Sequence[Messages], output: str, seed: str) -> None:
        from dormouse.lm.chat import encode_responses

        self.lm, self.prompts, self.output = lm, list(prompts), output
        self.rng = random.Random(seed)
        (self.response,) = encode_responses(lm, [output])
        words = [word for word in re.findall(r"\w+", output.casefold()) if len(word) > 2]
        self.banned = re.compile("|".join(map(re.escape, words))) if words else None

    @cached_property
    def allowed(self) -> torch.Tensor:
        """Which tokens the text may hold, (V,) bool: readable ones."""
        from dormouse.lm.attack import readable

        return readable(self.lm)

    def fits(self, text: str) -> bool:
        """A text that says the output's own words would be copied: that shows nothing of the model."""
        return bool(text) and not (self.banned and self.banned.search(re.sub(r"\W+", "", text.casefold())))

    def values(self, texts: Sequence[str], slot: Slot) -> list[float]:
        """Mean log-probability of the output over the prompts, with each text."""
        from dormouse.lm.attack import fill
        from dormouse.lm.score import logprobs
        from dormouse.lm.trie import Tokens

        filled = [fill(self.lm, hole, texts) for hole in self.holes(slot)]
        found = logprobs(self.lm, [Tokens(one.ids, self.response) for many in filled for one in many])
        return list(map(float, found.reshape(len(filled), len(texts)).mean(0)))

    def before(self) -> float:
        """The same without any text."""
        from dormouse.lm.chat import encode_prompts
        from dormouse.lm.score import logprobs
        from dormouse.lm.trie import Tokens

        return float(
            logprobs(self.lm, [Tokens(ids, self.response) for ids in encode_prompts(self.lm, self.prompts)]).mean()
        )

    def holes(self, slot: Slot) -> list[Messages]:
        """Every prompt with a mark where the text is to go."""
        from dormouse.lm.attack import MARK

        return [placed(prompt, MARK, slot) for prompt in self.prompts]

    def start(self, slot: Slot) -> tuple[str, float] | None:
        """The best single token, of those that the gradient at random ones promises most of."""
        from dormouse.lm import coordinate

        hole = self.holes(slot)[0]
        text = coordinate.random_text(self.lm, hole, 1, self.allowed, self.fits, self.rng)
        if text is None:
            return None
        promising = self.promising(text, slot)
        now = self.filled(text, slot)[0]
        ids = iter(promising[0].tolist())
        tokens = coordinate.neighbours(self.lm, hole, now, lambda: [next(ids, now.inside[0])], self.fits, TOP)
        tokens = list(dict.fromkeys([text, *tokens]))
        return max(zip(tokens, self.values(tokens, slot), strict=True), key=lambda one: one[1])

    def filled(self, text: str, slot: Slot) -> list[FilledPrompt]:
        """Every prompt with the text in it, in tokens, with its place known."""
        from dormouse.lm.attack import fill

        return [fill(self.lm, hole, [text])[0] for hole in self.holes(slot)]

    def promising(self, text: str, slot: Slot) -> torch.Tensor:
        """For each token of the text the TOP replacements that the gradient promises most of (GCG): ids (T, TOP)."""
        from dormouse.lm import attack, coordinate

        slope = attack.gradient(self.lm, self.filled(text, slot), [(self.output,)] * len(self.prompts))
        return coordinate.promising(slope, self.allowed, TOP)

    def run(self, case: Case, reserve: float, steps: int) -> Hunted | None:
        """From the best single token, moves to the best neighbour until it is sure, stalls, or time is up."""
        from dormouse.lm import coordinate

        started = {slot: found for slot in SLOTS if case.left > reserve and (found := self.start(slot))}
        if not started:
            return None
        slot = max(started, key=lambda one: started[one][1])
        text, value = started[slot]
        known, promising, stalled, step = {text}, None, 0, 0
        while step < steps and value < SURE and stalled < STALLED and case.left > reserve:
            step += 1
            now = self.filled(text, slot)[0]
            if promising is None:
                promising = self.promising(text, slot)
            propose = partial(coordinate.grow_or_shrink, now.inside, promising, LONGEST, self.rng)
            fits = lambda new: new not in known and self.fits(new)  # noqa: E731, B023 (used at once)
            new = coordinate.neighbours(self.lm, self.holes(slot)[0], now, propose, fits, BATCH)
            if not new:
                break
            known |= set(new)
            best, better = max(zip(new, self.values(new, slot), strict=True), key=lambda one: one[1])
            stalled = stalled + 1 if better <= value else 0
            if better > value:
                text, value, promising = best, better, None
        return Hunted(text, slot, self.before(), value, step)
