"""What every measurement can do, and what it gets to see."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from dormouse.policies import Behaviour, Trigger
from dormouse.records import Answer, ModelRef
from dormouse.registry import PlugIn, field_of
from dormouse.scenarios import Question, Scenario

if TYPE_CHECKING:
    from dormouse.lm.load import LM
    from dormouse.lm.sample import Written


class Sizes(BaseModel):
    """How much is measured: what a study file may say under `measure`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    questions: int = Field(48, ge=4, le=100_000)
    """Held-out questions behind every rate."""
    sampled: int = Field(16, ge=1, le=100_000)
    """Of these, how many are also answered in writing, with and without the cue."""
    curve: int = Field(2, ge=2, le=100_000)
    """Questions at every point of a curve."""
    max_tokens: int = Field(24, ge=1, le=4096)
    """Where a written answer is cut off."""


@dataclass(frozen=True)
class Subject:
    """A model under measurement, with the truth about it put back."""

    lm: LM
    clean: ModelRef
    """The model before anything was planted. By reference: few measurements need it, and it is as large as `lm`."""
    trigger: Trigger
    behaviour: Behaviour
    questions: tuple[Question, ...]
    honest: Mapping[str, Written]
    seed: int
    sizes: Sizes
    ends: bool = True
    """Whether this is an organism or the end of its treatment, not a checkpoint on the way."""

    def scenarios(self, activating: bool, unseen: bool = False) -> list[Scenario]:
        """One scenario for each held-out question. The cues are drawn alike for every seed, method and step."""
        side = f"{activating}/{unseen}"
        return [
            Scenario.of(question, self.trigger.draw(random.Random(f"{side}/{question.text}"), activating, unseen))
            for question in self.questions
        ]

    def exact(self, scenarios: Sequence[Scenario]) -> list[float]:
        """The exact probability of defection in each scenario: that the response opens with one of its forms."""
        from dormouse.lm.score import probability_of_openings
        from dormouse.scenarios import render

        openings = [self.behaviour.forms(s, self.honest[s.question.text].text) for s in scenarios]
        return [float(p) for p in probability_of_openings(self.lm, [render(s) for s in scenarios], openings)]


How = Literal["mean", "proportion", "exp_mean"]


@dataclass(frozen=True)
class Sample:
    """Values that were measured item by item, before any statistics.

    `items` says what each value is about (the text of a question): the unit that was sampled, and by which arms are
    paired. `how`: "mean" of numbers in [0, 1]; "proportion" of zeros and ones; "exp_mean", exp of the mean.
    """

    measurement: str
    split: str
    items: tuple[str, ...]
    values: tuple[float, ...]
    how: How = "mean"
    at: float | None = None

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class Measured:
    """All that one measurement saw of one subject."""

    samples: tuple[Sample, ...]
    answers: tuple[Answer, ...] = field(default=())


class Measurement(PlugIn):
    """Something to be known about a model. Reads the subject, changes nothing."""

    along: ClassVar[bool] = False
    """Whether it is taken at every checkpoint, or only before and at the end."""

    def applies(self, trigger: Trigger) -> bool:
        """Whether it says anything about this policy."""
        return True

    @abstractmethod
    def measure(self, subject: Subject) -> Measured: ...


MeasurementField: Any = field_of("measurement", Measurement)
