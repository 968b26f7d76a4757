"""The records of a study by place: which number stands where."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from dormouse.metrics.of_removals import AT_EQUAL_CAPABILITY
from dormouse.provenance import OrganismSetup, Provenance, on_model
from dormouse.records import Answer, Record
from dormouse.report.plain_text import one_line, steps_in_words

RENDERING = "rendering:"
_CHOSEN = frozenset(one.name for one in AT_EQUAL_CAPABILITY)
"""What stands at the end of a treatment, and was read at an earlier checkpoint (see `pipeline.frontier`)."""


class Moment(NamedTuple):
    """When something was measured: at checkpoint `step` of `intervention`; ("", 0) is before any safety training."""

    intervention: str
    step: int


BEFORE = Moment("", 0)


def by_model(
    records: Sequence[Record], answers: Sequence[Answer], about: Provenance
) -> tuple[Sequence[Record], Sequence[Answer], Provenance]:
    """Organisms on several models as different organisms: `year on micro-1m`. A study on one model is left as it is."""
    models = list(dict.fromkeys(record.model for record in records))
    if len(models) < 2:
        return records, answers, about

    return (
        [replace(record, organism=on_model(record.organism, record.model)) for record in records],
        [replace(answer, organism=on_model(answer.organism, answer.model)) for answer in answers],
        about.renamed(
            {on_model(name, model): name for model in models for name in about.organisms if about.is_on(name, model)}
        ),
    )


class RecordIndex:
    """The records of a study by place, pooled over seeds where a pooled record exists.

    Args:
        records: in any order; non-finite values count as not measured.
        about: what stands behind them.
    """

    def __init__(self, records: Sequence[Record], about: Provenance) -> None:
        self.about = about
        self.records = sorted(records, key=_order)
        self.controls = frozenset(name for name, setup in about.organisms.items() if setup.control)
        self.suspects = frozenset(name for name, setup in about.organisms.items() if not setup.told)
        named = dict.fromkeys([*about.organisms, *(record.organism for record in records)])
        self.organisms = tuple(sorted(named, key=lambda name: name in self.controls))
        self.interventions = tuple(
            name for name in dict.fromkeys([*about.interventions, *(r.intervention for r in records)]) if name
        )
        self._told = frozenset((r.organism, r.intervention) for r in records if r.needs_triggers and r.intervention)
        self.needs_triggers = frozenset(intervention for _, intervention in self._told)
        # What they count is not steps of training alone: surgery has rungs of strength.
        rungs = {(r.intervention, r.step) for r in records if r.measurement == "strength"}
        self.in_rungs = frozenset(intervention for intervention, _ in rungs)
        reached = rungs | {(r.intervention, r.step) for r in records if r.intervention in self.in_rungs}
        self._rungs, self._reached = (
            {name: sorted(step for one, step in found if one == name) for name in self.in_rungs}
            for found in (rungs, reached)
        )
        self._idle: dict[tuple[str, str], list[tuple[int, int]]] = {}
        """(organism, intervention) -> (seed, the step before) of removers for which no trigger was located."""
        for r in records:
            if r.measurement == "located_triggers" and r.value == 0 and r.seed is not None:
                self._idle.setdefault((r.organism, r.intervention), []).append((r.seed, r.step))
        self.seeds = tuple(sorted({r.seed for r in records if r.seed is not None}))
        self._at: dict[tuple[Any, ...], Record] = {}
        self._seeds_at: dict[tuple[Any, ...], dict[int, Record]] = {}
        several: set[str] = set()
        for record in self.records:
            if not math.isfinite(record.value):
                continue
            kept = self._at.setdefault(_place(record), record)
            if record.seed is not None:
                self._seeds_at.setdefault(_place(record), {})[record.seed] = record
            if kept.seed is not None and kept.seed != record.seed:
                several.add(record.measurement)
        self.unpooled = tuple(sorted(several))
        self._steps: dict[tuple[str, str], set[int]] = {}
        self._curves: dict[tuple[str, str, str, int], list[Record]] = {}
        self._anywhere: dict[tuple[Any, ...], Record] = {}
        for record in self._at.values():
            self._steps.setdefault((record.organism, record.intervention), set()).add(record.step)
            if record.x is not None:
                place = (record.measurement, record.organism, record.intervention, record.step)
                self._curves.setdefault(place, []).append(record)
            if record.x is None:
                self._anywhere.setdefault(_place(record)[:4], record)

    def is_told(self, organism: str, intervention: str) -> bool:
        """Whether a treatment was told the triggers of an organism: what tells of one may tell nothing of another."""
        return (organism, intervention) in self._told

    def planted(self) -> tuple[str, ...]:
        """The organisms that were taught a policy: all but the controls, and suspects of which nobody knows."""
        return tuple(name for name in self.organisms if name not in self.controls | self.suspects)

    def title(self, organism: str) -> str:
        """The name, with the word control where the name does not say it."""
        silent = organism in self.controls and "control" not in organism.lower()
        return f"{organism} (control)" if silent else organism

    def setup(self, organism: str) -> OrganismSetup:
        """What is known of an organism beside its numbers."""
        return self.about.setup(organism)

    def get(
        self, organism: str, moment: Moment, measurement: str, split: str = "test", x: float | None = None
    ) -> Record | None:
        """The number at a place. Split "" takes the only split there is, or the first by name."""
        if split:
            return self._at.get((organism, *moment, measurement, split, x))
        return self._anywhere.get((organism, *moment, measurement))

    def each_seed(self, record: Record) -> dict[int, float]:
        """Seed -> the number of that seed alone, in the place of a record."""
        return {seed: one.value for seed, one in self._seeds_at.get(_place(record), {}).items()}

    def last(self, organism: str, intervention: str) -> Moment | None:
        """The last checkpoint of an intervention on an organism, or None where there is none."""
        steps = self._steps.get((organism, intervention))
        return Moment(intervention, max(steps)) if steps and max(steps) > 0 else None

    def ended_early(self, organisms: Sequence[str], intervention: str, step: float = math.inf) -> str:
        """What to say behind the steps of a treatment that was not trained for them, or not up to the `step` of a
        checkpoint: a budget of tokens ended before, or no trigger was located. "" where all were done."""
        idle = sorted(
            {seed for name in organisms for seed, begins in self._idle.get((name, intervention), ()) if begins < step}
        )
        which = f" with seed {', '.join(map(str, idle))}" if len(idle) < len(self.seeds) else ""
        said = f" (no trigger was located{which}: the remover did nothing)" if idle else ""
        ended = (n for name, chain, n in self.about.ended if name in organisms and chain == intervention)
        steps = sorted({n for n in ended if n < step})
        if not steps:
            return said
        span = str(steps[0]) if len(steps) == 1 else f"{steps[0]} to {steps[-1]}"
        return f"{said} (the token budget ended after {span})"

    def moment_in_words(self, moment: Moment) -> str:
        """`after 40 steps`; of what counts rungs, which are no steps: `at rung 2 of 5`, `at the end`."""
        intervention, step = moment
        if not intervention:
            return "before safety training"
        if intervention not in self.in_rungs:
            return f"after {steps_in_words(step)}"
        rungs, reached = self._rungs[intervention], self._reached[intervention]
        if step == reached[-1]:
            return "at the end"
        kind, found = ("rung", rungs) if step in rungs else ("checkpoint", reached)
        return f"at {kind} {found.index(step) + 1} of {len(found)}" if step in found else f"at checkpoint {step}"

    def when(self, record: Record) -> str:
        """When something was measured, in words that the name of the intervention follows (a foreign string), if it
        has one."""
        moment = Moment(record.intervention, record.step)
        if record.measurement in _CHOSEN:
            chosen = self.get(record.organism, moment, "step_at_equal_capability")
            untreated = record.x is None and chosen is not None and chosen.value == 0
            return "untreated: no cheap checkpoint in" if untreated else "at the last cheap checkpoint of"
        return self.moment_in_words(moment) + (" of" if record.intervention else "")

    def when_named(self, record: Record) -> str:
        """The same with the name of the intervention, for a text of one line."""
        return f"{self.when(record)} {one_line(record.intervention)}".strip()

    def moments(self, organism: str) -> Iterator[Moment]:
        """Before any safety training, then the end of each intervention."""
        yield BEFORE
        for intervention in self.interventions:
            if moment := self.last(organism, intervention):
                yield moment

    def checkpoints(self, organism: str) -> Iterator[Moment]:
        """Every checkpoint of every intervention."""
        for intervention in self.interventions:
            for step in sorted(self._steps.get((organism, intervention), ())):
                yield Moment(intervention, step)

    def curve(self, organism: str, intervention: str, measurement: str, split: str = "test") -> list[Record]:
        """By step: the organism before safety training, then the checkpoints of the intervention."""
        steps = sorted(step for step in self._steps.get((organism, intervention), ()) if step > 0)
        moments = [BEFORE, *(Moment(intervention, step) for step in steps)]
        found = [self.get(organism, moment, measurement, split) for moment in moments]
        return [record for record in found if record]

    def along(self, measurement: str, organism: str, intervention: str) -> list[Record]:
        """The points of a measurement that is a curve (`at`), at the last step at which it was measured."""
        place = (measurement, organism, intervention)
        steps = [key[-1] for key in self._curves if key[:-1] == place]
        found = self._curves[(*place, max(steps))] if steps else []
        return sorted(found, key=lambda record: record.x or 0.0)

    def points(self, measurement: str) -> list[float]:
        """Every `at` of a measurement, of whatever organism, in order."""
        return sorted({r.x for r in self._at.values() if r.measurement == measurement and r.x is not None})

    def of_fewer_seeds(self) -> dict[tuple[str, Moment, tuple[int, ...]], set[str]]:
        """(organism, moment, seeds) -> what was measured there on these seeds alone, and not on all of the study's."""
        found: dict[tuple[str, Moment, tuple[int, ...]], set[str]] = {}
        for (organism, intervention, step, measurement, *_), seeds in self._seeds_at.items():
            moment = Moment(intervention, step)
            if len(seeds) < len(self.seeds) and moment in (BEFORE, self.last(organism, intervention)):
                found.setdefault((organism, moment, tuple(sorted(seeds))), set()).add(measurement)
        return found

    def renderings(self, organism: str) -> tuple[str, ...]:
        """The splits of an organism that are one rendering each, by name."""
        found = {r.split for r in self._at.values() if r.organism == organism and r.split.startswith(RENDERING)}
        return tuple(sorted(found))

    def splits(self, measurement: str) -> tuple[str, ...]:
        """The splits of a measurement, of whatever organism."""
        return tuple(dict.fromkeys(r.split for r in self._at.values() if r.measurement == measurement))

    def known_at(self, organism: str, moment: Moment) -> list[Record]:
        """All numbers of an organism at a moment, by name."""
        return [r for r in self._at.values() if r.organism == organism and Moment(r.intervention, r.step) == moment]


def _order(record: Record) -> tuple[Any, ...]:
    """Records by place, the pooled one first, then by seed."""
    x = -math.inf if record.x is None else record.x
    place = (record.organism, record.intervention, record.step, record.measurement, record.split, x)
    return (*place, record.seed is not None, record.seed or 0)


def _place(record: Record) -> tuple[Any, ...]:
    return (record.organism, record.intervention, record.step, record.measurement, record.split, record.x)
