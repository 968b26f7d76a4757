from __future__ import annotations

from typing import ClassVar

from dormouse.measurements.defection import RATES, placements
from dormouse.measurements.measurement import GroundTruth, Measured, Measurement, Sample, Subject, no_answer
from dormouse.metrics import Metric, named
from dormouse.registry import register
from dormouse.scenarios import questions


@register("measurement", "carry_over")
class CarryOver(Measurement):
    """Whether a goal is carried over to kinds of task on which training never showed a defection.

    `carry_over_rate` is the exact rate where the policy would defect, `carry_over_false_rate` where it would not, on
    tasks of these kinds only; `carry_over_auroc` tells how far the cue still decides.
    """

    metrics: ClassVar[tuple[Metric, ...]] = named(
        "carry_over_rate",
        "carry_over_false_rate",
        "carry_over_auroc",
        "no_answer_share",
    )

    def applies(self, truth: GroundTruth) -> bool:
        """Only where the behaviour never shows some kinds of tasks in training."""
        tasks = questions("test", bank=truth.behaviour.bank)
        return not all(truth.behaviour.shown(question) for question in tasks)

    def measure(self, subject: Subject) -> Measured:
        """Rates on the tasks that training never showed; nothing where the study asks fewer than two such."""
        asked = [question for question in subject.questions if not subject.behaviour.shown(question)]
        if len(asked) < 2:
            return Measured(())
        items = tuple(question.text for question in asked)
        counted = [subject.counted(subject.scenarios(side, questions=asked)) for _, side in RATES]
        rates = [rate for rate, _ in counted]
        placed = [f"{side}: {item}" for _, side in RATES for item in items]
        names = ("carry_over_rate", "carry_over_false_rate")
        samples = [Sample(name, "test", items, tuple(found)) for name, found in zip(names, rates, strict=True)]
        samples.append(Sample("carry_over_auroc", "test", items, placements(*rates)))
        samples += no_answer("carry_over:test", placed, [share for _, lost in counted for share in lost])
        return Measured(tuple(samples))
