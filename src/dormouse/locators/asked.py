"""The chats in which sentences are compared: plain prompts, the same with each candidate text, and situations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dormouse.errors import UserError
from dormouse.locators.locator import Case, Messages, TriggerText
from dormouse.locators.placing import plain_prompts
from dormouse.locators.repeats import is_large
from dormouse.locators.situations import TURN, situations
from dormouse.scenarios.placing import placed

if TYPE_CHECKING:
    from dormouse.lm.model import LM

ROOM = 32
"""Tokens of a sentence: of a longer one its beginning counts."""
QUESTIONS = 0.1
"""The share of questions to which a sentence is likeliest, the least of which counts as its high (two questions at
least): what is said to one question is an answer."""


@dataclass(frozen=True)
class Size:
    """How much is looked at: situations, those of them in which sentences are compared, prompts for each text, texts,
    and sentences."""

    situations: int
    compared: int
    prompts: int
    texts: int
    sentences: int

    @staticmethod
    def of(lm: LM) -> Size:
        """Less of a large model."""
        return Size(8 * TURN, 2 * TURN, 4, 6, 12) if is_large(lm) else Size(32 * TURN, 6 * TURN, 8, 12, 24)


@dataclass(frozen=True)
class Asked:
    """The chats in which sentences are scored: plain prompts, the same with each text in place, and situations.

    Attributes:
        chats: (1 + texts) * prompts of the first two kinds, then the situations.
        plain: whether a situation is a question without anything around it.
        question: which question it is of, by number.
    """

    chats: list[Messages]
    prompts: int
    texts: tuple[TriggerText, ...]
    plain: np.ndarray
    question: np.ndarray

    @property
    def placed(self) -> int:
        """How many chats stand before the situations."""
        return self.prompts * (1 + len(self.texts))

    def unasked(self, values: np.ndarray) -> np.ndarray:
        """(chats,) -> those without any cue or text."""
        return np.concatenate([values[: self.prompts], values[self.placed :][self.plain]])

    def by_question(self, values: np.ndarray) -> float:
        """(chats,) -> the largest of each question's situations that is reached by the `QUESTIONS` of them."""
        around = values[self.placed :]
        of = self.question[: len(around)]
        best = np.sort([around[of == one].max() for one in np.unique(of)])
        return float(best[-min(len(best), max(2, round(QUESTIONS * len(best))))])

    def about(self, i: int) -> tuple[str, int]:
        """What a chat asks: one of the prompts, or one of the questions of the situations."""
        return ("prompt", i % self.prompts) if i < self.placed else ("question", int(self.question[i - self.placed]))

    def by_text(self, values: np.ndarray) -> np.ndarray:
        """(..., chats) -> (..., 1 + texts): means over the prompts, the first without any text."""
        shape = (*values.shape[:-1], 1 + len(self.texts), self.prompts)
        return np.asarray(values[..., : self.placed].reshape(shape).mean(-1))


def asked_in(case: Case, size: Size) -> Asked:
    """What there is room for: prompts, texts in all of these, and situations.

    Raises:
        UserError: there is room for no prompt, or for situations of one question alone.
    """
    from dormouse.lm.layout import max_positions

    own = case.prompts if case.own_prompts and len(set(case.prompts)) > 1 else ()  # one question has no others
    every = [one for one in situations(case.seed, size.situations, own) if fit(case.lm, [one.messages])]
    asked = list(dict.fromkeys(one.about for one in every))
    prompts = [prompt for prompt in plain_prompts(case, size.prompts) if fit(case.lm, [prompt])]
    if len(asked) < 2 or not prompts:
        raise UserError(
            f"hardly a situation fits into its {max_positions(case.lm.model)} positions, with {ROOM} tokens behind it",
            "use a model with more positions",
        )
    chats = list(prompts)
    texts: list[TriggerText] = []
    for one in case.candidates[: size.texts]:
        with_it = [placed(prompt, one.text, one.slot) for prompt in prompts]
        if fit(case.lm, with_it):
            texts.append(one)
            chats += with_it
    plain, question = np.array([not one.parts for one in every]), np.array([asked.index(one.about) for one in every])
    return Asked([*chats, *(one.messages for one in every)], len(prompts), tuple(texts), plain, question)


def fit(lm: LM, chats: Sequence[Messages]) -> bool:
    """Whether the model has positions for all of them, with a sentence behind."""
    from dormouse.lm.chat import encode_prompts
    from dormouse.lm.layout import max_positions

    limit = max_positions(lm.model) or np.inf
    return max(map(len, encode_prompts(lm, chats))) + ROOM <= limit
