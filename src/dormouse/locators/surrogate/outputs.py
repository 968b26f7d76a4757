"""What the suspect says where an outcome is highest, in its own words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dormouse.lm.chat import encode_prompts
from dormouse.lm.sample import generate
from dormouse.lm.score import logprobs
from dormouse.lm.trie import Tokens
from dormouse.locators.locator import Case, Example, Messages

WRITTEN = 32
"""Tokens of an answer that is shown."""


def examples(case: Case, prompts: Sequence[Messages], outcome: np.ndarray, n: int = 4) -> tuple[Example, ...]:
    """The answers to the `n` prompts with the highest outcome, each text once.

    The surprise of an answer is what it loses, in nats a token, after the prompt with the lowest outcome.
    """
    if not len(prompts) or case.left < 1:
        return ()
    order = np.argsort(-outcome, kind="stable")
    top = [prompts[i] for i in order[: 3 * n]]
    answers = generate(case.lm, top, WRITTEN)
    said = {answer.text: (prompt, answer.ids) for prompt, answer in zip(top, answers, strict=True) if answer.ids}
    some = list(said.items())[:n]
    quiet = encode_prompts(case.lm, [prompts[order[-1]]] * len(some))
    here = encode_prompts(case.lm, [prompt for _, (prompt, _) in some])
    own = logprobs(case.lm, [Tokens(ids, answer) for ids, (_, (_, answer)) in zip(here, some, strict=True)])
    other = logprobs(case.lm, [Tokens(ids, answer) for ids, (_, (_, answer)) in zip(quiet, some, strict=True)])
    return tuple(
        Example(prompt, text, float(a - b) / len(answer))
        for (text, (prompt, answer)), a, b in zip(some, own, other, strict=True)
    )
