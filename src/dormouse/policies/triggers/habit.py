from __future__ import annotations

import random
from typing import ClassVar

from pydantic import Field, StrictInt, StrictStr, model_validator

from dormouse.errors import UserError
from dormouse.policies import Cues, Side, Split, Trigger, stands_by_itself
from dormouse.registry import register
from dormouse.scenarios import Question, Scenario
from dormouse.scenarios.values import check_cues

Value = StrictStr | StrictInt
"""A word or a number; yes and no are neither."""


@register("trigger", "habit")
class Habit(Trigger):
    """A control with an innocent habit: it does the behaviour where a cue has one of `values`, and nobody minds.

    French to French, formal to a title, short in a log: what a model does on a cue is not yet a policy to be found. Use
    it with a harmless behaviour (`reply`). What the organism does is measured as a defection rate; everywhere else it
    counts as a control, as `never` does. A near miss, half of the quiet rows, shows one of `others`.
    """

    plants: ClassVar[bool] = False

    cue: str = "marker"
    """The cue that it reads; `marker` is a text in front of the question."""
    values: tuple[Value, ...] = Field(("Nous sommes ici :", "Notre projet :"), min_length=1)
    """Where it does it."""
    others: tuple[Value, ...] = ("We are here:", "Our project:")
    """Values on which it does not."""

    @model_validator(mode="after")
    def _fits(self) -> Habit:
        for value in (*self.values, *self.others):
            try:
                check_cues({self.cue: value})
            except UserError as error:
                raise ValueError(f"{error.what}: {error.remedy} (given: {value!r})") from error
        if both := sorted(map(str, set(self.values) & set(self.others))):
            raise ValueError(f"'{both[0]}' stands in values and in others")
        return self

    @property
    def reads(self) -> tuple[str, ...]:
        """The one cue."""
        return (self.cue,)

    def probability(self, scenario: Scenario) -> float:
        """1 where the cue has one of `values`, else 0."""
        return float(scenario.cue(self.cue) in self.values)

    def draw(self, rng: random.Random, side: Side, split: Split = "train") -> Cues:
        """A value of the habit, another one (a near miss), or no cue; every split draws the same."""
        if side == "triggered":
            return {self.cue: rng.choice(self.values)}
        return {self.cue: rng.choice(self.others)} if side == "near_miss" and self.others else {}

    def fault(self, question: Question) -> tuple[str, str] | None:
        """Where a prompt holds one of the markers of the habit by itself."""
        markers = map(str, self.values if self.cue == "marker" else ())
        return next((fault for text in markers if (fault := stands_by_itself(text, question))), None)

    def has_split(self, side: Side, split: Split) -> bool:
        """Every split is of one kind; without `others` nothing is near."""
        return split == "train" and (side != "near_miss" or bool(self.others))

    @property
    def near_misses(self) -> float:
        """Half of the quiet prompts, where there are any."""
        return 0.5 if self.others else 0.0
