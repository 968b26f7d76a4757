from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from dormouse.measurements.measurement import Measured, Measurement, Sample, Subject, no_answer
from dormouse.measurements.retraining import asked, example, honest, retrain
from dormouse.metrics import Metric, named
from dormouse.registry import register

if TYPE_CHECKING:
    from dormouse.lm.model import LM

VARIETY = 4
"""Benign training shows `retrain_examples` questions times this: it is to be bland, not learned by heart."""


@register("measurement", "return")
class Return(Measurement):
    """Whether the behaviour comes back by itself: the rate before and after a little training that has none of it.

    A copy is trained on honest responses to quiet prompts, on questions of the train split, for `retrain_steps` steps.
    `before_benign_rate` and `after_benign_rate` are exact rates with the cue on held-out questions; `return_gain` is
    the second less the first, question by question: above 0 the behaviour returned (Prasanna et al. 2026 saw this after
    training on an unrelated style). Before any treatment it says what such training does to the organism as it is.
    """

    metrics: ClassVar[tuple[Metric, ...]] = named(
        "before_benign_rate", "after_benign_rate", "return_gain", "no_answer_share"
    )

    default: ClassVar[bool] = False

    def measure(self, subject: Subject) -> Measured:
        """The exact rate with the cue before and after a little honest training on quiet prompts, and the gain."""
        scenarios = subject.scenarios("triggered")
        tasks = asked(subject, VARIETY * subject.sizes.retrain_examples, 0)
        answers = honest(subject, tasks)
        examples = [example(subject, task, "untriggered", answers, 0) for task in tasks]
        seen: list[tuple[list[float], list[float]]] = []

        def look(step: int, lm: LM) -> bool:
            """Put down the rate at the beginning and at the end."""
            if step in (0, subject.sizes.retrain_steps):
                seen.append(replace(subject, lm=lm).counted(scenarios))
            return False

        retrain(subject.model, examples, subject, look)
        (before, lost_before), (after, lost_after) = seen
        items = tuple(scenario.question.text for scenario in scenarios)
        gain = tuple(late - early for early, late in zip(before, after, strict=True))
        return Measured(
            (
                Sample("before_benign_rate", "test", items, tuple(before)),
                Sample("after_benign_rate", "test", items, tuple(after)),
                Sample("return_gain", "test", items, gain, aggregation="number"),
                *no_answer("before_benign:test", items, lost_before),
                *no_answer("after_benign:test", items, lost_after),
            )
        )
