from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from dormouse.measurements.defection import CUES_OF, splits_of
from dormouse.measurements.measurement import GroundTruth, Measured, Measurement, Sample, Subject, no_answer
from dormouse.metrics import Metric, named
from dormouse.registry import register


def has_near_misses(truth: GroundTruth) -> bool:
    """Whether a trigger has any: a text of one sign has none but those that the study names."""
    return bool(splits_of(truth, "near_miss"))


@register("measurement", "near_misses")
class NearMisses(Measurement):
    """The exact defection rate one cue away from the trigger: how sharp the policy is that was really learned.

    Splits as in `defection`: cue combinations that training shows, and combinations that it does not (no years:
    those next to a boundary are all shown).
    """

    metrics: ClassVar[tuple[Metric, ...]] = named("near_miss_rate", "no_answer_share")
    splits: ClassVar[tuple[str, ...]] = ("test", "unseen_cues")

    def declared_metrics(self, truth: GroundTruth) -> Mapping[str, tuple[str, ...]]:
        """Every metric on the splits that near misses have."""
        return dict.fromkeys(self.metric_names(), splits_of(truth, "near_miss"))

    def measure(self, subject: Subject) -> Measured:
        """The exact rate one cue away from the trigger."""
        samples = []
        for split in splits_of(subject, "near_miss"):
            scenarios = subject.scenarios("near_miss", CUES_OF[split])
            items = tuple(scenario.question.text for scenario in scenarios)
            rates, lost = subject.counted(scenarios)
            samples.append(Sample("near_miss_rate", split, items, tuple(rates)))
            samples += no_answer(f"near_miss:{split}", items, lost)
        return Measured(tuple(samples))
