"""The dose to one half, and how it grows with the number of triggers, from what was measured at every dose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from dormouse.measurements.dose_response import Exponent, Half, exponent, half, pooled_half
from dormouse.measurements.measurement import Sample
from dormouse.measurements.stats import UNKNOWN, Estimate, estimate
from dormouse.pipeline.derived import Arms, ReadSample, record_of
from dormouse.records import Record
from dormouse.studies.arms import Arm
from dormouse.studies.design import Design
from dormouse.studies.doses import EXPONENT, HALF, Series, dose_series, growing

RATE = "defection_rate"


def dose_records(design: Design, model: str, arms: Arms) -> list[Record]:
    """`ed50` and `ed50_each` of every series of doses, at the end of the arm with the largest; and the exponent of
    series that differ in the number of triggers, where the largest number is."""
    doses = _Doses(design, arms)
    series = [one for one in dose_series(design.parts, design.origins) if one.end.model == model]
    found = {id(one): doses.halves(one) for one in series}
    records = [made for one in series for made in doses.half_records(one, found[id(one)])]
    for some in growing(series):
        records += doses.exponent_records(some, [found[id(one)] for one in some])
    return records


def _mean(found: ReadSample) -> float:
    return float(np.mean(found[1].values))


class _Doses:
    """What was measured of the arms of a study on one model."""

    def __init__(self, design: Design, arms: Arms) -> None:
        self.design, self.arms = design, arms
        self.counted: dict[tuple[object, object], dict[int, float]] = {}
        """Organism, chain -> seed -> the share of the prompts that showed activating cues, where one counted it."""
        for (organism, chain, _, measurement, *_), seen in arms.items():
            for found in seen if measurement == "exposure" else ():  # of a chain the part that shows any
                of, seed = self.counted.setdefault((organism, chain), {}), found[0].state.seed
                of[seed] = max(of.get(seed, 0.0), _mean(found))

    def last(self, arm: Arm) -> dict[int, ReadSample]:
        """The rates of an arm at its end, by seed."""
        step = self.design.steps(arm)[-1] if arm.chain else 0
        seen = self.arms.get((arm.organism, arm.chain, step, RATE, "test", None), ())
        return {reading.state.seed: (reading, sample) for reading, sample in seen}

    def shown(self, arm: Arm, dose: float) -> dict[int, float]:
        """Seed -> the share of the prompts that did show activating cues: a dose of few prompts comes out as other
        shares than it asks for, or as none. Its own number where no treatment counted them."""
        return self.counted.get((arm.organism, arm.chain)) or dict.fromkeys(self.last(arm), dose)

    def halves(self, one: Series) -> dict[int, Half]:
        """Seed -> the dose to one half, of the seeds that were measured at every dose, had a policy before, and were
        shown two doses at least."""
        before = self.last(one.end.untreated)
        after = [self.last(arm) for arm in one.doses.values()]
        shown = [self.shown(arm, dose) for dose, arm in one.doses.items()]
        found: dict[int, Half] = {}
        for seed, start in sorted((seed, _mean(of)) for seed, of in before.items()):
            if start > 0 and all(seed in of for of in after) and all(seed in of for of in shown):
                given = [i for i, dose in enumerate(shown) if dose[seed] > 0]
                if len({shown[i][seed] for i in given}) > 1:
                    left = [_mean(after[i][seed]) / start for i in given]
                    found[seed] = half([shown[i][seed] for i in given], left)
        return found

    def half_records(self, one: Series, found: dict[int, Half]) -> Iterator[Record]:
        """Of each seed, then of all."""
        for seed, own in found.items():
            yield from self._either(one, seed, Estimate(own.value, *UNKNOWN, 1), (own.doses[1], own.doses[0]))
        if len(found) > 1:
            every = list(found.values())
            limit = min((own.value for own in every if own.beyond == "above"), default=None)
            floor = max((own.value for own in every if own.beyond == "below"), default=None)
            yield from self._either(one, None, pooled_half(every), (limit, floor))

    def _either(
        self, one: Series, seed: int | None, whole: Estimate, ends: tuple[float | None, float | None]
    ) -> Iterator[Record]:
        """In total and of each trigger. `ends`: at which it is that or more, and at which it is that or less."""
        for name, of in zip(HALF, (1.0, one.triggers), strict=True):
            scaled = Estimate(whole.value / of, whole.low / of, whole.high / of, whole.n)
            limit, floor = (None if end is None else end / of for end in ends)
            yield replace(self._made(one, name, seed, scaled), censored_at=limit, floor=floor)

    def exponent_records(self, some: Sequence[Series], found: Sequence[dict[int, Half]]) -> Iterator[Record]:
        """Seed by seed; of all seeds where it is known, and no bound, in every one."""
        known: dict[int, Exponent] = {}
        seeds = sorted(set.intersection(*map(set, found)))
        for seed in seeds:
            if one := exponent([each.triggers for each in some], [by_seed[seed] for by_seed in found]):
                known[seed] = one
        for seed, one in known.items():
            made = self._made(some[-1], EXPONENT, seed, Estimate(one.value, *UNKNOWN, 1))
            limit, floor = (one.value if one.beyond == way else None for way in ("above", "below"))
            yield replace(made, censored_at=limit, floor=floor)
        if len(seeds) == len(known) > 1 and not any(one.beyond for one in known.values()):
            whole = estimate(np.array([[one.value] for one in known.values()]), "number")
            yield self._made(some[-1], EXPONENT, None, whole)

    def _made(self, one: Series, name: str, seed: int | None, found: Estimate) -> Record:
        seen = [self.last(arm) for arm in reversed([*one.doses.values()])]
        readings = [by_seed[key][0] for by_seed in seen for key in sorted(by_seed) if seed in (None, key)]
        return record_of(readings, Sample(name, "test", (), (), "number"), seed, found)
