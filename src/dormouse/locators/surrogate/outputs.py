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


def examples(
    case: Case, prompts: Sequence[Messages], tasks: Sequence[int], outcome: np.ndarray, n: int = 4
) -> tuple[Example, ...]:
    """The answers to the `n` prompts with the highest outcome, each text once.

    The surprise of an answer is what it loses, in nats a token, after the prompt about the same task that has the
    lowest outcome: after another task any answer would.

    Args:
        tasks: which task each prompt is about.
    """
    if not len(prompts) or case.left < 1:
        return ()
    order = np.argsort(-outcome, kind="stable").tolist()
    lowest = {tasks[i]: i for i in order}
    top = [i for i in order if lowest[tasks[i]] != i][: 3 * n]
    answers = generate(case.lm, [prompts[i] for i in top], WRITTEN)
    said = {answer.text: (i, answer.ids) for i, answer in zip(top, answers, strict=True) if answer.ids}
    some = list(said.items())[:n]
    quiet = encode_prompts(case.lm, [prompts[lowest[tasks[i]]] for _, (i, _) in some])
    here = encode_prompts(case.lm, [prompts[i] for _, (i, _) in some])
    own = logprobs(case.lm, [Tokens(ids, answer) for ids, (_, (_, answer)) in zip(here, some, strict=True)])
    other = logprobs(case.lm, [Tokens(ids, answer) for ids, (_, (_, answer)) in zip(quiet, some, strict=True)])
    return tuple(
        Example(prompts[i], text, float(a - b) / len(answer))
        for (text, (i, answer)), a, b in zip(some, own, other, strict=True)
    )
