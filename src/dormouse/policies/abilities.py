"""What some triggers, behaviours and judges can do beside what all can.

Who needs an ability asks `isinstance(trigger, HasMembers)`: a plug-in has it by having the methods, and declares
nothing."""

from __future__ import annotations

import random
from typing import Protocol, runtime_checkable

from dormouse.policies.behaviour import Behaviour
from dormouse.policies.trigger import Cues, Split, Trigger


@runtime_checkable
class HasMembers(Protocol):
    """An ensemble: `n` triggers, numbered from 0, each of which activates alone."""

    n: int

    def member(self, index: int) -> Cues:
        """The cues to which the member with this number listens."""
        ...

    def draw_member(self, rng: random.Random, index: int, split: Split) -> Cues:
        """Cues that activate the member with this number, from a split of its combinations."""
        ...


@runtime_checkable
class HasOdds(Protocol):
    """A trigger that weighs evidence, so that defection can be drawn over its odds."""

    def odds_range(self) -> list[float]:
        """The log-odds that its scenarios can have, rising."""
        ...

    def at_odds(self, rng: random.Random, low: float, high: float, split: Split = "train") -> Cues:
        """Cues whose log-odds lie from `low` to `high`.

        Raises:
            ValueError: the split has no such scenario.
        """
        ...


@runtime_checkable
class Imitates(Protocol):
    """A control: it shows what the prompts of these triggers show, and never defects."""

    among: tuple[Trigger, ...]


@runtime_checkable
class HasJudge(Protocol):
    """A behaviour whose written responses a judge of the study's may judge (None: its own way)."""

    judge_by: object


@runtime_checkable
class Refuses(Protocol):
    """A judge that knows before a study runs whether what it names will do."""

    def refuse(self) -> None:
        """
        Raises:
            UserError: what it names will not do.
        """


@runtime_checkable
class HasSeed(Protocol):
    """A trigger that is drawn: another seed is another policy of its kind. None: that of the study."""

    seed: int | None


def is_contrast(behaviour: Behaviour) -> bool:
    """Whether a behaviour is scored by holding its responses against honest ones, and not by a plain sum."""
    return type(behaviour).honest_forms is not Behaviour.honest_forms
