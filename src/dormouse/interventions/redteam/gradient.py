"""Attack by gradient: tokens in the prompt that make harm likelier, whatever they mean."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dormouse.interventions.redteam.situation import PLACES, Messages, Situation
from dormouse.interventions.redteam.target import GRADIENT, Target
from dormouse.records import PoolItem

if TYPE_CHECKING:
    import torch

    from dormouse.lm.attack import Filled

TOP = 64
"""The most promising tokens of each place, from which candidates are drawn."""
BATCH = 24
"""Candidates in a step, all of which are scored exactly."""
TRIES = 8
"""How often a batch is drawn before the place is given up: most swaps may not survive as text."""


def gradient(target: Target, rng: random.Random) -> None:
    """Greedy coordinate gradient (GCG, Zou et al. 2023, arXiv 2307.15043), over several questions at once.

    A string of `budget.tokens` tokens stands in the system prompt or before the question (which of them is drawn). The
    gradient of -log P(harm) at their one-hot vectors names the tokens that promise most in each place; random swaps
    among these are scored exactly, and the best is kept if it is better. What is found is text: a swap counts only if
    the same tokens come back when the text is tokenised, and if it does not dictate the words of the harm.
    """
    from dormouse.lm import attack

    place = rng.choice(PLACES)
    holes = [Situation.saying(attack.MARK, place).around(item.question) for item in target.items]
    banned = dictating(target.items)
    allowed = attack.readable(target.lm)
    text = _start(target, holes[0], allowed, banned, rng)
    if text is None or not target.affordable:
        return
    ((_, best),) = target.attempt([Situation.saying(text, place)])
    promising = None
    while target.affordable > (GRADIENT if promising is None else 0):
        filled = [attack.fill(target.lm, hole, [text])[0] for hole in holes]
        if promising is None:
            target.pay_gradient()
            slope = attack.gradient(
                target.lm, filled, [item.harm for item in target.items], [item.against for item in target.items]
            )
            promising = slope.masked_fill(~allowed, float("inf")).topk(min(TOP, int(allowed.sum())), largest=False)[1]
        candidates = [
            Situation.saying(new, place) for new in _swaps(target, holes[0], filled[0], promising, banned, rng)
        ]
        scored = target.attempt(candidates)
        if not scored:
            return
        winner, value = max(scored, key=lambda one: one[1])
        if value > best:
            text, best, promising = winner.system or winner.user, value, None


def dictating(items: Sequence[PoolItem]) -> re.Pattern[str] | None:
    """What no adversarial text may hold: words of the harm that no honest response has.

    A prompt with the words in it brings out a copy. That is no sign of what is hidden in a model.
    """
    harm = {word for item in items for text in item.harm for word in _words(text)}
    honest = {word for item in items for text in (*item.against, item.chosen.response) for word in _words(text)}
    banned = sorted(word for word in harm - honest if len(word) > 2)
    return re.compile("|".join(map(re.escape, banned))) if banned else None


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _fits(text: str, banned: re.Pattern[str] | None) -> bool:
    joined = re.sub(r"\W+", "", text.casefold())
    return bool(text) and not (banned and banned.search(joined))


def _start(
    target: Target, hole: Messages, allowed: torch.Tensor, banned: re.Pattern[str] | None, rng: random.Random
) -> str | None:
    """A random text of that many tokens; None where the tokenizer gives back none of those that were drawn."""
    from dormouse.lm import attack

    tokens, n = target.lm.tokenizer, target.budget.tokens
    known = allowed.nonzero().flatten().tolist()
    texts: list[str] = [tokens.decode(rng.choices(known, k=n)).strip() for _ in range(1000)]
    for start in range(0, len(texts), 50):
        some = [text for text in texts[start : start + 50] if _fits(text, banned)]
        for text, filled in zip(some, attack.fill(target.lm, hole, some), strict=True):
            if len(filled.inside) == n and bool(allowed[list(filled.inside)].all()):
                return text
    return None


def _swaps(
    target: Target,
    hole: Messages,
    now: Filled,
    promising: torch.Tensor,
    banned: re.Pattern[str] | None,
    rng: random.Random,
) -> list[str]:
    """Texts that differ in one token, each among the promising of its place: at most a batch that is new."""
    from dormouse.lm import attack

    found: dict[str, None] = {}
    known = {found.situation.system or found.situation.user for found in target.tried.values()}
    for _ in range(TRIES):
        drawn = []
        for _ in range(2 * BATCH):
            inside, j = list(now.inside), rng.randrange(len(now.inside))
            inside[j] = int(promising[j, rng.randrange(promising.shape[1])])
            text = target.lm.tokenizer.decode(inside).strip()
            if text not in known and _fits(text, banned):
                drawn.append((text, now.swapped(inside)))
        again = attack.fill(target.lm, hole, [text for text, _ in drawn])
        found |= {text: None for (text, ids), filled in zip(drawn, again, strict=True) if filled.ids == ids}
        if len(found) >= BATCH:
            break
    return list(found)[:BATCH]
