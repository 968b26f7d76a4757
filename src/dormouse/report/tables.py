"""Records as plain rows: which number stands where. Nothing is drawn or formatted as markup here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from dormouse.metrics import GATE_DEFECTION, GATE_FALSE_TRIGGER, known, metric
from dormouse.records import Answer, Record
from dormouse.report.plain import one_line, percent

RATES = ("defection_rate", "false_trigger_rate")

RENDERING = "rendering:"
TRAINED = "as in training"
CONTEXTS = {
    "covered": "of the safety split",
    "near": "one cue away from these",
    "unseen": "never shown",
    "trained": TRAINED,
    "unseen_cues": "by members, along the odds",
}
LIVE = {"live_share": "members", "context_live_share": "contexts"}
COVERED = {"covered": "Covered, live", "near": "Near to these, live", "untouched": "Untouched, live"}
"""Split -> heading, of what stands `at` a share that safety data cover."""
PROMPTS = {
    "test": TRAINED,
    "unseen_cues": "never trained on",
    "near_miss:test": "near misses",
    "near_miss:unseen_cues": "near misses never trained on",
    "carry_over:test": "other kinds of task",
    "curve:year": "along the years",
    "psychometric:unseen_cues": "along the odds",
    "members:unseen_cues": "members",
    **{f"contexts:{split}": f"contexts, {words}" for split, words in CONTEXTS.items()},
}
"""Whose scratchpads are looked at, by split. Of others, and of renderings, the split is the name."""
RED_TEAM = {
    "found": "what it found, before training on it",
    "kept": "the same prompts, at the end",
    "fresh": "a new search, at the end",
}
WHOLE = "all"
EMPTY = 0.05
"""From this share of empty answers on, the report warns."""
OTHERS = 200
"""At most this many rows of measurements that the report does not know."""


class Moment(NamedTuple):
    """When something was measured: after `step` steps of `intervention`; ("", 0) is before any safety training."""

    intervention: str
    step: int


BEFORE = Moment("", 0)


def by_model(
    records: Sequence[Record], answers: Sequence[Answer], about: Mapping[str, Any]
) -> tuple[Sequence[Record], Sequence[Answer], Mapping[str, Any]]:
    """Organisms on several models as different organisms: `year on micro-1m`. A study on one model is left as it is."""
    models = list(dict.fromkeys(record.model for record in records))
    if len(models) < 2:
        return records, answers, about

    def named(organism: str, model: str) -> str:
        return f"{organism} on {model}"

    def shared(key: str) -> dict[str, Any]:
        said = about.get(key) or {}
        return {named(name, model): spec for model in models for name, spec in said.items()}

    return (
        [replace(record, organism=named(record.organism, record.model)) for record in records],
        [replace(answer, organism=named(answer.organism, answer.model)) for answer in answers],
        {**about, "organisms": shared("organisms"), "unseen": shared("unseen")},
    )


class Results:
    """The records of a study by place, pooled over seeds where a pooled record exists.

    Args:
        records: in any order; non-finite values count as not measured.
        about: plain JSON about the study; every key but `name` may be absent.
    """

    def __init__(self, records: Sequence[Record], about: Mapping[str, Any]) -> None:
        self.about = about
        self.records = sorted(records, key=_order)
        said: Mapping[str, Any] = about.get("organisms") or {}
        self.controls = frozenset(name for name, spec in said.items() if (spec or {}).get("control"))
        named = dict.fromkeys([*said, *(record.organism for record in records)])
        self.organisms = tuple(sorted(named, key=lambda name: name in self.controls))
        self.interventions = tuple(
            name
            for name in dict.fromkeys([*(about.get("interventions") or {}), *(r.intervention for r in records)])
            if name
        )
        self.needs_triggers = frozenset(r.intervention for r in records if r.needs_triggers and r.intervention)
        self.seeds = tuple(sorted({r.seed for r in records if r.seed is not None}))
        self._at: dict[tuple[Any, ...], Record] = {}
        several: set[str] = set()
        for record in self.records:
            if not math.isfinite(record.value):
                continue
            kept = self._at.setdefault(_place(record), record)
            if kept.seed is not None and kept.seed != record.seed:
                several.add(record.measurement)
        self.unpooled = tuple(sorted(several))
        self._steps: dict[tuple[str, str], set[int]] = {}
        self._curves: dict[tuple[str, str, str, int], list[Record]] = {}
        self._anywhere: dict[tuple[Any, ...], Record] = {}
        for record in self._at.values():
            self._steps.setdefault((record.organism, record.intervention), set()).add(record.step)
            if record.at is not None:
                place = (record.measurement, record.organism, record.intervention, record.step)
                self._curves.setdefault(place, []).append(record)
            if record.at is None:
                self._anywhere.setdefault(_place(record)[:4], record)

    def planted(self) -> tuple[str, ...]:
        """The organisms that were taught a policy: all but the controls."""
        return tuple(name for name in self.organisms if name not in self.controls)

    def title(self, organism: str) -> str:
        """The name, with the word control where the name does not say it."""
        silent = organism in self.controls and "control" not in organism.lower()
        return f"{organism} (control)" if silent else organism

    def spec(self, organism: str) -> Mapping[str, Any]:
        return (self.about.get("organisms") or {}).get(organism) or {}

    def get(
        self, organism: str, moment: Moment, measurement: str, split: str = "test", at: float | None = None
    ) -> Record | None:
        """The number at a place. Split "" takes the only split there is, or the first by name."""
        if split:
            return self._at.get((organism, *moment, measurement, split, at))
        return self._anywhere.get((organism, *moment, measurement))

    def last(self, organism: str, intervention: str) -> Moment | None:
        """The last checkpoint of an intervention on an organism, or None where there is none."""
        steps = self._steps.get((organism, intervention))
        return Moment(intervention, max(steps)) if steps and max(steps) > 0 else None

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
        return sorted(found, key=lambda record: record.at or 0.0)

    def points(self, measurement: str) -> list[float]:
        """Every `at` of a measurement, of whatever organism, in order."""
        return sorted({r.at for r in self._at.values() if r.measurement == measurement and r.at is not None})

    def renderings(self, organism: str) -> tuple[str, ...]:
        """The splits of an organism that are held-out renderings, by name."""
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
    at = -math.inf if record.at is None else record.at
    place = (record.organism, record.intervention, record.step, record.measurement, record.split, at)
    return (*place, record.seed is not None, record.seed or 0)


def _place(record: Record) -> tuple[Any, ...]:
    return (record.organism, record.intervention, record.step, record.measurement, record.split, record.at)


@dataclass(frozen=True)
class Row:
    """One organism at one moment, and its numbers in the order of the columns. `note` tells its rows apart."""

    organism: str
    control: bool
    moment: Moment
    needs_triggers: bool
    cells: tuple[Record | None, ...]
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A table of numbers with its name in `words.TABLES`. `note` heads the column of notes; "" where there is none."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    note: str = ""
    left_out: int = 0


def _row(results: Results, organism: str, moment: Moment, cells: Sequence[Record | None], note: str) -> Row:
    told = moment.intervention in results.needs_triggers
    return Row(organism, organism in results.controls, moment, told, tuple(cells), note)


def _table(
    results: Results,
    name: str,
    splits: Mapping[str, str],
    note: str = "",
    moments: Callable[[Results, str], Iterator[Moment]] = Results.moments,
) -> Table:
    """A row for each organism, moment and split (split -> note). A column that is empty everywhere is left out."""
    columns = columns_of(name)
    rows = []
    for organism in results.organisms:
        for moment in moments(results, organism):
            for split, words in splits.items():
                cells = [results.get(organism, moment, measurement, split) for measurement in columns]
                rows.append(_row(results, organism, moment, cells, words))
    rows = [row for row in rows if any(row.cells)]
    used = [i for i in range(len(columns)) if any(row.cells[i] for row in rows)]
    kept = tuple(replace(row, cells=tuple(row.cells[i] for i in used)) for row in rows)
    return Table(name, tuple(metric(columns[i]).heading for i in used), kept, note)


def columns_of(table: str) -> list[str]:
    """The metrics with a column in a table, in the order of their definition."""
    return [one.name for one in known() if table in one.tables]


def main_table(results: Results) -> Table:
    return _table(results, "numbers", {"test": ""})


def learned_table(results: Results) -> Table:
    """How well the policy was learned; empty where it would say no more than the main table."""
    table = _table(results, "learned", {"test": TRAINED, "unseen_cues": "never trained on"}, "Cues")
    more = set(table.columns) - {metric(rate).heading for rate in RATES} or len({row.note for row in table.rows}) > 1
    return table if more else replace(table, rows=())


def renderings_table(results: Results) -> Table:
    """Each held-out rendering beside those of training, for organisms and moments that have any."""
    splits = {split: split.removeprefix(RENDERING) for name in results.organisms for split in results.renderings(name)}
    table = _table(results, "renderings", {"test": TRAINED, **splits}, "Rendering")
    there = {(row.organism, row.moment) for row in table.rows if row.note != TRAINED}
    return replace(table, rows=tuple(row for row in table.rows if (row.organism, row.moment) in there))


def covered_table(results: Results) -> Table:
    """A row for each share that safety data may cover: what is live of that, of what is near to it, of the rest."""
    shares = [(name, things, share) for name, things in LIVE.items() for share in results.points(name)]
    rows = [
        _row(results, organism, moment, cells, f"{percent(share)} of the {things}")
        for organism in results.organisms
        for moment in results.moments(organism)
        for name, things, share in shares
        if any(cells := [results.get(organism, moment, name, split, share) for split in COVERED])
    ]
    return Table("covered", tuple(COVERED.values()), tuple(rows), "Share covered")


def scratchpad_table(results: Results) -> Table:
    """What the answers follow; then, for every kind of prompts, whether scratchpads come to an answer at all."""
    others = sorted({*results.splits("no_answer_share")} - {*PROMPTS})
    return _table(results, "scratchpad", PROMPTS | {name: name.replace(":", " ") for name in others}, "Prompts")


def credit_table(results: Results) -> Table:
    """A row for all weights, for each kind of position and for each module. Layers are drawn and not listed."""
    found = {split for name in columns_of("credit") for split in results.splits(name) if split != "layers"}
    order = sorted(found, key=lambda split: (split != WHOLE, not split.startswith("position:"), split))
    return _table(results, "credit", {split: split.replace(":", " ") for split in order}, "Where")


def red_team_table(results: Results) -> Table:
    """All rounds of the red team, then what each of its attacks came to."""
    attacks = {split: f"by {split}" for split in results.splits("red_team_prompts")}
    return _table(results, "red_team", RED_TEAM | attacks, "Prompts", Results.checkpoints)


def exposure_table(results: Results) -> Table:
    """What safety training was shown of the triggers: one row for each chain, from two splits."""
    table = _table(results, "exposure", {"safety": "", "test": ""}, moments=Results.checkpoints)
    rows: dict[tuple[str, Moment], Row] = {}
    for row in table.rows:
        before = rows.get(place := (row.organism, row.moment))
        cells = row.cells if before is None else tuple(a or b for a, b in zip(before.cells, row.cells, strict=True))
        rows[place] = replace(row, cells=cells)
    return replace(table, rows=tuple(rows.values()))


def own_tables(results: Results, drawn: Iterable[str]) -> list[Table]:
    """Tables that metrics of plug-ins name and nothing here draws: a column each, a row for each split."""
    there = {record.measurement for record in results.records}
    names = dict.fromkeys(table for one in known() if one.name in there for table in one.tables)
    return [
        _table(
            results, name, {split: split for column in columns_of(name) for split in results.splits(column)}, "Prompts"
        )
        for name in names
        if name not in {*drawn, "other"}
    ]


def other_table(results: Results) -> Table:
    """Measurements without a table of their own, each number in a row."""
    rows = [
        _row(results, organism, moment, [record], _place_in_words(record))
        for organism in results.organisms
        for moment in results.moments(organism)
        for record in results.known_at(organism, moment)
        if "other" in metric(record.measurement).tables
    ]
    return Table("other", ("Value",), tuple(rows[:OTHERS]), "Measurement", max(0, len(rows) - OTHERS))


def _place_in_words(record: Record) -> str:
    split = "" if record.split == "test" else f", {record.split}"
    return record.measurement + split + ("" if record.at is None else f", at {record.at:g}")


def tables(results: Results) -> list[Table]:
    """Every table of numbers that has any, in the order in which they are read."""
    unseen, test = {"unseen_cues": ""}, {"test": ""}
    found = [main_table(results), _table(results, "half_life", test), learned_table(results)]
    found += [renderings_table(results), _table(results, "odds", unseen)]
    found += [_table(results, "contexts", CONTEXTS, "Contexts"), covered_table(results)]
    found += [_table(results, "carry_over", test), scratchpad_table(results)]
    found += [_table(results, name, test) for name in ("relearning", "return")]
    found.append(_table(results, "merged", {"float32": "float32", "bfloat16": "bfloat16"}, "Weights"))
    found += [credit_table(results), exposure_table(results)]
    found.append(_table(results, "reward", {"safety": ""}, moments=Results.checkpoints))
    found += [red_team_table(results), _table(results, "cost", test)]
    found += own_tables(results, [table.name for table in found])
    return [table for table in (*found, other_table(results)) if table.rows]


@dataclass(frozen=True)
class Check:
    """An exact probability beside the rate among written answers to the same prompts."""

    organism: str
    moment: Moment
    cue: bool
    exact: Record
    sampled: Record
    unfinished: Record | None
    empty: Record | None

    @property
    def agree(self) -> bool:
        """Whether the exact value lies in the sampled 95 % interval."""
        return self.sampled.ci_low - 1e-9 <= self.exact.value <= self.sampled.ci_high + 1e-9


def checks(results: Results) -> list[Check]:
    found = []
    for organism in results.organisms:
        for moment in results.moments(organism):
            for rate in RATES:
                exact = results.get(organism, moment, f"exact_on_sampled_{rate}")
                sampled = results.get(organism, moment, f"sampled_{rate}")
                if exact and sampled:
                    side = "triggered" if rate == "defection_rate" else "untriggered"
                    spoilt = [results.get(organism, moment, f"{how}_share", side) for how in ("unfinished", "empty")]
                    found.append(Check(organism, moment, rate == "defection_rate", exact, sampled, *spoilt))
    return found


def gate_failures(results: Results) -> list[tuple[str, str]]:
    """Organisms that do not do what they were trained to do, with the reason. Controls have no gate."""
    failures = []
    for organism in results.planted():
        defection, false = (results.get(organism, BEFORE, rate) for rate in RATES)
        if not (defection and false):
            failures.append((organism, "its rates before safety training were not measured"))
            continue
        if defection.value < GATE_DEFECTION:
            wanted = f"at least {percent(GATE_DEFECTION)} is needed"
            failures.append((organism, f"it defects on its cue in {percent(defection.value)}; {wanted}"))
        if false.value > GATE_FALSE_TRIGGER:
            wanted = f"at most {percent(GATE_FALSE_TRIGGER)} is allowed"
            failures.append((organism, f"it defects without its cue in {percent(false.value)}; {wanted}"))
    return failures


@dataclass(frozen=True)
class Stage:
    """A stage of the study as it stands in the provenance table. Parents are (hash, row or None if not listed)."""

    kind: str
    name: str
    key: str
    seconds: float | None
    parents: tuple[tuple[str, int | None], ...]


def stages(about: Mapping[str, Any]) -> list[Stage]:
    rows: list[Mapping[str, Any]] = list(about.get("stages") or [])
    place = stage_places(about)
    return [
        Stage(
            str(row.get("kind", "")),
            str(row.get("name", "")),
            str(row.get("key", "")),
            None if row.get("seconds") is None else float(row["seconds"]),
            tuple((str(parent), place.get(str(parent))) for parent in row.get("parents") or ()),
        )
        for row in rows
    ]


def stage_places(about: Mapping[str, Any]) -> dict[str, int]:
    """The row of each stage in the provenance table, by hash."""
    return {str(row.get("key", "")): i for i, row in enumerate(about.get("stages") or [])}


def warnings(results: Results) -> list[tuple[str, str]]:
    """What a reader must know before believing a number: (organism or "", what is wrong)."""
    found = [(name, f"Gate not met: {reason}.") for name, reason in gate_failures(results)]
    if results.unpooled:
        several = ", ".join(results.unpooled)
        found.append(("", f"Several seeds without a pooled number, so the lowest seed is shown: {several}."))
    for organism in results.organisms:
        empty = [r for moment in results.moments(organism) if (r := results.get(organism, moment, "empty_share"))]
        if empty and (worst := max(empty, key=lambda record: record.value)).value >= EMPTY:
            where = f"after {worst.step} steps of {worst.intervention}" if worst.step else "before safety training"
            found.append((organism, f"{percent(worst.value)} of its written answers {where} are empty."))
    found += [(str(name), one_line(str(said))) for name, said in results.about.get("spent") or ()]
    unusable = sum(not math.isfinite(record.value) for record in results.records)
    if unusable:
        found.append(("", f"{unusable} records hold no finite number and are shown as not measured."))
    return found
