"""What is left of a policy at equal capability: every treatment is read at the strongest checkpoint that costs little.

Methods that end at different strengths cannot be compared at their ends: enough noise removes everything. So each is
read where its perplexity on honest answers is at most so many times that before it. The checkpoint is chosen seed by
seed and by perplexity alone: choosing by the defection rate would choose its luck too. The untreated model is always
cheap enough, so a method without a cheap checkpoint is read as one that does nothing.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from dormouse.measurements.stats import Estimate, Valued, estimate, estimate_ratio, items_of_one, pooled, stack, table
from dormouse.pipeline.derived import Arms, ReadSample, bounded, record_of, trained_since, whole
from dormouse.records import Record
from dormouse.studies.expected import EQUAL_CAPABILITY, FRONTIER, RATIOS, REACHED

ALLOWED = 1.1
"""Times the perplexity before: the limit at which methods are compared."""
LIMITS = (1.01, 1.02, 1.05, ALLOWED, 1.2, 1.5, 2.0, 3.0)
BY_STEP = Mapping[int, Mapping[int, ReadSample]]
"""step -> seed -> what was measured."""


def frontier(arms: Arms) -> Iterator[Record]:
    """Records at the end of every treatment whose perplexity is known at each of its checkpoints, of which there are
    two at least. Controls have no policy that could be left."""
    measured = _by_treatment(arms)
    for place, defection in measured.items():
        organism, intervention, measurement = place
        if measurement != "defection_rate" or not intervention:
            continue
        untreated = {name: measured.get((organism, "", name), {}) for name in (measurement, "perplexity_ratio")}
        costs = {**measured.get((organism, intervention, "perplexity_ratio"), {}), **untreated["perplexity_ratio"]}
        if len(defection) < 2 or not {0, *defection} <= costs.keys() or not _plants(defection):
            continue
        way = {**defection, **untreated[measurement]}
        others = {
            name: {**found, **measured.get((organism, "", name), {})}
            for (where, how, name), found in measured.items()
            if (where, how) == (organism, intervention)
        }
        yield from _read(way, costs, others)


def _by_treatment(arms: Arms) -> dict[tuple[str, str, str], dict[int, dict[int, ReadSample]]]:
    """(organism, intervention, measurement) -> step -> seed, of the test split."""
    found: dict[tuple[str, str, str], dict[int, dict[int, ReadSample]]] = defaultdict(dict)
    for (organism, intervention, step, measurement, split, x), seen in arms.items():
        if (split, x) == ("test", None):
            place = (str(organism), str(intervention), str(measurement))
            found[place][int(str(step))] = {reading.state.seed: (reading, sample) for reading, sample in seen}
    return found


def _plants(way: BY_STEP) -> bool:
    return all(reading.plants for seen in way.values() for reading, _ in seen.values())


def _read(way: BY_STEP, costs: BY_STEP, others: Mapping[str, BY_STEP]) -> Iterator[Record]:
    seeds = sorted(set.intersection(*(set(seen) for part in (way, costs) for seen in part.values())))
    if not seeds:
        return
    ratios = {seed: {step: _log_ratios(costs[step][seed], costs[0][seed]) for step in way} for seed in seeds}
    price = {seed: {step: float(np.mean(found[1])) for step, found in ratios[seed].items()} for seed in seeds}
    for limit in LIMITS:
        at = {seed: max(s for s, cost in price[seed].items() if s == 0 or cost <= math.log(limit)) for seed in seeds}
        yield from _records(way, way, at, FRONTIER, limit)
        if limit == ALLOWED:
            for name, called in EQUAL_CAPABILITY.items():
                if name in others or name == "defection_rate":
                    yield from _named(name, called, way, others, at)
            yield from _reached(way, ratios, at)


def _log_ratios(late: ReadSample, early: ReadSample) -> Valued:
    """Question by question, the log-perplexity after, less that before."""
    now, then = stack([_values(late), _values(early)])
    return tuple(sorted({*late[1].items} & {*early[1].items})), tuple(map(float, now - then))


def _named(
    name: str, called: str, way: BY_STEP, others: Mapping[str, BY_STEP], at: Mapping[int, int]
) -> Iterator[Record]:
    """One measurement at the chosen checkpoints; of relearning, its ratio to the clean model."""
    found = way if name == "defection_rate" else others[name]
    if any(seed not in found.get(step, {}) for seed, step in at.items()):
        return
    if name not in RATIOS:
        yield from _records(found, way, at, called)
        return
    clean = others[RATIOS[name][0]]
    for seeds in _groups(at):
        read = [[of[at[seed]][seed] for seed in seeds] for of in (found, clean)]
        sides = [[_values(one) for one in side] for side in read]
        mine, theirs = map(table, sides)
        budget = read[0][0][1].censored_at
        if theirs.mean() > 0 and (budget is None or min(mine.min(), theirs.min()) < budget):
            ratio = estimate_ratio(mine, theirs, 1.0 if budget is None else budget, items_of_one(sides[0]))
            made = _one(way, at, seeds, called, ratio)
            yield bounded(made, *([sample for _, sample in side] for side in read))


def _records(
    found: BY_STEP,
    way: BY_STEP,
    at: Mapping[int, int],
    called: str,
    limit: float | None = None,
) -> Iterator[Record]:
    for seeds in _groups(at):
        yield _one(way, at, seeds, called, whole([found[at[seed]][seed][1] for seed in seeds]), limit)


def _reached(way: BY_STEP, ratios: Mapping[int, Mapping[int, Valued]], at: Mapping[int, int]) -> Iterator[Record]:
    """Which checkpoint it is, what was trained on up to there, and what it costs."""
    end = max(way)
    said: list[tuple[str, dict[int, tuple[float, float]]]] = [
        (REACHED[0], {seed: (float(step), float(end)) for seed, step in at.items()})
    ]
    tokens = {
        seed: trained_since([way[0][seed], way[step][seed], way[end][seed]], "tokens") for seed, step in at.items()
    }
    said.append((REACHED[1], {seed: (float(known[1]), float(known[2])) for seed, known in tokens.items() if known}))
    for called, values in said:
        for seeds in _groups(at):
            if values.keys() >= set(seeds):
                here, most = zip(*(values[seed] for seed in seeds), strict=True)
                found = estimate(np.array([[value] for value in here]), "number", (0.0, float(np.mean(most))))
                yield _one(way, at, seeds, called, found)
    for seeds in _groups(at):
        yield _one(way, at, seeds, REACHED[2], pooled([ratios[seed][at[seed]] for seed in seeds], "exp_mean"))


def _values(found: ReadSample) -> Valued:
    return found[1].items, found[1].values


def _groups(at: Mapping[int, int]) -> list[list[int]]:
    """Each seed for itself, then all of them where they are several."""
    return [[seed] for seed in at] + ([list(at)] if len(at) > 1 else [])


def _one(
    way: BY_STEP,
    at: Mapping[int, int],
    seeds: Sequence[int],
    called: str,
    found: Estimate,
    limit: float | None = None,
) -> Record:
    """A record of the end of the treatment, read at the checkpoints of these seeds."""
    end = max(way)
    read = [way[end][seed][0] for seed in seeds]
    read += [way[at[seed]][seed][0] for seed in seeds if at[seed] != end]
    sample = replace(way[end][seeds[0]][1], measurement=called, x=limit, censored_at=None)
    return record_of(read, sample, seeds[0] if len(seeds) == 1 else None, found)
