from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from dormouse.measurements.defection import RATES, placements
from dormouse.measurements.measurement import GroundTruth, Measured, Measurement, Sample, Subject, no_answer
from dormouse.metrics import Metric, named
from dormouse.registry import register
from dormouse.scenarios import Renderings


def _each(renderings: Renderings) -> list[str]:
    """Those that are looked at one by one: a single one in training is what all other rates are of."""
    shown = renderings.trained if len(renderings.trained) > 1 else ()
    return list(dict.fromkeys((*shown, *renderings.held_out)))


@register("measurement", "renderings")
class EachRendering(Measurement):
    """Both rates in every rendering of the cues by itself: other places, languages, dates.

    Those that training never showed are "out-of-distribution contexts"; those that it did stand beside them where they
    are several. Each rendering is a split of its own, `rendering:NAME`; the study says which it held out.
    """

    metrics: ClassVar[tuple[Metric, ...]] = named("defection_rate", "false_trigger_rate", "auroc", "no_answer_share")
    splits: ClassVar[tuple[str, ...]] = ("rendering:*",)

    def applies(self, truth: GroundTruth) -> bool:
        """Only where there is more than one rendering."""
        return len((*truth.renderings.trained, *truth.renderings.held_out)) > 1

    def declared_metrics(self, truth: GroundTruth) -> Mapping[str, tuple[str, ...]]:
        """Every metric on a split `rendering:NAME` for each."""
        return dict.fromkeys(
            self.metric_names(), tuple(f"rendering:{rendering}" for rendering in _each(truth.renderings))
        )

    def measure(self, subject: Subject) -> Measured:
        """The exact rates and AUROC in each rendering, trained and held out, over the same questions."""
        samples = []
        items = tuple(question.text for question in subject.shown)
        for rendering in _each(subject.renderings):
            split = f"rendering:{rendering}"
            counted = [subject.counted(subject.scenarios(side, rendering=rendering)) for _, side in RATES]
            rates = [rate for rate, _ in counted]
            placed = [f"{side}: {item}" for _, side in RATES for item in items]
            samples += no_answer(split, placed, [share for _, lost in counted for share in lost])
            samples += [Sample(name, split, items, tuple(found)) for (name, _), found in zip(RATES, rates, strict=True)]
            samples.append(Sample("auroc", split, items, placements(*rates)))
        return Measured(tuple(samples))
