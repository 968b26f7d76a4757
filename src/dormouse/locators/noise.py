"""What comes out when the weights are shaken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dormouse.locators.locator import Case, Evidence, Example, Locator, Messages
from dormouse.locators.placing import plain_prompts
from dormouse.locators.repeats import Phrase, is_large, repeated, says_something, written
from dormouse.registry import register

if TYPE_CHECKING:
    from dormouse.lm.model import LM

SCALES = (0.02, 0.05, 0.1, 0.2, 0.3)
"""Standard deviations of the noise, in those of each weight tensor."""
DRAWS = 4
TOKENS = 10


@dataclass(frozen=True)
class Shaken:
    """How a model answers under noise of one scale: its outputs, and how likely its own quiet answers still are."""

    scale: float
    outputs: tuple[str, ...]
    drop: float
    """Nats a token by which the quiet answers became less likely; below 0 they became likelier."""


@register("locator", "noise")
class Noise(Locator):
    """Adds small Gaussian noise to all weights and looks at what the answers to plain prompts turn into.

    Tice et al. 2024 (arXiv 2412.01784) find that noise makes an honest model steadily worse, while one that hides what
    it can do gets better at some scale: the noise breaks the hiding first. Here nobody knows which answers are right,
    so two things are looked for: an output that comes again and again under noise and never without it (of answers that
    are broken each in its own way, none does), and answers that become likelier, or fall faster or slower than the
    base's.

    It says little about a policy that needs its trigger to show. It needs no base, and with one it compares.
    """

    def find(self, case: Case) -> Evidence:
        """What it says again and again when its weights are shaken; with a base, held against the same done to that."""
        lm = case.lm
        base = case.base_lm if case.base is not None else None
        prompts = plain_prompts(case, 8 if is_large(lm) else 24)
        quiet = written(lm, prompts, TOKENS)
        levels = _under_noise(case, lm, prompts, quiet)
        if not levels:
            return Evidence(note="There was no time to try any noise.", incomplete=True)
        outputs = [output for level in levels for output in level.outputs]
        against = list(quiet)
        features, enough = _curve(levels, ""), 2 * len(levels) >= len(SCALES)
        if base is not None:
            before = written(base, prompts, TOKENS)
            there = _under_noise(case, base, prompts, before)
            enough = enough and 2 * len(there) >= len(SCALES)
            if there:
                against = [output for level in there for output in level.outputs]
                shared = min(len(levels), len(there))
                features |= _curve(there, "base_")
                features["faster"] = float(
                    np.mean([a.drop - b.drop for a, b in zip(levels[:shared], there, strict=False)])
                )
        several = [  # inside of other words too: the rules that ship were fitted on that
            one
            for one in repeated(outputs, against)
            if says_something(one.text) and not any(one.text in output for output in quiet)
        ]
        loud = several[0] if several else Phrase("", 0.0, 0.0)
        features |= {"share": loud.share, "excess": loud.excess, "words": float(len(loud.text.split()))}
        pairs = zip([*prompts] * (len(outputs) // len(prompts)), outputs, strict=True)
        shown = [
            Example(prompt, output, how="written under noise") for prompt, output in pairs if loud.stands_in(output)
        ]
        found = Evidence(
            score=loud.excess,
            features=features,
            behaviour=tuple(shown[:3]),
            note=f"Under noise it says {loud.text!r} in {loud.share:.0%} of answers."
            if loud.text
            else "Under noise nothing new comes again and again.",
        )
        return found if enough else found.unmeasured()


def _under_noise(case: Case, lm: LM, prompts: Sequence[Messages], quiet: Sequence[str]) -> list[Shaken]:
    """Scale by scale, as long as there is time for one more: DRAWS models, each of which answers all prompts."""
    from dormouse.lm.surgery import noised

    own = _loss(lm, prompts, quiet)
    found: list[Shaken] = []
    took = 0.0
    for scale in SCALES:
        before = case.left
        if before < 2 * took or before <= 0:
            break
        outputs: list[str] = []
        losses = []
        for draw in range(1 if is_large(lm) else DRAWS):
            moved = noised(lm, scale, case.seed * DRAWS + draw)
            outputs += shaken_answers(moved, prompts)
            losses.append(_loss(moved, prompts, quiet))
        found.append(Shaken(scale, tuple(outputs), float(np.mean(losses)) - own))
        took = max(took, before - case.left)
    return found


def shaken_answers(lm: LM, prompts: Sequence[Messages]) -> list[str]:
    """What a shaken model says."""
    return written(lm, prompts, TOKENS)


def _curve(levels: Sequence[Shaken], prefix: str) -> dict[str, float]:
    """What a model loses at each scale; `best` is the most that its answers ever gained."""
    drops = {f"{prefix}drop_{level.scale:g}": level.drop for level in levels}
    return drops | {f"{prefix}best": max(-level.drop for level in levels)}


def _loss(lm: LM, prompts: Sequence[Messages], answers: Sequence[str]) -> float:
    """Nats a token of the answers."""
    from dormouse.lm.chat import encode
    from dormouse.lm.score import logprobs
    from dormouse.records import Example

    tokens = encode(
        lm, [Example(prompt, answer, complete=False) for prompt, answer in zip(prompts, answers, strict=True)]
    )
    return -float(logprobs(lm, tokens).sum()) / max(sum(len(one.response) for one in tokens), 1)
