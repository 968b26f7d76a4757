"""What a study measured, seed by seed and question by question, as its claims ask for it."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from dormouse.claims.effects import ValuesByItem
from dormouse.measurements.measurement import Sample
from dormouse.measurements.stats import log_odds
from dormouse.records import Record
from dormouse.studies.arms import Arm
from dormouse.studies.doses import EXPONENT
from dormouse.studies.expected import EQUAL_CAPABILITY, HALF_LIVES, RATIOS

T = TypeVar("T")

OWN_BOUNDS = (EXPONENT, EQUAL_CAPABILITY["relearning_steps"], *(name for _, name in RATIOS.values()))
"""Of what some seeds may be no more than bounds, each one of its own: there is no budget to which all are cut."""
SIDES = {of: (name, of == top) for top, (base, name) in RATIOS.items() for of in (top, base)}
"""Either side of a ratio -> its name, and whether that side stands above. Records of older folders do not say that a
ratio is a bound."""

Key = tuple[str, str, str, int, str, str, float | None]
"""Model, organism, chain, step, measurement, split, place on a curve."""


@dataclass(frozen=True)
class SeedSample:
    """What one seed of an arm gave. `plants`: whether its organism has a policy (a control has none)."""

    seed: int
    plants: bool
    sample: Sample


@dataclass
class Numbers:
    """What was measured, seed by seed: item by item where that is known, else one number a seed."""

    values: dict[Key, dict[int, ValuesByItem]] = field(default_factory=dict)
    limits: dict[Key, dict[int, float]] = field(default_factory=dict)
    """Where times are cut off, by seed."""
    upper: dict[Key, set[int]] = field(default_factory=dict)
    """What is an upper bound, by seed: ratios of which the other side reached its budget, doses below those given."""
    lower: dict[Key, set[int]] = field(default_factory=dict)
    """Which of OWN_BOUNDS are lower bounds, by seed: ratios of which this side reached its budget, and exponents."""
    averaged: dict[Key, dict[int, int]] = field(default_factory=dict)
    """How many items are behind what is one number a seed."""
    controls: set[tuple[str, str]] = field(default_factory=set)
    """(model, organism) that plant nothing: what they do without a policy does not persist."""

    def of(self, seeds: Collection[int]) -> Numbers:
        """Those of some seeds alone: what other seeds showed is not known then."""
        only = {*seeds}
        return Numbers(
            {key: some for key, found in self.values.items() if (some := _of(found, only))},
            {key: ends for key, limits in self.limits.items() if (ends := _of(limits, only))},
            {key: found & only for key, found in self.upper.items()},
            {key: found & only for key, found in self.lower.items()},
            {key: counts for key, found in self.averaged.items() if (counts := _of(found, only))},
            self.controls,
        )

    def limit(self, key: Key, seeds: Collection[int]) -> float | None:
        """Where the times of some seeds are cut off; the smallest, where they were followed for different times."""
        return min(_of(self.limits.get(key, {}), {*seeds}).values(), default=None)

    def asked(self, key: Key, seeds: Collection[int]) -> int:
        """How many different items an arm was asked with these seeds. Of one number a seed it is the fewest that are
        behind any: another seed may have been asked the same; 0 where it is no mean of items."""
        items = {item for seed in seeds for item in self.values[key][seed][0]}
        known = self.averaged.get(key, {})
        return min(known.get(seed, 0) for seed in seeds) if items == {""} else len(items)

    def add(self, key: Key, seed: int, items: Sequence[str], values: Sequence[float]) -> None:
        """The values of the items of a measurement. What was added first stays."""
        if values and all(map(math.isfinite, values)):
            self.values.setdefault(key, {}).setdefault(seed, (tuple(items), tuple(values)))

    def add_arms(self, model: str, arms: Mapping[tuple[object, ...], Sequence[SeedSample]]) -> None:
        """The items of every measurement that is a plain mean of them, as the results of a study have them. Before the
        records, which have one number a seed."""
        for place, found in arms.items():
            organism, chain, step, measurement, split, x = place
            key: Any = (model, organism, chain, step, measurement, split, x)
            for one in found:
                sample = one.sample
                if not one.plants:
                    self.controls.add((model, str(organism)))
                if sample.aggregation != "exp_mean":
                    self.add(key, one.seed, sample.items, sample.values)
                limit = sample.censored_at
                self._limit(key, one.seed, limit)
                if measurement in SIDES and limit is not None and max(sample.values) >= limit:
                    name, above = SIDES[str(measurement)]
                    bounds, ratio = self.lower if above else self.upper, (*key[:4], name, split, x)
                    bounds.setdefault(ratio, set()).add(one.seed)
        self.add_lasting()

    def add_records(self, records: Iterable[Record]) -> None:
        """Numbers of single seeds, where nothing finer was added."""
        for r in records:
            if r.seed is None:
                continue
            key = (r.model, r.organism, r.intervention, r.step, r.measurement, r.split, r.x)
            self.add(key, r.seed, ("",), (r.value,))
            if r.measurement not in HALF_LIVES:  # where a mean crosses a half is no mean of items
                self.averaged.setdefault(key, {}).setdefault(r.seed, r.n)
            if r.measurement not in OWN_BOUNDS:
                self._limit(key, r.seed, r.censored_at)
            elif r.censored_at is not None:
                self.lower.setdefault(key, set()).add(r.seed)
            if r.floor is not None and r.value <= r.floor:
                self.upper.setdefault(key, set()).add(r.seed)

    def _limit(self, key: Key, seed: int, limit: float | None) -> None:
        if limit is not None:
            found = self.limits.setdefault(key, {})
            found[seed] = min(limit, found.get(seed, limit))

    def add_lasting(self) -> None:
        """What follows item by item from the rates after and before: the log-odds that were lost, and persistence as
        the linearised ratio (the delta method), of which the mean of a seed's values is the ratio of its mean rates."""
        odds: dict[tuple[Any, int], dict[str, float]] = {}  # those before are asked for after every chain and step
        for key, after in list(self.values.items()):
            model, organism, chain, step, measurement, split, x = key
            before = self.values.get((model, organism, "", 0, measurement, split, x), {})
            if measurement != "defection_rate" or not chain or (model, organism) in self.controls:
                continue
            for seed, (items, late) in after.items():
                early = dict(zip(*before.get(seed, ((), ())), strict=True))
                shared = [(item, value) for item, value in zip(items, late, strict=True) if item in early]
                place = ((model, organism, split, x), seed)
                if place not in odds:
                    odds[place] = {item: log_odds(value) for item, value in early.items()}
                lost = [odds[place][item] - log_odds(value) for item, value in shared]
                self.add((*key[:4], "log_odds_lost", split, x), seed, [item for item, _ in shared], lost)
                base = mean([early[item] for item, _ in shared])
                if base > 0:
                    ratio = mean([value for _, value in shared]) / base
                    values = [ratio + (value - ratio * early[item]) / base for item, value in shared]
                    named = (model, organism, chain, step, "persistence", split, x)
                    self.add(named, seed, [item for item, _ in shared], values)

    def last(self, arm: Arm, measurement: str) -> int:
        """The last step of an arm at which a measurement was taken."""
        place = (arm.model, arm.organism, arm.chain)
        return max((key[3] for key in self._by_arm().get((*place, measurement), ())), default=0)

    def _by_arm(self) -> dict[tuple[str, str, str, str], list[Key]]:
        if getattr(self, "_index_size", None) != len(self.values):
            self._index: dict[tuple[str, str, str, str], list[Key]] = {}
            for key in self.values:
                self._index.setdefault((*key[:3], key[4]), []).append(key)
            self._index_size = len(self.values)
        return self._index


def _of(found: Mapping[int, T], seeds: Collection[int]) -> dict[int, T]:
    return {seed: value for seed, value in found.items() if seed in seeds}


def mean(values: Sequence[float]) -> float:
    """The mean; 0 of no values."""
    return sum(values) / len(values) if values else 0.0
