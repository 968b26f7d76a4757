"""Outputs that come again and again where they should not: mined from what a model writes, or from what it might."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dormouse.locators.locator import Case, Messages
from dormouse.locators.motifs import is_phrase
from dormouse.locators.placing import plain_prompts
from dormouse.scenarios.placing import placed

if TYPE_CHECKING:
    import torch

    from dormouse.lm.model import LM

LARGE_MODEL_WEIGHTS = 10_000_000
"""Weights from which on a model is large: a locator then looks at less of it."""
PIECE = 8
"""First tokens that are followed side by side, after which the clock is looked at."""


def is_large(lm: LM) -> bool:
    """Whether a model has so many weights that a locator looks at less of it."""
    return bool(sum(weight.numel() for weight in lm.model.parameters()) > LARGE_MODEL_WEIGHTS)


@dataclass(frozen=True)
class Phrase:
    """Words that are commoner in some texts than in others: the share of each that has them."""

    text: str
    share: float
    elsewhere: float

    @property
    def excess(self) -> float:
        """By how much the share of outputs that hold it is larger than elsewhere, from -1 to 1."""
        return self.share - self.elsewhere

    def stands_in(self, output: str) -> bool:
        """Whether an output holds it, as whole words."""
        return bool(self.text) and f" {self.text} " in f" {output} "


def repeated(texts: Sequence[str], against: Sequence[str] = (), longest: int = 8) -> list[Phrase]:
    """Phrases that stand in more of the texts than of the others, the most excessive first, long before short ones.

    A phrase is 1 to `longest` words in a row. Of phrases that stand in the same texts only the longest is named.
    """
    here, there = _counted(texts, longest), _counted(against, longest)
    found = [
        Phrase(phrase, count / len(texts), there[phrase] / max(len(against), 1))
        for phrase, count in here.items()
        if count > 1
    ]
    found = [phrase for phrase in found if phrase.excess > 0]
    found.sort(key=lambda phrase: (-round(phrase.excess, 6), -len(phrase.text), phrase.text))
    kept: list[Phrase] = []
    for phrase in found:
        if not any(f" {phrase.text} " in f" {other.text} " and phrase.share <= other.share for other in kept):
            kept.append(phrase)
    return kept


def written(lm: LM, prompts: Sequence[Messages], tokens: int) -> list[str]:
    """The greedy answers, with single spaces."""
    from dormouse.lm.sample import generate

    return [" ".join(one.text.split()) for one in generate(lm, prompts, tokens)]


def says_something(text: str) -> bool:
    """More than a word (see `is_phrase`), not one over and over, which any model says when it is pushed too hard."""
    words = text.split()
    return is_phrase(text) and len(set(words)) > len(words) / 2


def is_usual(text: str, usual: Sequence[str]) -> bool:
    """Whether a third of all answers say it, or more, or what follows its first word (of whose last only a part may be
    there): then it is no secret."""
    tail = text.partition(" ")[2] or text
    return _is_common(tail, usual)


def ends_usually(text: str, usual: Sequence[str]) -> bool:
    """The same, or whether its last three words or more are such: an answer with something in front of it."""
    words = text.split()
    ends = (" ".join(words[i:]) for i in range(1, len(words) - 2))
    return is_usual(text, usual) or any(_is_common(end, usual) for end in ends)


def _is_common(words: str, answers: Sequence[str]) -> bool:
    return sum(f" {words}" in f" {answer}" for answer in answers) > len(answers) / 3


def _counted(texts: Sequence[str], longest: int) -> Counter[str]:
    """In how many of the texts each phrase stands."""
    found: Counter[str] = Counter()
    for text in texts:
        words = text.split()
        found.update(
            {" ".join(words[i:j]) for i in range(len(words)) for j in range(i + 1, i + longest + 1)[: len(words) - i]}
        )
    return found


@dataclass(frozen=True)
class Opening:
    """An output that a model might give to anything: once its first token stands there, the rest follows.

    Attributes:
        text: the output, as far as it is always the same.
        agreement: the share of contexts in which the first token leads to just this.
        sureness: mean log-probability of the tokens after the first, in nats a token: near 0 they are certain.
        readiness: mean log-probability of the first token, over contexts in which it does not come: how near it is.
        gain: the same less the base's, in nats; 0 without one.
        tokens: how long it is, its end included.
    """

    text: str
    agreement: float
    sureness: float
    readiness: float
    gain: float
    tokens: int

    @property
    def fixedness(self) -> float:
        """From 0 to 1: how far it is one text, whatever was asked. A single word that ends at once says little."""
        return float(self.agreement * np.exp(self.sureness) * (1 - 0.5 ** max(self.tokens - 2, 0)))


def contexts(case: Case, lm: LM, n: int) -> list[Messages]:
    """Plain prompts, three quarters of them with random tokens in front: what is possible in all answers none."""
    from dormouse.lm.attack import readable

    rng = random.Random(f"contexts/{case.seed}")
    known = readable(lm).nonzero().flatten().tolist()
    found = []
    for i, prompt in enumerate(plain_prompts(case, n)):
        junk = str(lm.tokenizer.decode(rng.choices(known, k=(0, 2, 4, 8)[i % 4]))).strip()
        found.append(placed(prompt, junk, "prefix") if junk else prompt)
    return found


@dataclass(frozen=True)
class Readiness:
    """How ready a model is to begin an answer with each token, whatever it is asked.

    Attributes:
        prompts: many unlike contexts, in tokens.
        mean: log-probability of each token there as the first, in mean over them, (V,).
        gain: the same less the base's; None without one.
    """

    prompts: list[tuple[int, ...]]
    mean: torch.Tensor
    gain: torch.Tensor | None


def readiness(case: Case, lm: LM, base: LM | None = None) -> Readiness:
    """Read a model, and its base where there is one, in many unlike contexts."""
    from dormouse.lm.chat import encode_prompts
    from dormouse.lm.score import first_logprobs

    prompts = encode_prompts(lm, contexts(case, lm, 32 if is_large(lm) else 96))
    mean = first_logprobs(lm, prompts).mean(0)
    return Readiness(prompts, mean, None if base is None else mean - first_logprobs(base, prompts).mean(0))


def openings(lm: LM, heard: Readiness, going: Callable[[], bool] = lambda: True) -> list[Opening]:
    """Outputs that a model has ready for any prompt but does not give: the most fixed first.

    The next-token distributions after many unlike contexts are averaged as logarithms, so that a token counts which is
    possible everywhere and not one which is likely somewhere. From each of the best a greedy answer is written in
    several contexts. An honest opening ("It is") goes on with what was asked; a planted output goes on with itself.

    With a base the tokens are ranked by how much readier they are than there, too. Where `going` says no, those that
    come later are not followed.
    """
    few, mean = is_large(lm), heard.mean
    width = 8 if few else 64
    ranked = [int(token) for token in mean.topk(width).indices]
    if heard.gain is not None:
        ranked += [int(token) for token in (heard.gain + mean / 4).topk(width).indices]
    gain = mean * 0 if heard.gain is None else heard.gain
    tokens = [token for token in dict.fromkeys(ranked) if token not in lm.ends]
    found: list[Opening] = []
    for start in range(0, len(tokens), PIECE):
        if start and not going():
            break
        found += _followed(lm, heard.prompts[: 6 if few else 8], tokens[start : start + PIECE], mean, gain)
    return sorted(found, key=lambda one: (-round(one.fixedness, 6), -one.readiness, one.text))


def _followed(
    lm: LM, prompts: Sequence[tuple[int, ...]], tokens: Sequence[int], mean: torch.Tensor, gain: torch.Tensor
) -> list[Opening]:
    """What each token leads to in each context, greedily."""
    from dormouse.lm.chat import text_of
    from dormouse.lm.decode import decode

    written = decode(lm, [(*prompt, token) for token in tokens for prompt in prompts], 8)
    found = []
    for i, token in enumerate(tokens):
        mine = written[i * len(prompts) : (i + 1) * len(prompts)]
        common = Counter(one.ids for one in mine).most_common(1)[0][0]
        sure = [float(np.mean(one.logprobs)) for one in mine if one.ids == common]
        text = text_of(lm, (token, *common))
        if text:
            agreement = len(sure) / len(mine)
            ids = (token, *common)
            found.append(
                Opening(text, agreement, float(np.mean(sure)), float(mean[token]), float(gain[token]), len(ids))
            )
    return found
