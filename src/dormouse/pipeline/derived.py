"""Records that follow from others: how long a policy lived, what of it is left, ratios of two measurements."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dormouse.claims.numbers import SeedSample
from dormouse.errors import UserError
from dormouse.json_files import read_json
from dormouse.measurements.half_life import half_life, median_time
from dormouse.measurements.measurement import Aggregation, Sample
from dormouse.measurements.stats import (
    Estimate,
    estimate,
    estimate_ratio,
    items_of_one,
    log_odds,
    pooled,
    stack,
    table,
)
from dormouse.metrics import metric
from dormouse.metrics.unseen import Ends
from dormouse.pipeline.plan import PlannedReading
from dormouse.records import Record
from dormouse.studies.expected import RATIOS

ReadSample = tuple[PlannedReading, Sample]
Arms = Mapping[tuple[object, ...], Sequence[ReadSample]]
"""(organism, intervention, step, measurement, split, x) -> what was measured there, seed by seed."""


def by_seed(arms: Arms) -> dict[tuple[object, ...], list[SeedSample]]:
    """The same, as claims ask for it."""
    return {
        place: [SeedSample(reading.state.seed, reading.plants, sample) for reading, sample in found]
        for place, found in arms.items()
    }


def ends_of(sample: Sample) -> Ends:
    """The range of a quantity, or its budget: what has a limit is a time."""
    kind = metric(sample.measurement)
    return (kind.low, kind.high) if sample.censored_at is None else (0.0, min(kind.high, sample.censored_at))


def whole(samples: Sequence[Sample]) -> Estimate:
    """The number that samples of one seed, or of several, come to."""
    first, ends = samples[0], ends_of(samples[0])
    # What is exact and between 0 and 1 (an exposure) is one number, and no share of questions.
    exact = metric(first.measurement).unit == "number" and first.aggregation == "mean" and math.isfinite(sum(ends))
    how: Aggregation = "number" if exact else first.aggregation
    if len(samples) == 1:
        return estimate(np.array([first.values]), how, ends)
    return pooled([(sample.items, sample.values) for sample in samples], how, ends)


def record_of(readings: Sequence[PlannedReading], sample: Sample, seed: int | None, found: Estimate) -> Record:
    """The record of a value that was found from these readings; `seed` is None where it is of several."""
    state, (least, most) = readings[0].state, ends_of(sample)
    known = math.isfinite(found.low) and math.isfinite(found.high)
    return Record(
        organism=state.organism,
        intervention=state.intervention,
        step=state.step,
        measurement=sample.measurement,
        split=sample.split,
        seed=seed,
        value=found.value,
        ci_low=float(min(found.value, max(least, found.low))) if known else None,
        ci_high=float(max(found.value, min(most, found.high))) if known else None,
        n=found.n,
        needs_triggers=state.needs_triggers,
        x=sample.x,
        censored_at=sample.censored_at,
        parent=" ".join(stage.key for reading in readings for stage in (reading.stage, *reading.beside)),
    )


def derived(arms: Arms) -> list[Record]:
    """Records that follow from what was measured of one model."""
    found = [*_log_odds_lost(arms), *_half_lives(arms)]
    return [*found, *_ratios(arms)]


def _log_odds_lost(arms: Arms) -> Iterator[Record]:
    """`log_odds_lost`: of a treatment, paired by seed and question. It does not saturate as a ratio of rates does."""
    for (organism, intervention, _, measurement, split, x), after in arms.items():
        if measurement != "defection_rate" or not intervention or not after[0][0].plants:
            continue
        sample = replace(_named(after[0][1], "log_odds_lost"), aggregation="number")
        for seed, some in _by_seed(after, arms.get((organism, "", 0, measurement, split, x), ())):
            late, early = (
                stack([(of[side][1].items, tuple(map(log_odds, of[side][1].values))) for of in some]) for side in (0, 1)
            )
            if late.size:
                ends = float(early.mean()) - log_odds(1), float(early.mean()) - log_odds(0)
                lost = estimate(early - late, "number", ends)
                yield record_of([reading for (reading, _), _ in some], sample, seed, lost)


def _half_lives(arms: Arms) -> Iterator[Record]:
    """`steps_to_half`, `tokens_to_half`: of a treatment, until the defection rate is half of what it was.

    Of a seed with a bootstrap over questions; of all seeds their median (Kaplan-Meier), with the share of seeds that
    got there in `halved_share`. The limit is the budget: a number that reaches it means "not within the budget". Tokens
    are there where every checkpoint says how many were trained on.
    """
    ways: dict[tuple[object, object], dict[int, dict[int, ReadSample]]] = defaultdict(dict)
    for (organism, intervention, step, measurement, split, x), found in arms.items():
        trained = intervention and found[0][0].plants and not found[0][0].state.rungs
        if (measurement, split, x) == ("defection_rate", "test", None) and trained:
            way = ways[organism, intervention]
            way[int(str(step))] = {reading.state.seed: (reading, sample) for reading, sample in found}
    for (organism, _), way in ways.items():
        before = arms.get((organism, "", 0, "defection_rate", "test", None), ())
        way[0] = {reading.state.seed: (reading, sample) for reading, sample in before}
        seeds = sorted(set.intersection(*(set(at) for at in way.values())))
        followed = [[way[step][seed] for step in sorted(way)] for seed in seeds]
        yield from _lived(followed, "steps_to_half", _steps)
        yield from _lived(followed, "tokens_to_half", _tokens)


def _lived(
    followed: Sequence[Sequence[ReadSample]],
    name: str,
    count: Callable[[Sequence[ReadSample]], list[int] | None],
) -> Iterator[Record]:
    """The records of one way to count, from what was measured of each seed at each step."""
    times: list[float] = []
    limits: list[float] = []
    read: list[PlannedReading] = []
    for found in followed:
        places = count(found)
        values = stack([(sample.items, sample.values) for _, sample in found])
        if places is None or not values.size or values[0].mean() <= 0:
            continue
        # Where a budget of tokens is spent, later checkpoints hold the same state once more.
        fresh = [i for i, place in enumerate(places) if place not in places[:i]]
        places, values = [places[i] for i in fresh], values[fresh]
        if not places[-1]:
            continue  # nothing was trained (no trigger was located): nothing was withstood
        lived, limit = half_life(places, values), float(places[-1])
        # The last step comes first: the record is of that state.
        readings = [reading for reading, _ in reversed(found)]
        yield record_of(readings, _named(found[-1][1], name, limit), readings[0].state.seed, lived)
        times, limits, read = [*times, lived.value], [*limits, limit], [*read, *readings]
    if len(times) > 1:
        sample, limit = followed[0][-1][1], min(limits)
        yield record_of(read, _named(sample, name, limit), None, median_time(times, limit))
        if name == "steps_to_half":
            halved = np.array([[float(time < own) for time, own in zip(times, limits, strict=True)]])
            yield record_of(read, _named(sample, "halved_share"), None, estimate(halved, "proportion"))


def _steps(found: Sequence[ReadSample]) -> list[int]:
    """Steps trained by each state: those of its name, or fewer, where a budget of tokens was spent before."""
    return trained_since(found, "steps") or [reading.state.step for reading, _ in found]


def _tokens(found: Sequence[ReadSample]) -> list[int] | None:
    """Tokens trained on by each state, since the first of them; None where a checkpoint does not say."""
    return trained_since(found, "tokens")


def trained_since(found: Sequence[ReadSample], what: str) -> list[int] | None:
    """Steps or tokens trained by each state since the first of them; None where a checkpoint does not say."""
    planted = len(found[0][0].state.model.folders)
    try:
        return [
            sum(trained(checkpoint, what) for checkpoint in reading.state.model.folders[planted:])
            for reading, _ in found
        ]
    except (OSError, UserError, LookupError):
        return None


def trained(checkpoint: Path, what: str) -> int:
    """How many `steps` or `tokens` a training had done when it saved a checkpoint."""
    return read_json(checkpoint / "trained.json", dict[str, int])[what]


def _named(sample: Sample, measurement: str, censored_at: float | None = None) -> Sample:
    return replace(sample, measurement=measurement, censored_at=censored_at)


def _by_seed(
    these: Sequence[ReadSample], others: Sequence[ReadSample]
) -> Iterator[tuple[int | None, Sequence[tuple[ReadSample, ReadSample]]]]:
    """Each seed that both have for itself, then all of them where they are several."""
    at = {found[0].state.seed: found for found in others}
    pairs = [(found, at[found[0].state.seed]) for found in these if found[0].state.seed in at]
    for pair in pairs:
        yield pair[0][0].state.seed, [pair]
    if len(pairs) > 1:
        yield None, pairs


def _ratios(arms: Arms) -> Iterator[Record]:
    """The ratio of the means of two measurements of one state, paired by seed, and by item where all have the same."""
    for (*place, measurement, split, x), found in arms.items():
        if measurement not in RATIOS:
            continue
        other, name = RATIOS[str(measurement)]
        for seed, some in _by_seed(found, arms.get((*place, other, split, x), ())):
            sides = [[(pair[side][1].items, pair[side][1].values) for pair in some] for side in (0, 1)]
            top, base = map(table, sides)
            limit = found[0][1].censored_at
            if base.mean() > 0 and (limit is None or min(top.min(), base.min()) < limit):
                readings = [reading for (reading, _), _ in some]
                ratio = estimate_ratio(top, base, 1.0 if limit is None else limit, items_of_one(sides[0]))
                made = record_of(readings, _named(found[0][1], name), seed, ratio)
                yield bounded(made, *([pair[side][1] for pair in some] for side in (0, 1)))


def bounded(made: Record, top: Sequence[Sample], base: Sequence[Sample]) -> Record:
    """The record of a ratio of times: it is that or more where a time above reached its budget, that or less where one
    below did. Where both did it is neither, and has both bounds."""
    more, less = (
        any(one.censored_at is not None and max(one.values) >= one.censored_at for one in side) for side in (top, base)
    )
    return replace(made, censored_at=made.value if more else None, floor=made.value if less else None)
