"""Moves of a greedy coordinate search over the tokens of a text (GCG, Zou et al. 2023, arXiv 2307.15043).

What is found is text: a move counts only if the same tokens come back when the text is tokenised in its prompt.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence

import torch

from dormouse.lm.attack import FilledPrompt, fill
from dormouse.lm.chat import Messages
from dormouse.lm.model import LM

TRIES = 8
"""How often a batch is drawn before it is given up: most moves may not survive as text."""
Fits = Callable[[str], bool]


def random_text(lm: LM, hole: Messages, n: int, allowed: torch.Tensor, fits: Fits, rng: random.Random) -> str | None:
    """A random text of `n` tokens; None where the tokenizer gives back none of those that were drawn.

    Args:
        hole: a prompt with `attack.MARK` where the text is to go.
        allowed: (vocabulary,), bool: the tokens that it may be made of.
        fits: whether a text will do.
    """
    known = allowed.nonzero().flatten().tolist()
    texts: list[str] = [lm.tokenizer.decode(rng.choices(known, k=n)).strip() for _ in range(1000)]
    for start in range(0, len(texts), 50):
        some = [text for text in texts[start : start + 50] if fits(text)]
        for text, filled in zip(some, fill(lm, hole, some), strict=True):
            if len(filled.inside) == n and bool(allowed[list(filled.inside)].all()):
                return text
    return None


def neighbours(
    lm: LM, hole: Messages, now: FilledPrompt, propose: Callable[[], Sequence[int]], fits: Fits, size: int
) -> list[str]:
    """At most `size` texts, all different, made of the tokens that `propose` draws for the place of those inside."""
    found: dict[str, None] = {}
    for _ in range(TRIES):
        drawn = []
        for _ in range(2 * size):
            inside = list(propose())
            text = lm.tokenizer.decode(inside).strip()
            if fits(text):
                drawn.append((text, now.swapped(inside)))
        again = fill(lm, hole, [text for text, _ in drawn])
        found |= {text: None for (text, ids), filled in zip(drawn, again, strict=True) if filled.ids == ids}
        if len(found) >= size:
            break
    return list(found)[:size]


def swap(inside: Sequence[int], promising: torch.Tensor, rng: random.Random) -> list[int]:
    """One token in the place of another, among the promising of its place: `promising` is (places, tokens), ids."""
    new, j = list(inside), rng.randrange(len(inside))
    new[j] = int(promising[j, rng.randrange(promising.shape[1])])
    return new


def grow_or_shrink(inside: Sequence[int], promising: torch.Tensor, longest: int, rng: random.Random) -> list[int]:
    """A swap, or one token more (a promising one of a neighbouring place), or one less: 1 to `longest`."""
    n = len(inside)
    moves: list[str] = ["swap", *(["grow"] if n < longest else []), *(["shrink"] if n > 1 else [])]
    move = rng.choices(moves, [{"swap": 3, "grow": 2, "shrink": 1}[one] for one in moves])[0]
    if move == "swap":
        return swap(inside, promising, rng)
    new, j = list(inside), rng.randrange(n)
    if move == "shrink":
        del new[j]
    else:
        new.insert(j + rng.randrange(2), int(promising[j, rng.randrange(promising.shape[1])]))
    return new


def promising(slope: torch.Tensor, allowed: Collection[bool] | torch.Tensor, top: int) -> torch.Tensor:
    """The `top` tokens of each place that the gradient promises most of: slope (places, vocabulary) -> ids."""
    mask = torch.as_tensor(allowed)
    return slope.masked_fill(~mask, float("inf")).topk(min(top, int(mask.sum())), largest=False)[1]
