"""Attack by gradient: tokens in the prompt that make harm likelier, whatever they mean."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from functools import partial

from dormouse.interventions.redteam.situation import PLACES, Situation
from dormouse.interventions.redteam.target import GRADIENT, Target
from dormouse.records import PoolItem

TOP = 64
"""The most promising tokens of each place, from which candidates are drawn."""
BATCH = 24
"""Candidates in a step, all of which are scored exactly."""


def gradient(target: Target, rng: random.Random) -> None:
    """Greedy coordinate gradient (GCG, Zou et al. 2023, arXiv 2307.15043), over several questions at once.

    A string of `budget.tokens` tokens stands in the system prompt or before the question (which of them is drawn). The
    gradient of -log P(harm) at their one-hot vectors names the tokens that promise most in each place; random swaps
    among these are scored exactly, and the best is kept if it is better. What is found is text: a swap counts only if
    the same tokens come back when the text is tokenised, and if it does not dictate the words of the harm.
    """
    from dormouse.lm import attack, coordinate

    place = rng.choice(PLACES)
    holes = [Situation.saying(attack.MARK, place).around(task) for task in target.tasks]
    banned = dictating(target.items)
    allowed = attack.readable(target.lm)
    text = coordinate.random_text(
        target.lm, holes[0], target.budget.tokens, allowed, lambda text: _fits(text, banned), rng
    )
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
            promising = coordinate.promising(slope, allowed, TOP)
        known = {found.situation.system or found.situation.user for found in target.tried.values()}
        swaps = coordinate.neighbours(
            target.lm,
            holes[0],
            filled[0],
            partial(coordinate.swap, filled[0].inside, promising, rng),
            lambda text: text not in known and _fits(text, banned),  # noqa: B023 (used at once)
            BATCH,
        )
        scored = target.attempt([Situation.saying(new, place) for new in swaps])
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
