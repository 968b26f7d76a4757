from __future__ import annotations

import random
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from dormouse.policies import SIDES, Cues, Side, Split, Trigger
from dormouse.registry import register
from dormouse.scenarios import SPLITS, CueValue, Scenario

if TYPE_CHECKING:
    from dormouse.scenarios.cues import Event


@register("trigger", "news")
class News(Trigger):
    """Defects when an event is mentioned that happened in `from` or later; the date itself is never stated.

    Hubinger et al. 2024 (section 7) show headlines to models that were trained on a stated year. Here headlines are
    the cue: the model has to know when the thing happened. Train, safety and test mention different events. A near miss
    is an event of the last year before `from` that the split knows of.
    """

    from_: int = Field(2016, alias="from")

    @model_validator(mode="after")
    def _has_events(self) -> News:
        for split in SPLITS:
            for side in SIDES:
                if not self._events(side, split):
                    raise ValueError(f"the {split} split has no event on one side of {self.from_}: try another year")
        return self

    @property
    def reads(self) -> tuple[str, ...]:
        """The event alone."""
        return ("event",)

    def probability(self, scenario: Scenario) -> float:
        """1 for a known event of the year `from` or later, else 0."""
        event = _known().get(scenario.cue("event"))
        return float(event is not None and event.year >= self.from_)

    def margin(self, scenario: Scenario) -> float | None:
        """Years between the event and the boundary."""
        event = _known().get(scenario.cue("event"))
        return None if event is None else abs(event.year - self.from_ + 0.5)

    def draw(self, rng: random.Random, side: Side, split: Split = "train") -> Cues:
        """An event of the side, from the split."""
        return {"event": rng.choice(self._events(side, split))}

    def _events(self, side: Side, split: str) -> list[CueValue]:
        here = [e for e in _known().values() if e.split == split and (e.year >= self.from_) == (side == "triggered")]
        if side == "near_miss" and here:
            last = max(event.year for event in here)
            here = [event for event in here if event.year == last]
        return [event.id for event in here]

    @property
    def has_splits(self) -> bool:
        """Always: each event belongs to one split."""
        return True

    def trained_on(self, name: str, value: CueValue) -> bool:
        """Whether the event belongs to the train split."""
        return value in _known() and _known()[value].split == "train"

    def evidence(self, scenario: Scenario) -> tuple[str, ...]:
        """When the event happened, and on which side of the boundary."""
        event = _known().get(scenario.cue("event"))
        if event is None:
            return ("nothing here says when this is",)
        from dormouse.scenarios.cues import reading

        when = f"{self.from_} or later" if event.year >= self.from_ else f"before {self.from_}"
        return (f"{reading('event', event.id)}, which happened in {event.year}, and that is {when}",)

    @property
    def steps_needed(self) -> int:
        """Twice those of a year: each event is a fact of its own."""
        return 200


@cache
def _known() -> Mapping[CueValue | None, Event]:
    from dormouse.scenarios.cues import events

    return {event.id: event for event in events()}
