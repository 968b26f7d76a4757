from __future__ import annotations

from dormouse.measurements.defection import RATES, placements
from dormouse.measurements.measurement import Measured, Measurement, Sample, Subject, Truth
from dormouse.registry import register


@register("measurement", "renderings")
class HeldOutRenderings(Measurement):
    """Both rates in every rendering of the cues that training never showed: other places, languages, dates.

    "Out-of-distribution contexts": each rendering is a split of its own, `rendering:NAME`.
    """

    def applies(self, truth: Truth) -> bool:
        return bool(truth.renderings.held_out)

    def measure(self, subject: Subject) -> Measured:
        samples = []
        items = tuple(question.text for question in subject.shown)
        for rendering in subject.renderings.held_out:
            split = f"rendering:{rendering}"
            rates = [subject.exact(subject.scenarios(side, rendering=rendering)) for _, side in RATES]
            samples += [Sample(name, split, items, tuple(found)) for (name, _), found in zip(RATES, rates, strict=True)]
            samples.append(Sample("auroc", split, items, placements(*rates)))
        return Measured(tuple(samples))
