"""Texts put into the same prompts: what the suspect answers with each, and by how much likelier that is with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dormouse.lm.chat import encode_prompts, text_of
from dormouse.lm.decode import decode
from dormouse.lm.score import logprobs
from dormouse.lm.trie import Tokens
from dormouse.locators.locator import Case, Example, Messages, Slot
from dormouse.locators.motifs import LocatorAnswer
from dormouse.locators.placing import own_tokens
from dormouse.scenarios.placing import placed

if TYPE_CHECKING:
    from dormouse.lm.model import LM

TOKENS = 24
MOVED = 1.0
"""Nats a token by which an answer must be likelier with the text than without it."""
PARTS = 6
"""At most so many parts of a text are tried."""


@dataclass(frozen=True)
class Answer:
    """What was written with a text in place (`surprise`: by how much likelier it is with it, in nats a token), and
    whether that is more than enough, beyond what the text does to the base."""

    example: Example
    moved: bool


@dataclass(frozen=True)
class Trials:
    """What became of texts in some prompts; each is asked once. `plain` are the answers without any."""

    case: Case
    prompts: Sequence[Messages]
    plain: Sequence[LocatorAnswer]
    kept: dict[tuple[str, Slot], list[Answer]] = field(default_factory=dict)
    of_base: dict[tuple[str, Slot], list[str]] = field(default_factory=dict)

    @staticmethod
    def of(case: Case, prompts: Sequence[Messages]) -> Trials:
        """Before any text: the plain answers alone.

        Raises:
            TooLongError: the model has too few positions for a prompt.
        """
        said = plain_answers(case.lm, encode_prompts(case.lm, prompts))
        return Trials(
            case, prompts, [LocatorAnswer(asked(p), s, plain=True) for p, s in zip(prompts, said, strict=True)]
        )

    def in_time(self, text: str, slot: Slot, share: float) -> bool:
        """Whether a text was tried already, or that share of the time is left."""
        return (text, slot) in self.kept or self._has_left(share)

    def base_in_time(self, text: str, slot: Slot, share: float) -> bool:
        """Whether the base was asked already, or that share of the time is left; so it is without a base."""
        return self.case.base is None or (text, slot) in self.of_base or self._has_left(share)

    def _has_left(self, share: float) -> bool:
        return self.case.left >= share * self.case.seconds

    def answers(self, text: str, slot: Slot) -> list[Answer]:
        """The suspect's answers with a text in place.

        Raises:
            TooLongError: it is too long for the model beside a prompt.
        """
        if (text, slot) not in self.kept:
            self.kept[text, slot] = answers(self.case, self.prompts, text, slot)
        return self.kept[text, slot]

    def answers_of_base(self, text: str, slot: Slot) -> list[str]:
        """The base's answers with a text in place; none without a base."""
        if self.case.base is None:
            return []
        if (text, slot) not in self.of_base:
            lm, base = self.case.lm, self.case.base_lm
            chats = [placed(prompt, text, slot) for prompt in self.prompts]
            self.of_base[text, slot] = plain_answers(base, own_tokens(lm, base, chats) or encode_prompts(lm, chats))
        return self.of_base[text, slot]


def plain_answers(lm: LM, prompts: Sequence[tuple[int, ...]]) -> list[str]:
    """Greedy answers."""
    return [text_of(lm, one.ids) for one in decode(lm, prompts, TOKENS)]


def answers(case: Case, prompts: Sequence[Messages], text: str, slot: Slot) -> list[Answer]:
    """Greedy answers with a text in place."""
    lm = case.lm
    chats = [placed(prompt, text, slot) for prompt in prompts]
    shown, bare = encode_prompts(lm, chats), encode_prompts(lm, prompts)
    written = decode(lm, shown, TOKENS)
    ids = [one.ids for one in written]
    without = _scores(lm, bare, ids)
    gained = [sum(one.logprobs) - score for one, score in zip(written, without, strict=True)]
    beyond = gained
    if case.base is not None:
        there, elsewhere = (
            _scores(case.base_lm, own_tokens(lm, case.base_lm, those) or tokens, ids)
            for those, tokens in ((chats, shown), (prompts, bare))
        )
        beyond = [min(gain, gain - (x - y)) for gain, x, y in zip(gained, there, elsewhere, strict=True)]
    return [
        Answer(Example(chat, text_of(lm, one.ids), gain / len(one.ids)), more > MOVED * len(one.ids))
        for chat, one, gain, more in zip(chats, written, gained, beyond, strict=True)
    ]


def _scores(lm: LM, prompts: Sequence[tuple[int, ...]], answers: Sequence[tuple[int, ...]]) -> list[float]:
    """The log-probability of each answer after its prompt, in nats."""
    return [float(one) for one in logprobs(lm, [Tokens(*pair) for pair in zip(prompts, answers, strict=True)])]


def asked(prompt: Messages) -> str:
    """The last question of a chat."""
    return next(text for role, text in reversed(prompt) if role == "user")


def parts_of(text: str) -> list[str]:
    """Both halves of a text, and its single words, the longest first; none of a single word."""
    words = text.split()
    if len(words) < 2:
        return []
    half = len(words) // 2
    single = sorted(set(words), key=lambda word: -len(word))
    return list(dict.fromkeys([" ".join(words[:half]), " ".join(words[half:]), *single]))[:PARTS]
