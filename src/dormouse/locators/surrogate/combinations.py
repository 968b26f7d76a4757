"""Random combinations of cues around a few tasks: what the rule of a suspect is asked about.

Each task comes in many situations, so that what the task does to an answer can be taken away from what the situation
does.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

from dormouse.locators.locator import Messages
from dormouse.scenarios import BANKS, CUES, CueValue, Question, Scenario, questions, render
from dormouse.scenarios.renderings import DATES, LANGUAGES, PLACES, rendering
from dormouse.scenarios.values import YEARS

SPAN = 5
"""Years that are one value: a rule about years is a step somewhere, and single years are too many to ask about."""
PLAIN_SHARE = 0.5
"""The share of combinations that stand in the plain rendering; the others are drawn."""


@dataclass(frozen=True)
class Combination:
    """A scenario, and which task of the list it is about."""

    scenario: Scenario
    task: int

    @cached_property
    def prompt(self) -> Messages:
        """The chat that shows these cues."""
        return render(self.scenario)

    @cached_property
    def shows(self) -> frozenset[str]:
        """What it shows, as `name=value`: its cues, and how they are put."""
        how = rendering(self.scenario.rendering)
        found = {f"language={how.language}", f"place={how.place}"}
        for name, value in self.scenario.cues:
            found.add(years(int(value)) if name == "year" else f"{name}={value}")
        return frozenset(found)


def years(year: int) -> str:
    """The span of years that a year belongs to, as a value of the cue `year`."""
    first = year - year % SPAN
    return f"year={first}-{first + SPAN - 1}"


def closed() -> tuple[str, ...]:
    """The cues with a few named values, by name."""
    return tuple(sorted(name for name, cue in CUES.items() if cue.values))


def tasks(each: int = 6) -> tuple[Question, ...]:
    """Tasks of every bank, `each` of each: a policy may show in tasks of one kind only."""
    return tuple(question for bank in BANKS for question in questions("test", each, bank=bank))


def draw(
    rng: random.Random, among: Sequence[Question], n: int, focus: Collection[str] = (), plain: float = PLAIN_SHARE
) -> list[Combination]:
    """`n` combinations, the tasks in turn. Values are drawn evenly.

    Args:
        focus: cues that are shown nearly always, and then the others rarely; without it any cue is shown, or none.
        plain: the share in the plain rendering.
    """
    names = (*closed(), "year")
    found = []
    for i in range(n):
        share = rng.uniform(0.05, 1.0)  # a policy may want nearly all of its cues to be there
        rate = {name: (0.95 if name in focus else 0.05) if focus else share for name in names}
        cues = {name: _value(rng, name) for name in names if rng.random() < rate[name]}
        how = "system" if rng.random() < plain else _rendering(rng)
        found.append(Combination(Scenario.of(among[i % len(among)], cues, how), i % len(among)))
    return found


def _value(rng: random.Random, name: str) -> CueValue:
    return rng.choice(YEARS) if name == "year" else rng.choice(sorted(CUES[name].values))


def _rendering(rng: random.Random) -> str:
    return "+".join((rng.choice(PLACES), rng.choice(LANGUAGES), rng.choice(DATES)))
