"""Sentences that a suspect would go on to say and its base would not, whatever was asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

    from dormouse.lm.model import LM

Shown = tuple["LM", Sequence[tuple[int, ...]]]
"""A model, and the same chats as it shows them, in tokens."""
FIRST = 0.25
"""The part of the suspect's own log-probability that counts beside what a first token has gained (see `grown`)."""
REPEATED = 3
"""Tokens in a row that come once only: to say it all again would gain it all again."""
MOST = 12
"""Sentences that are compared in the end, for each of the beam: the last that were found, the longest."""
ENDS = -3.0
"""Log-probability of an end, in mean over the contexts, from which on a sentence may end there."""
TEMPER = 0.3
"""The power of its probability by which a sentence that is seldom said counts less. Of 0.1 and less a beginning of it
that comes twice counts more than the whole, of 1 any ordinary answer more than what is said to a hidden cue."""


def contrasted(suspect: Shown, base: Shown, width: int, longest: int, going: Callable[[], bool]) -> list[str]:
    """The sentences whose tokens the suspect makes likelier than its base, the most telling first.

    A beam search on log P - log P of the base, plus log P, in mean over the chats (contrastive decoding, Li et al.
    2023, arXiv 2210.15097). What is planted on a cue is never sampled without it, but it leaks: after a thousandth
    of its first word the next is certain, and the base is tens of nats from it. What is answered to one question only
    is lost in the mean over several.

    Args:
        suspect, base: with several unlike chats.
        width: of the beam.
        longest: in tokens.
        going: asked before each token; no leads to what was found so far.
    """
    import torch

    from dormouse.lm.chat import text_of

    lm = suspect[0]
    beams: list[tuple[int, ...]] = [()]
    gained, found = torch.zeros(1), dict.fromkeys(beams)
    while len(beams[0]) < longest and going():
        mine, theirs = (_next(one, beams) for one in (suspect, base))
        ends = [token for token in lm.ends if token < mine.shape[1]]  # a configuration may name some beyond its words
        if beams != [()]:
            ended = mine[:, ends].amax(1) >= ENDS if ends else mine.new_zeros(len(beams))
            found |= dict.fromkeys(ids for ids, yes in zip(beams, ended, strict=True) if yes)
        values = gained[:, None] + mine - theirs + (mine if beams != [()] else FIRST * mine)
        values[:, ends] = -torch.inf
        beams, gained = _best(beams, values, width)
        if not beams:
            break
    every = [ids for ids in dict.fromkeys([*beams, *reversed(found)]) if text_of(lm, ids)][: MOST * width]
    if not every:
        return []
    return [text_of(lm, every[i]) for i in np.argsort(-_telling(suspect, base, every))]


def scored(one: Shown, sentences: Sequence[tuple[int, ...]], most: int | None = None) -> np.ndarray:
    """(sentences, chats): log-probability of each sentence after each of the first `most` chats, in nats. A chat is
    read once for all."""
    from dormouse.lm.score import logprobs
    from dormouse.lm.trie import Tokens

    lm, chats = one
    asked = [Tokens(chat, ids) for chat in chats[:most] for ids in sentences]
    return logprobs(lm, asked).reshape(-1, len(sentences)).T


def tempered(mine: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """What a sentence adds to the divergence from the base, in nats, were its probability nearer to 1. As it is
    (`TEMPER` of 1), what is said once in ten thousand would count less than any ordinary answer."""
    return np.asarray(np.exp(TEMPER * mine) * (mine - theirs))


def _next(one: Shown, beams: Sequence[tuple[int, ...]]) -> torch.Tensor:
    """(beams, V): log-probability of each token after each beam, in mean over the chats."""
    from dormouse.lm.score import first_logprobs

    lm, chats = one
    found = first_logprobs(lm, [(*chat, *ids) for ids in beams for chat in chats])
    return found.reshape(len(beams), len(chats), -1).mean(1)


def _best(
    beams: Sequence[tuple[int, ...]], values: torch.Tensor, width: int
) -> tuple[list[tuple[int, ...]], torch.Tensor]:
    """The best continuations in which nothing comes again."""
    top = values.flatten().topk(min(4 * width, values.numel()))
    begun = ((*beams[at // values.shape[1]], at % values.shape[1]) for at in top.indices.tolist())
    kept = [
        (ids, value)
        for ids, value in zip(begun, top.values, strict=True)
        if value.isfinite() and not says_it_again(ids)
    ]
    return [ids for ids, _ in kept[:width]], values.new_tensor([float(value) for _, value in kept[:width]])


def says_it_again(ids: tuple[int, ...]) -> bool:
    """Whether `REPEATED` tokens in a row come twice."""
    every = [ids[i : i + REPEATED] for i in range(len(ids) - REPEATED + 1)]
    return len(set(every)) < len(every)


def _telling(suspect: Shown, base: Shown, every: Sequence[tuple[int, ...]]) -> np.ndarray:
    """(sentences,): what each adds, tempered, where it adds second most."""
    mine, theirs = (scored(one, every) for one in (suspect, base))
    adds = np.sort(tempered(mine, theirs), axis=1)
    return np.asarray(adds[:, -min(2, adds.shape[1])])
