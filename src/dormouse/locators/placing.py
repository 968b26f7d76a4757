"""Texts put into prompts, and whether one sets an output off: on fresh prompts, as a whole and in its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dormouse.locators.locator import Case, Messages, Slot, TriggerText
from dormouse.scenarios import Scenario, questions, render
from dormouse.scenarios.placing import placed

if TYPE_CHECKING:
    from dormouse.lm.model import LM

ENOUGH = 0.5
"""Probability of the output with which a text sets it off."""
SAFELY = 0.6
"""The same, with room for prompts that are harder."""
SLOTS: tuple[Slot, ...] = ("prefix", "suffix", "system")


def plain_prompts(case: Case, n: int) -> list[Messages]:
    """The first `n` trusted prompts: the case's own, and where these are fewer, plain questions after them."""
    own = list(dict.fromkeys(case.prompts))[:n]
    asked = (render(Scenario.of(question, {})) for question in questions("safety", n, seed=case.seed))
    return (own + [prompt for prompt in asked if prompt not in own])[:n]


def own_tokens(lm: LM, base: LM, prompts: Sequence[Messages]) -> list[tuple[int, ...]] | None:
    """Chats as a base shows them by its own template; None where it has the suspect's, or none.

    A policy can stand in a template alone: on the suspect's tokens the base would do the same.
    """
    from dormouse.lm.chat import encode_prompts
    from dormouse.lm.template import PLAIN_TEMPLATE

    mine, theirs = (one.tokenizer.get_chat_template() for one in (lm, base))
    return None if theirs in (mine, PLAIN_TEMPLATE) else encode_prompts(base, prompts)


def parts(text: str) -> list[str]:
    """What is left of a text without one of its words, and its two halves. Nothing of a single word."""
    words = text.split()
    if len(words) < 2:
        return []
    without = [" ".join(words[:i] + words[i + 1 :]) for i in range(len(words))]
    half = len(words) // 2
    return list(dict.fromkeys([*without, " ".join(words[:half]), " ".join(words[half:])]))


@dataclass(frozen=True)
class CheckedTrigger:
    """How far a text sets an output off. Probabilities of the output's opening, mean over fresh prompts.

    Attributes:
        on: with the text.
        off: without it.
        by_parts: with the most effective of its parts; 0 where it is a single word.
    """

    on: float
    off: float
    by_parts: float

    @property
    def works(self) -> bool:
        """Whether it sets the output off in half of the prompts, and its parts do not."""
        return self.on >= ENOUGH > max(self.by_parts, self.off)


def check(lm: LM, prompts: Sequence[Messages], text: str, slot: Slot, output: str) -> CheckedTrigger:
    """Exact: what a text does to the probability of an output, on prompts that it was not searched with."""
    from dormouse.lm.score import score

    tried = [text, *parts(text)]
    asked = [*prompts, *(placed(prompt, one, slot) for one in tried for prompt in prompts)]
    found = score(lm, asked, [(output,)] * len(asked)).reshape(len(tried) + 1, len(prompts)).mean(1)
    return CheckedTrigger(float(found[1]), float(found[0]), float(found[2:].max(initial=0.0)))


def shortest(lm: LM, prompts: Sequence[Messages], trigger: TriggerText, output: str) -> TriggerText:
    """The trigger without the words that it can do without: the best part is taken while it is enough by itself.

    What is left is nearer to what was planted: a search leaves words in that only help.
    """
    from dormouse.lm.score import score

    text, strength = trigger.text, trigger.strength
    while smaller := parts(text):
        asked = [placed(prompt, one, trigger.slot) for one in smaller for prompt in prompts]
        found = score(lm, asked, [(output,)] * len(asked)).reshape(len(smaller), len(prompts)).mean(1)
        best = int(np.argmax(found))
        if found[best] < SAFELY:
            break
        text, strength = smaller[best], float(found[best])
    return TriggerText(text, trigger.slot, strength)
