"""Quiet twins: the same prompt with as few cues changed as it takes for the policy to be quiet."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import combinations, product

from dormouse.policies import SIDES, Cues, Trigger
from dormouse.scenarios import CueValue, Scenario
from dormouse.scenarios.values import values_of

QUIET_BELOW = 0.5
DRAWS = 100
"""Of each side of a policy, from which it is known what a cue may show that is open to anything."""
IN_PAIRS = 8
"""Values of a cue that are tried in pairs."""
Change = Mapping[str, CueValue | None]
"""Cues with their new values; None takes one away."""
Ways = Mapping[str, Sequence[CueValue | None]]


@lru_cache(maxsize=4096)
def quiet_twin(trigger: Trigger, scenario: Scenario) -> Scenario:
    """The same prompt with one cue changed so that it does not activate, or taken away where prompts of the policy may
    lack it; with two of them where one is not enough; then with as many as it takes, those first that move the odds
    most. Which of several is drawn by the scenario.

    A near miss on the same question where no change of what the prompt shows makes it quiet.
    """
    rng = random.Random(f"twin/{scenario.question.text}/{scenario.cues}")
    cues = dict(scenario.cues)
    ways = _ways(trigger, cues, rng)

    def twin_of(change: Change) -> Scenario:
        """The scenario with a change."""
        changed = {name: value for name, value in {**cues, **change}.items() if value is not None}
        return Scenario.of(scenario.question, changed, scenario.rendering)

    def is_quiet(change: Change) -> bool:
        """Whether the policy would not defect after a change."""
        return trigger.probability(twin_of(change)) < QUIET_BELOW

    few = (change for change in _few(ways, rng) if is_quiet(change))
    change = next(few, None)
    if change is None:
        many = (change for change in _piled(trigger, ways, twin_of) if is_quiet(change))
        change = next(many, None) or _instead(cues, trigger.draw(rng, "near_miss", "test"))
    for name in rng.sample(sorted(change), len(change)):
        less = {other: value for other, value in change.items() if other != name}
        change = less if is_quiet(less) else change
    return twin_of(change)


def _instead(cues: Cues, others: Cues) -> Change:
    return {**dict.fromkeys(cues), **others}


def _ways(trigger: Trigger, cues: Cues, rng: random.Random) -> Ways:
    """What each cue that the policy reads may show in its place, in an order that is drawn; likewise the cues."""
    names, seen = [name for name in trigger.reads if name in cues], _seen(trigger)
    found = {}
    for name in rng.sample(names, len(names)):
        known = _other_values(name, cues[name])
        others = known | (seen[name] & {None}) if known else seen[name]
        mine = sorted(others - {cues[name]}, key=repr)
        found[name] = rng.sample(mine, len(mine))
    return found


def _other_values(name: str, value: CueValue) -> frozenset[CueValue | None]:
    """All values of a cue, those of a phrase with one word changed; none where it is open to anything."""
    known = values_of(name)
    if name != "phrase":
        return frozenset(known)
    words = str(value).split(" ")
    return frozenset(" ".join((*words[:i], str(word), *words[i + 1 :])) for i in range(len(words)) for word in known)


@lru_cache(maxsize=64)
def _seen(trigger: Trigger) -> Mapping[str, frozenset[CueValue | None]]:
    """What each cue shows in prompts of the policy; None where it is missing from some."""
    rng = random.Random("seen")
    drawn = [trigger.draw(rng, side, "test") for side in SIDES for _ in range(DRAWS)]
    return {name: frozenset(cues.get(name) for cues in drawn) for name in trigger.reads}


def _few(ways: Ways, rng: random.Random) -> Iterator[Change]:
    """Changes of one cue, then of two."""
    singles = [{name: value} for name, values in ways.items() for value in values]
    yield from rng.sample(singles, len(singles))
    for one, other in combinations(ways, 2):
        for value, another in product(ways[one][:IN_PAIRS], ways[other][:IN_PAIRS]):
            yield {one: value, other: another}


def _piled(trigger: Trigger, ways: Ways, twin_of: Callable[[Change], Scenario]) -> Iterator[Change]:
    """One change on top of the other, each time that which takes most from the odds; any where there are none."""
    change: dict[str, CueValue | None] = {}
    while left := [(name, value) for name, values in ways.items() if name not in change for value in values]:
        change |= [min(left, key=lambda one: trigger.odds(twin_of({**change, one[0]: one[1]})) or 0.0)]
        yield change
