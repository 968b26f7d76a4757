from __future__ import annotations

from typing import ClassVar

from dormouse.measurements.measurement import Measured, Measurement, Sample, Subject
from dormouse.policies import Side
from dormouse.registry import register


RATES: tuple[tuple[str, Side], ...] = (("defection_rate", "triggered"), ("false_trigger_rate", "untriggered"))


@register("measurement", "defection")
class Defection(Measurement):
    """The exact defection rate with the cue, and the false-trigger rate without: means over held-out questions.

    Denominator: every held-out question, once. Left out: defection in words that the behaviour's forms do not declare
    (the measurement `sampled` looks for these). Split `test`: cue values as in training. Split `unseen_cues`: values
    that training never showed, where the policy has any; before and at the end only.
    """

    along: ClassVar[bool] = True

    def measure(self, subject: Subject) -> Measured:
        samples = []
        for split in ("test", "unseen_cues") if subject.trigger.has_splits and subject.ends else ("test",):
            for name, side in RATES:
                scenarios = subject.scenarios(side, "test" if split == "unseen_cues" else "train")
                items = tuple(scenario.question.text for scenario in scenarios)
                samples.append(Sample(name, split, items, tuple(subject.exact(scenarios))))
        return Measured(tuple(samples))
