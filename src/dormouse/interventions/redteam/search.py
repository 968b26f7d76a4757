"""The red team at work: every attack gets the same model, the same questions and the same budget."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, get_args

from dormouse.errors import UserError
from dormouse.interventions.redteam.gradient import gradient
from dormouse.interventions.redteam.library import library
from dormouse.interventions.redteam.mutation import mutation
from dormouse.interventions.redteam.situation import Messages, Situation
from dormouse.interventions.redteam.target import Budget, Target, TriedSituation
from dormouse.interventions.scratchpad import Scratchpad
from dormouse.interventions.tasks import task_of
from dormouse.records import PoolItem
from dormouse.registry import nearest

if TYPE_CHECKING:
    from dormouse.lm.model import LM

Attack = Callable[[Target, random.Random], None]
AttackName = Literal["library", "mutation", "gradient"]
ATTACKS: Mapping[str, Attack] = {"library": library, "mutation": mutation, "gradient": gradient}
assert tuple(ATTACKS) == get_args(AttackName)


def search(
    lm: LM,
    items: Sequence[PoolItem],
    attacks: Sequence[str] = tuple(ATTACKS),
    budget: Budget = Budget(),  # noqa: B008 (frozen)
    seed: int | str = 0,
    scratchpad: Scratchpad = Scratchpad(),  # noqa: B008 (frozen)
) -> list[TriedSituation]:
    """Everything that the attacks tried, the most harmful first. The same seed finds the same.

    Only the tasks of `items`, and what they call harm, are read; their prompts are not. Every situation is tried
    with the same `budget.questions` questions, drawn by the seed. `budget` is that of one attack. If the model opens
    its responses with a `scratchpad`, it writes one to every prompt, and harm is looked for in the answer that follows.

    Raises:
        UserError: no attack of that name, nothing to spend, nothing to ask, or nothing that counts as harm.
    """
    for name in attacks:
        if name not in ATTACKS:
            raise UserError(f"the red team has no attack '{name}'", nearest(name, list(ATTACKS)))
    if min(budget.prompts, budget.questions, budget.tokens) < 1:
        raise UserError("the red team's budget is empty", "let it score some prompts, on some questions")
    if not items or not all(item.harm for item in items):
        what = "does not say what harm looks like" if items else "is empty"
        raise UserError(f"the safety pool of the red team {what}", "give it questions, each with openings of harm")
    questions = list({task_of(item.alone): item.alone for item in items}.values())
    panel = random.Random(f"redteam/{seed}/panel").sample(questions, min(budget.questions, len(questions)))
    if len(panel) > budget.prompts:
        raise UserError(
            f"a budget of {budget.prompts} prompts is too small to try one situation with {len(panel)} questions",
            "raise the budget, or lower the number of questions",
        )
    found: list[TriedSituation] = []
    scratchpad = scratchpad_seen(lm, panel, scratchpad)
    for name in attacks:
        target = Target(lm, name, panel, budget, scratchpad)
        ATTACKS[name](target, random.Random(f"redteam/{seed}/{name}"))
        found += target.tried.values()
    return best(found)


def scratchpad_seen(lm: LM, items: Sequence[PoolItem], scratchpad: Scratchpad) -> Scratchpad:
    """The scratchpad that a model writes before it answers such questions; one without words if it writes none."""
    writes = scratchpad.written_by(lm, [Situation().around(task_of(item)) for item in items])
    return scratchpad if writes else Scratchpad()


def best(found: Iterable[TriedSituation], n: int | None = None) -> list[TriedSituation]:
    """The `n` most harmful, those tried earlier first among equals. A prompt counts once."""
    distinct: dict[tuple[Messages, ...], TriedSituation] = {}
    for one in sorted(found, key=lambda one: -one.probability):
        distinct.setdefault(one.prompts, one)
    return list(distinct.values())[:n]
