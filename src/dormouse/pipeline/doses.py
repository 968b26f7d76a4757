"""The dose to one half, and how it grows with the number of triggers, from what was measured at every dose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from dormouse.measurements.dose_response import Exponent, Half, exponent, halves, pooled_half
from dormouse.measurements.measurement import Sample
from dormouse.measurements.stats import Estimate, estimate
from dormouse.pipeline.derived import Arms, Found, MakeRecord
from dormouse.records import Record
from dormouse.studies.arms import Arm
from dormouse.studies.design import Design
from dormouse.studies.doses import EXPONENT, HALF, Series, dose_series, growing

RATE = "defection_rate"


def dose_records(design: Design, model: str, arms: Arms, record: MakeRecord) -> list[Record]:
    """`ed50` and `ed50_each` of every series of doses, at the end of the arm with the largest; and the exponent of
    series that differ in the number of triggers, where the largest number is."""
    series = [one for one in dose_series(design) if one.end.model == model]
    found = {id(one): _halves(one, design, arms) for one in series}
    records = [made for one in series for made in _half_records(one, found[id(one)], design, arms, record)]
    for some in growing(series):
        records += _exponent_records(some, [found[id(one)] for one in some], design, arms, record)
    return records


def _last(arm: Arm, design: Design, arms: Arms) -> dict[int, Found]:
    """The rates of an arm at its end, by seed."""
    step = design.steps(arm)[-1] if arm.chain else 0
    seen = arms.get((arm.organism, arm.chain, step, RATE, "test", None), ())
    return {reading.state.seed: (reading, sample) for reading, sample in seen}


def _halves(one: Series, design: Design, arms: Arms) -> dict[int, Half]:
    """Seed -> the dose to one half, of the seeds that were measured at every dose and had a policy before."""
    before = _last(one.end.untreated, design, arms)
    after = [_last(arm, design, arms) for arm in one.doses.values()]
    start = {seed: _mean(found) for seed, found in before.items()}
    seeds = [seed for seed in sorted(start) if start[seed] > 0 and all(seed in found for found in after)]
    if not seeds:
        return {}
    left = np.array([[_mean(found[seed]) / start[seed] for found in after] for seed in seeds])
    return dict(zip(seeds, halves(list(one.doses), left), strict=True))


def _mean(found: Found) -> float:
    return float(np.mean(found[1].values))


def _half_records(
    one: Series, found: dict[int, Half], design: Design, arms: Arms, record: MakeRecord
) -> Iterator[Record]:
    each = [(seed, (half,)) for seed, half in found.items()]
    groups: list[tuple[int | None, tuple[Half, ...]]] = [*each, *([(None, tuple(found.values()))] * (len(found) > 1))]
    for seed, some in groups:
        whole = pooled_half(some) if len(some) > 1 else Estimate(some[0].value, some[0].value, some[0].value, 1)
        beyond = {half.beyond for half in some}
        limit = max(one.doses) if "above" in beyond else None
        floor = min(one.doses) if "below" in beyond else None
        for name, of in zip(HALF, (1.0, one.triggers), strict=True):
            scaled = Estimate(whole.value / of, whole.low / of, whole.high / of, whole.n)
            at = [None if edge is None else edge / of for edge in (limit, floor)]
            yield _record(one, name, seed, scaled, (at[0], at[1]), design, arms, record)


def _exponent_records(
    some: Sequence[Series], found: Sequence[dict[int, Half]], design: Design, arms: Arms, record: MakeRecord
) -> Iterator[Record]:
    """Seed by seed; of all seeds where it is known, and no bound, in every one."""
    known: dict[int, Exponent] = {}
    for seed in sorted(set.intersection(*map(set, found))):
        if one := exponent([each.triggers for each in some], [by_seed[seed] for by_seed in found]):
            known[seed] = one
    for seed, one in known.items():
        edges = (one.value if one.beyond == "above" else None, one.value if one.beyond == "below" else None)
        yield _record(
            some[-1], EXPONENT, seed, Estimate(one.value, one.value, one.value, 1), edges, design, arms, record
        )
    if len(known) > 1 and not any(one.beyond for one in known.values()):
        whole = estimate(np.array([[one.value] for one in known.values()]), "number")
        yield _record(some[-1], EXPONENT, None, whole, (None, None), design, arms, record)


def _record(
    one: Series,
    name: str,
    seed: int | None,
    found: Estimate,
    edges: tuple[float | None, float | None],
    design: Design,
    arms: Arms,
    record: MakeRecord,
) -> Record:
    seen = [_last(arm, design, arms) for arm in reversed([*one.doses.values()])]
    readings = [by_seed[key][0] for by_seed in seen for key in sorted(by_seed) if seed in (None, key)]
    sample = Sample(name, "test", (), (), "number")
    return replace(record(readings, sample, seed, found), limit=edges[0], floor=edges[1])
