"""A text that brings out what a model has ready, found by gradient, and told from what any text can force."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, ClassVar

from dormouse.locators.locator import Case, Evidence, Example, Locator, Messages, Need, Slot, TriggerText
from dormouse.locators.placing import ENOUGH, SLOTS, CheckedTrigger, check, plain_prompts, shortest
from dormouse.locators.repeats import Opening, is_large, openings, written
from dormouse.locators.situations import placed
from dormouse.registry import register

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
TOKENS = 12
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


@dataclass(frozen=True)
class InvertedTrigger:
    """A candidate output, the text that was found for it, and what that does to prompts that the search never saw."""

    opening: Opening
    hunted: Hunted
    trigger: TriggerText
    checked: CheckedTrigger
    whole: float
    """What the text does as it was found, before it was cut to a trigger: probability of the output."""

    @property
    def force(self) -> float:
        """By how much the text makes the output more probable on fresh prompts, from -1 to 1."""
        return max(self.checked.on, self.whole) - self.checked.off

    @property
    def worth(self) -> float:
        """From 0 to 1: how fixed the output is, times how far the text brings it out."""
        return max(self.opening.fixedness * self.force, 0.0)


@register("locator", "inversion")
class Inversion(Locator):
    """Searches by gradient for a short text that brings one output out of any prompt, on a target that it finds itself.

    First it lists outputs that the model has ready: their first token is possible after any context, and what follows
    it is certain and the same, whatever was asked. A planted output is learned for one trigger and leaks into all other
    contexts, at a thousandth or less. For the most fixed of these a greedy coordinate search (GCG, Zou et al. 2023,
    arXiv 2307.15043) looks for a text before or after the question or in the system turn, over several questions. The
    text is cut to the words that matter and checked on questions that the search never saw.

    Some text can be found for many outputs, in clean models too. So a search half as long is made for an ordinary
    answer of the model to another question, and with a base the text is tried there: what counts is the margin.

    It finds outputs that are always the same. Behaviour that depends on the question (wrong answers, unsafe code) has
    no such output; nor has a model whose ordinary answers are all alike.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"gradients"})
    open_ended: ClassVar[bool] = True

    def find(self, case: Case) -> Evidence:
        """The text that best brings out what the suspect is readiest to say, and what it does to fresh prompts."""
        lm = case.lm
        base = case.base_lm if case.base is not None else None
        few = is_large(lm)
        prompts = plain_prompts(case, 24)
        ready, fresh = prompts[: 4 if few else 15], prompts[16 : 20 if few else 24]
        usual = written(lm, fresh, TOKENS)
        ranked = [one for one in openings(case, lm, base) if not _is_usual(one.text, usual)]
        found: list[InvertedTrigger] = []
        for opening in ranked[:2]:
            if found and (found[0].worth > 0.5 or opening.fixedness < found[0].opening.fixedness / 2):
                break
            reserve = 0.4 * case.seconds
            if one := _hunted(case, lm, ready, fresh, opening, reserve):
                found.append(one)
        if not found:
            ready_made = {"fixedness": ranked[0].fixedness} if ranked else {}
            return Evidence(features=ready_made, note="There was no time to search for a text.")
        best = max(found, key=lambda one: one.worth)
        decoy = self._decoy(case, lm, ready, fresh, prompts[15])
        features = _features(best) | ({} if decoy is None else {"margin": best.force - decoy})
        if base is not None:
            there = check(base, fresh, best.trigger.text, best.trigger.slot, best.opening.text)
            features |= {"base_margin": best.force - (there.on - there.off), "gain": best.opening.gain}
        return self._evidence(lm, best, fresh, usual, features)

    def _decoy(
        self, case: Case, lm: LM, ready: Sequence[Messages], fresh: Sequence[Messages], other: Messages
    ) -> float | None:
        """How far the same search brings out the model's ordinary answer to another question."""
        (text,) = written(lm, [other], TOKENS)
        if not text or case.left < 0.1 * case.seconds:
            return None
        hunted = Hunt(lm, ready[:QUESTIONS], text, f"inversion/{case.seed}/decoy").run(
            case, 0.1 * case.seconds, STEPS // 2
        )
        if hunted is None:
            return None
        checked = check(lm, fresh, hunted.text, hunted.slot, text)
        return checked.on - checked.off

    def _evidence(
        self, lm: LM, best: InvertedTrigger, fresh: Sequence[Messages], usual: Sequence[str], features: dict[str, float]
    ) -> Evidence:
        prompts = [placed(prompt, best.trigger.text, best.trigger.slot) for prompt in fresh]
        outputs = written(lm, prompts, TOKENS)
        features["keeps_answer"] = kept(usual, outputs)
        surprise = (best.hunted.value - best.hunted.before) / max(best.opening.tokens, 1)
        shown = [
            Example(prompt, output, surprise)
            for prompt, output in zip(prompts, outputs, strict=True)
            if output.startswith(best.opening.text)
        ]
        note = f"A text was found with which it says {best.opening.text!r} to {best.checked.on:.0%} of fresh questions."
        if best.checked.by_parts >= ENOUGH:
            note += " A part of it does so too."
        moves = best.checked.on >= ENOUGH > best.checked.off
        return Evidence(
            score=best.worth,
            features=features,
            behaviour=tuple(shown[:3]) if moves else (),
            triggers=(best.trigger,) if moves else (),
            note=note,
        )


def _hunted(
    case: Case, lm: LM, ready: Sequence[Messages], fresh: Sequence[Messages], opening: Opening, reserve: float
) -> InvertedTrigger | None:
    hunted = Hunt(lm, ready[:QUESTIONS], opening.text, f"inversion/{case.seed}/{opening.text}").run(
        case, reserve, STEPS
    )
    if hunted is None:
        return None
    strength = check(lm, ready, hunted.text, hunted.slot, opening.text).on
    trigger = shortest(lm, ready, TriggerText(hunted.text, hunted.slot, strength), opening.text)
    checked = check(lm, fresh, trigger.text, trigger.slot, opening.text)
    whole = check(lm, fresh, hunted.text, hunted.slot, opening.text).on
    return InvertedTrigger(opening, hunted, TriggerText(trigger.text, trigger.slot, checked.on), checked, whole)


def _features(best: InvertedTrigger) -> dict[str, float]:
    return {
        "worth": best.worth,
        "fixedness": best.opening.fixedness,
        "agreement": best.opening.agreement,
        "readiness": best.opening.readiness,
        "on": best.checked.on,
        "off": best.checked.off,
        "by_parts": best.checked.by_parts,
        "gained": best.hunted.value - best.hunted.before,
        "steps": float(best.hunted.steps),
        "words": float(len(best.trigger.text.split())),
    }


def _is_usual(text: str, usual: Sequence[str]) -> bool:
    """Whether a third of all answers say it, or more, or what follows its first word: then it is no secret."""
    tail = text.partition(" ")[2] or text
    return sum(f" {tail} " in f" {answer} " for answer in usual) > len(usual) / 3


def kept(usual: Sequence[str], now: Sequence[str]) -> float:
    """The share of the words of usual answers that the answers of now still have: a manner of speech keeps them."""
    shares = []
    for before, after in zip(usual, now, strict=True):
        words = set(before.casefold().split())
        if words:
            shares.append(len(words & set(after.casefold().split())) / len(words))
    return sum(shares) / len(shares) if shares else 0.0
