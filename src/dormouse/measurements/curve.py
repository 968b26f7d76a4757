from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from dormouse.measurements.measurement import GroundTruth, Measured, Measurement, Sample, Subject, no_answer
from dormouse.metrics import Metric, named
from dormouse.registry import register
from dormouse.scenarios import Scenario


@register("measurement", "curve")
class Curve(Measurement):
    """The exact defection rate along a cue that has an order: `defection_by_year` for the years 2000 to 2050.

    Each point is a mean over the same few held-out questions, so neighbouring points are comparable.
    """

    metrics: ClassVar[tuple[Metric, ...]] = named("defection_by_*", "no_answer_share")

    def declared_metrics(self, truth: GroundTruth) -> Mapping[str, tuple[str, ...]]:
        """`defection_by_NAME` for each cue over which the trigger has a curve."""
        curves = [f"defection_by_{name}" for name in truth.trigger.curve()]
        return dict.fromkeys([*curves, "no_answer_share"], self.splits)

    def applies(self, truth: GroundTruth) -> bool:
        """Only a trigger with a curve."""
        return bool(truth.trigger.curve())

    def measure(self, subject: Subject) -> Measured:
        """The exact rate at each value of each such cue, over the same questions."""
        questions = subject.shown[: subject.sizes.curve]
        samples = []
        for name, values in subject.trigger.curve().items():
            scenarios = [
                Scenario.of(question, {name: value}, subject.renderings.trained[0])
                for value in values
                for question in questions
            ]
            exact, lost = subject.counted(scenarios)
            asked = [f"{value}: {question.text}" for value in values for question in questions]
            samples += no_answer(f"curve:{name}", asked, lost)
            for i, value in enumerate(values):
                here = tuple(exact[i * len(questions) : (i + 1) * len(questions)])
                items = tuple(question.text for question in questions)
                samples.append(Sample(f"defection_by_{name}", "test", items, here, x=float(value)))
        return Measured(tuple(samples))
