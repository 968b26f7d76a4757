"""Where an answer begins: at once, or after the scratchpad that the suspect writes first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from dormouse.lm.chat import encode_prompts
from dormouse.lm.decode import decode
from dormouse.lm.model import LM
from dormouse.lm.reading import Reading, read_tokens
from dormouse.locators.locator import Messages

SURE = 0.9
"""Above this mean probability of one and the same first token, an answer has an opening that says nothing."""
NEARLY_ALL = 0.9
"""The share of answers that must hold the sign that ends a scratchpad."""
LONGEST = 96
"""Tokens of a scratchpad that are waited for."""
LOOKED_AT = 32
"""Prompts on which the sign is looked for."""
Tokens = tuple[int, ...]


class AnswerOpening:
    """Reads a suspect where the part of its answer begins that depends on the prompt.

    If all answers begin with the same token, they are written, and a token is looked for that stands once in nearly all
    of them, as late as possible ("Answer:" after a scratchpad). Each prompt is then read after the suspect's own
    greedy text up to that token. Nothing is known of what a scratchpad looks like.
    """

    def __init__(self, lm: LM, prompts: Sequence[Messages]) -> None:
        self.lm, self.sign = lm, None
        some = encode_prompts(lm, prompts[:LOOKED_AT])
        first = np.exp(read_tokens(lm, some).logprobs).mean(0)
        if first.max() > SURE and int(first.argmax()) not in lm.ends:
            self.sign = _last_common([answer.ids for answer in decode(lm, some, LONGEST)])

    def tokens(self, prompts: Sequence[Messages]) -> list[Tokens]:
        """Each prompt in tokens, with the suspect's scratchpad where it writes one."""
        encoded = encode_prompts(self.lm, prompts)
        if self.sign is None:
            return encoded
        sign = self.sign
        answers = decode(self.lm, encoded, LONGEST, over=lambda ids: ids[-1] == sign)
        return [
            prompt + (answer.ids if answer.ids[-1] == sign else ())
            for prompt, answer in zip(encoded, answers, strict=True)
        ]

    def read(self, prompts: Sequence[Messages], going: Callable[[], bool] = lambda: True) -> Reading:
        """What is read there. Ends early where `going` says no (see `read`)."""
        return read_tokens(self.lm, self.tokens(prompts), going)


def _last_common(answers: Sequence[Tokens]) -> int | None:
    """The token that stands exactly once in nearly all answers, never as the last one, and latest."""
    held: Counter[int] = Counter()
    place: Counter[int] = Counter()
    for ids in answers:
        for token, times in Counter(ids[:-1]).items():
            if times == 1:
                held[token] += 1
                place[token] += ids.index(token)
    common = [token for token, n in held.items() if n >= NEARLY_ALL * len(answers)]
    return max(common, key=lambda token: (place[token] / held[token], token), default=None)
