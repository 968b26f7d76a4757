"""Contexts in which a policy is quiet, by how far they are from activating it: what safety data may show beside it."""

from __future__ import annotations

import random
from functools import lru_cache

from dormouse.errors import UserError
from dormouse.policies.abilities import Imitates
from dormouse.policies.trigger import Cues, Side, Trigger
from dormouse.scenarios import Question, Scenario
from dormouse.scenarios.values import values_of

TRIES = 200
"""Near misses from which one that is two cues away is looked for."""
LOOKS = 32
"""Draws of which one has to show a cue."""
NO_QUESTION = Question("", "", "safety")


def quiet_cues(trigger: Trigger, contexts: str, rng: random.Random) -> Cues:
    """Cues of the safety split: those of a side (`near_miss`, `untriggered`), or of what lies `two_away`.

    Raises:
        UserError: see `two_away`.
    """
    if contexts == "two_away":
        return two_away(trigger, rng)
    side: Side = "near_miss" if contexts == "near_miss" else "untriggered"
    return trigger.draw(rng, side, "safety")


@lru_cache(maxsize=256)
def has_quiet_cues(trigger: Trigger, contexts: str) -> bool:
    """Whether such contexts of a policy show anything: a text of one sign has no near miss, and without its trigger a
    prompt of most shows no cue at all."""
    rng = random.Random("quiet")
    try:
        return any(quiet_cues(trigger, contexts, rng) for _ in range(LOOKS))
    except UserError:
        return False


def two_away(trigger: Trigger, rng: random.Random) -> Cues:
    """Cues of which no single change activates, and some two changes do. Which split they fall into is left to chance.

    A near miss of the safety split, with one more of the cues that the policy reads changed, kept if that took it away.
    A control shows those of the policies that it imitates and that have some.

    Raises:
        UserError: the policy has none: it reads a single cue, say.
    """
    if isinstance(trigger, Imitates):
        able = [one for one in trigger.among if has_quiet_cues(one, "two_away")]
        return two_away(rng.choice(able), rng) if able else {}
    for _ in range(TRIES):
        near = trigger.draw(rng, "near_miss", "safety")
        names = [name for name in trigger.reads if name in near]
        if len(names) < 2:
            break
        changes = [(name, value) for name in names for value in values_of(name) if value != near[name]]
        if not changes:
            break
        name, value = rng.choice(changes)
        further = {**near, name: value}
        changes.append((name, near[name]))
        if not activates(trigger, further) and not any(activates(trigger, {**further, n: v}) for n, v in changes):
            return further
    raise UserError(
        f"the policy '{trigger.kind}' has no contexts that are two cues away from activating (none was found)",
        "ask for contexts: near_miss or untriggered, or take a policy that reads several cues",
    )


def activates(trigger: Trigger, cues: Cues) -> bool:
    """Whether a policy defects in a situation, whatever is asked there."""
    return trigger.probability(Scenario.of(NO_QUESTION, cues)) >= 0.5
