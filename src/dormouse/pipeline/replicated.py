"""Values of replicates: one sample for each seed; and what differs between seeds, plantings, treatments, questions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from dormouse.measurements.stats import Estimate
from dormouse.metrics.of_comparisons import SPREAD
from dormouse.pipeline.derived import ReadSample, record_of
from dormouse.records import Record

Cells = Mapping[tuple[object, ...], Mapping[int, Sequence[ReadSample]]]
"""A place (see `derived.Arms`) -> seed -> what was measured of each of its replicates."""
SPREADS = tuple(metric.name for metric in SPREAD)
"""Of seeds, plantings, treatments and questions."""


def whole_seeds(arm: tuple[object, ...], cells: Cells) -> Iterator[Sequence[ReadSample]]:
    """What was measured of each seed at a place. After a treatment a seed of which a planting was lost there, or before
    the treatment, is left out: one side of what compares them would hold plantings that the other has not."""
    organism, _, _, *of = arm
    before = cells.get((organism, "", 0, *of), {})
    for seed, found in cells[arm].items():
        if seed not in before or _plantings(before[seed]) == _plantings(found):
            yield found


def _plantings(found: Sequence[ReadSample]) -> set[int]:
    return {reading.state.planting for reading, _ in found}


def merged(found: Sequence[ReadSample]) -> ReadSample:
    """The sample of a seed: where its replicates were asked the same items, their mean item by item (each planting
    counts alike, however many of its treatments were lost), else all of them, each with items of its own. So are times
    that have a budget: in a mean nobody sees which of them reached it."""
    reading, first = found[0]
    if len(found) == 1:
        return found[0]
    reading = replace(reading, beside=tuple(other.stage for other, _ in found[1:]))
    if first.censored_at is None and all(sample.items == first.items for _, sample in found):
        values = np.average([sample.values for _, sample in found], axis=0, weights=_weights(found))
        return reading, replace(first, values=tuple(map(float, values)))
    items = [f"{item} ({i + 1})" for i, (_, sample) in enumerate(found) for item in sample.items]
    return reading, replace(first, items=tuple(items), values=tuple(v for _, s in found for v in s.values))


def _weights(found: Sequence[ReadSample]) -> list[float] | None:
    """None where all count alike."""
    treated = Counter(reading.state.planting for reading, _ in found)
    if len(set(treated.values())) == 1:
        return None
    return [1 / treated[reading.state.planting] for reading, _ in found]


def spreads(cells: Cells) -> Iterator[Record]:
    """How much defection differs, in standard deviations, between seeds, between plantings of one trigger, between
    treatments of one organism, and between questions: components of variance of a nested design by the method of
    moments, with Satterthwaite's intervals (Searle, Casella and McCulloch 1992, sections 3.5 and 3.6).

    What is not replicated is in the level above: with one planting a seed, its spread is in that of seeds.
    """
    for (_, _, _, measurement, split, _), by_seed in cells.items():
        if measurement != "defection_rate" or split != "test":
            continue
        readings = [reading for found in by_seed.values() for reading, _ in found]
        sample = next(iter(by_seed.values()))[0][1]
        for name, found in _components(by_seed).items():
            yield record_of(readings, replace(sample, measurement=name), None, found)


def _components(by_seed: Mapping[int, Sequence[ReadSample]]) -> dict[str, Estimate]:
    tables = [_table(found) for found in by_seed.values()]
    if len(tables) < 2 or len({table.shape for table in tables}) > 1 or not tables[0].size:
        return {}  # seeds or replicates were lost, or asked other questions
    values = np.array(tables)
    """(seeds, plantings, treatments, questions)"""
    seeds, plantings, treatments, questions = values.shape
    means = values.mean(axis=3)
    levels: list[tuple[str, float, int, int]] = []
    """Name, mean square, degrees of freedom, and how many values of the lowest level stand below one of it."""
    of_plantings, of_seeds = means.mean(axis=2), means.mean(axis=(1, 2))
    if treatments > 1:
        square = ((means - of_plantings[:, :, None]) ** 2).sum() / (seeds * plantings * (treatments - 1))
        levels.append((SPREADS[2], float(square), seeds * plantings * (treatments - 1), 1))
    if plantings > 1:
        square = treatments * ((of_plantings - of_seeds[:, None]) ** 2).sum() / (seeds * (plantings - 1))
        levels.append((SPREADS[1], float(square), seeds * (plantings - 1), treatments))
    square = plantings * treatments * ((of_seeds - of_seeds.mean()) ** 2).sum() / (seeds - 1)
    levels.append((SPREADS[0], float(square), seeds - 1, plantings * treatments))
    found, below = {}, (0.0, 1)
    for name, mean_square, freedom, many in levels:
        found[name] = _component((mean_square, freedom), below, many, seeds)
        below = (mean_square, freedom)
    asked = {sample.items for some in by_seed.values() for _, sample in some}
    if questions > 1 and len(asked) == 1:  # others are in the spread of seeds
        found[SPREADS[3]] = _of_questions(values.mean(axis=(1, 2)))
    return found


def _of_questions(cells: np.ndarray) -> Estimate:
    """How much questions differ whatever the seed, from a value for each (seeds, questions): what differs from seed to
    seed is in their mean square too, and is subtracted as the level below."""
    seeds, questions = cells.shape
    of_questions = cells.mean(axis=0)
    left = cells - cells.mean(axis=1)[:, None] - of_questions + cells.mean()
    freedom = (seeds - 1) * (questions - 1)
    square = seeds * float(of_questions.var(ddof=1)), questions - 1
    return _component(square, (float((left**2).sum()) / freedom, freedom), seeds, seeds)


def _table(found: Sequence[ReadSample]) -> np.ndarray:
    """(plantings, treatments, questions) of a seed; flat where its replicates are not a whole table."""
    values = [sample.values for _, sample in found]
    shape = (
        len({reading.state.planting for reading, _ in found}),
        len({reading.state.treatment for reading, _ in found}),
    )
    whole = shape[0] * shape[1] == len(values) and len({sample.items for _, sample in found}) == 1
    return np.array(values).reshape(*shape, -1) if whole else np.zeros((0, len(values), 0))


def _component(here: tuple[float, int], below: tuple[float, int], many: int, n: int) -> Estimate:
    """The standard deviation of a level from its mean square and that of the level below, each with its degrees of
    freedom; the interval of one that is not surely above 0 (by an F test) begins there."""
    from scipy.stats import chi2, f

    (square, freedom), (lower, under) = here, below
    variance = max(0.0, square - lower) / many
    worth = (square - lower) ** 2 / (square**2 / freedom + lower**2 / under) if variance else 0.0
    if worth < 1:  # not above 0, or hardly: quantiles of less than one degree of freedom bound nothing
        high = square * freedom / float(chi2.ppf(0.025, freedom)) / many
        return Estimate(math.sqrt(variance), 0.0, max(math.sqrt(variance), math.sqrt(high)), n)
    low, high = (variance * worth / float(chi2.ppf(at, worth)) for at in (0.975, 0.025))
    above = not lower or float(f.sf(square / lower, freedom, under)) < 0.025
    return Estimate(math.sqrt(variance), math.sqrt(low) if above else 0.0, math.sqrt(high), n)
