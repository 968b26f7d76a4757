"""Records as plain rows: which number stands where. Nothing is drawn or formatted as markup here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from dormouse.metrics import GATE_DEFECTION, GATE_FALSE_TRIGGER, known, metric
from dormouse.provenance import Provenance
from dormouse.records import ANYTHING, Record
from dormouse.report.plain_text import apart, one_line, percent
from dormouse.report.record_index import BEFORE, RENDERING, Moment, RecordIndex

RATES = ("defection_rate", "false_trigger_rate")

TRAINED = "as in training"
CONTEXTS = {
    "covered": "of the safety split",
    "near": "one cue away from these",
    "unseen": "never shown",
    "trained": TRAINED,
    "unseen_cues": "by members, along the odds",
}
LIVE_SHARES = {"live_share": "members", "context_live_share": "contexts"}
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
FAR = 0.2
"""How far an exact rate may lie from that of written answers, whose interval leaves it out, before it is said."""
NAMED = 6
"""More measurements than these are counted in a warning, not named."""
OTHERS = 200
"""At most this many rows of measurements that the report does not know."""


@dataclass(frozen=True)
class TableRow:
    """One organism at one moment, and its numbers in the order of the columns. `note` tells its rows apart."""

    organism: str
    control: bool
    moment: Moment
    needs_triggers: bool
    cells: tuple[Record | None, ...]
    note: str = ""

    @property
    def measured(self) -> Record:
        """The first of its numbers; a row has one."""
        return next(cell for cell in self.cells if cell)


@dataclass(frozen=True)
class Table:
    """A table of numbers with its name in `words.TABLES`. `note` heads the column of notes; "" where there is none."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]
    note: str = ""
    left_out: int = 0


def _row(results: RecordIndex, organism: str, moment: Moment, cells: Sequence[Record | None], note: str) -> TableRow:
    told = results.is_told(organism, moment.intervention)
    return TableRow(organism, organism in results.controls, moment, told, tuple(cells), note)


def _table(
    results: RecordIndex,
    name: str,
    splits: Mapping[str, str],
    note: str = "",
    moments: Callable[[RecordIndex, str], Iterator[Moment]] = RecordIndex.moments,
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


def main_table(results: RecordIndex) -> Table:
    """The main numbers: a row for each organism and moment, on the test split."""
    return _table(results, "numbers", {"test": ""})


def learned_table(results: RecordIndex) -> Table:
    """How well the policy was learned; empty where it would say no more than the main table."""
    table = _table(results, "learned", {"test": TRAINED, "unseen_cues": "never trained on"}, "Cues")
    more = set(table.columns) - {metric(rate).heading for rate in RATES} or len({row.note for row in table.rows}) > 1
    return table if more else replace(table, rows=())


def renderings_table(results: RecordIndex) -> Table:
    """Each held-out rendering beside those of training, for organisms and moments that have any."""
    splits = {split: split.removeprefix(RENDERING) for name in results.organisms for split in results.renderings(name)}
    table = _table(results, "renderings", {"test": TRAINED, **splits}, "Rendering")
    there = {(row.organism, row.moment) for row in table.rows if row.note != TRAINED}
    return replace(table, rows=tuple(row for row in table.rows if (row.organism, row.moment) in there))


def covered_table(results: RecordIndex) -> Table:
    """A row for each share that safety data may cover: what is live of that, of what is near to it, of the rest."""
    shares = [(name, things, share) for name, things in LIVE_SHARES.items() for share in results.points(name)]
    rows = [
        _row(results, organism, moment, cells, f"{percent(share)} of the {things}")
        for organism in results.organisms
        for moment in results.moments(organism)
        for name, things, share in shares
        if any(cells := [results.get(organism, moment, name, split, share) for split in COVERED])
    ]
    return Table("covered", tuple(COVERED.values()), tuple(rows), "Share covered")


def scratchpad_table(results: RecordIndex) -> Table:
    """What the answers follow; then, for every kind of prompts, whether scratchpads come to an answer at all."""
    others = sorted({*results.splits("no_answer_share")} - {*PROMPTS})
    return _table(results, "scratchpad", PROMPTS | {name: name.replace(":", " ") for name in others}, "Prompts")


def credit_table(results: RecordIndex) -> Table:
    """A row for all weights, for each kind of position and for each module. Layers are drawn and not listed."""
    found = {split for name in columns_of("credit") for split in results.splits(name) if split != "layers"}
    order = sorted(found, key=lambda split: (split != WHOLE, not split.startswith("position:"), split))
    return _table(results, "credit", {split: split.replace(":", " ") for split in order}, "Where")


def red_team_table(results: RecordIndex) -> Table:
    """All rounds of the red team, then what each of its attacks came to."""
    attacks = {split: f"by {split}" for split in results.splits("red_team_prompts")}
    return _table(results, "red_team", RED_TEAM | attacks, "Prompts", RecordIndex.checkpoints)


def exposure_table(results: RecordIndex) -> Table:
    """What safety training was shown of the triggers: one row for each chain, from two splits."""
    table = _table(results, "exposure", {"safety": "", "test": ""}, moments=RecordIndex.checkpoints)
    rows: dict[tuple[str, Moment], TableRow] = {}
    for row in table.rows:
        before = rows.get(place := (row.organism, row.moment))
        cells = row.cells if before is None else tuple(a or b for a, b in zip(before.cells, row.cells, strict=True))
        rows[place] = replace(row, cells=cells)
    return replace(table, rows=tuple(rows.values()))


def own_tables(results: RecordIndex, drawn: Iterable[str]) -> list[Table]:
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


def other_table(results: RecordIndex) -> Table:
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
    return record.measurement + split + ("" if record.x is None else f", at {record.x:g}")


def tables(results: RecordIndex) -> list[Table]:
    """Every table of numbers that has any, in the order in which they are read."""
    unseen, test = {"unseen_cues": ""}, {"test": ""}
    found = [main_table(results), _table(results, "half_life", test), learned_table(results)]
    found.insert(2, _table(results, "equal_capability", test))
    found += [_table(results, "spread", test), _table(results, "planting", {"check": ""})]
    found += [renderings_table(results), _table(results, "odds", unseen)]
    found += [_table(results, "contexts", CONTEXTS, "Contexts"), covered_table(results)]
    found += [_table(results, "carry_over", test), scratchpad_table(results)]
    found += [_table(results, name, test) for name in ("relearning", "return")]
    found.append(_table(results, "merged", {"float32": "float32", "bfloat16": "bfloat16"}, "Weights"))
    found += [credit_table(results), exposure_table(results)]
    found.append(_table(results, "reward", {"safety": ""}, moments=RecordIndex.checkpoints))
    found.append(_table(results, "ladder", {"safety": ""}, moments=RecordIndex.checkpoints))
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
        low, high = self.sampled.interval or ANYTHING
        return low - 1e-9 <= self.exact.value <= high + 1e-9


def checks(results: RecordIndex) -> list[Check]:
    """Exact rates beside those of sampled answers on the same prompts, and whether they agree."""
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


def gate_failures(results: RecordIndex) -> list[tuple[str, str]]:
    """Organisms that do not do what they were trained to do, with the reason. Controls have no gate."""
    failures = []
    for organism in results.planted():
        defection, false = (results.get(organism, BEFORE, rate) for rate in RATES)
        if not (defection and false):
            failures.append((organism, "its rates before safety training were not measured"))
            continue
        if defection.value < GATE_DEFECTION:
            wanted = f"at least {percent(GATE_DEFECTION)} is needed"
            failures.append((organism, f"it defects on its cue in {apart(defection.value, GATE_DEFECTION)}; {wanted}"))
        if false.value > GATE_FALSE_TRIGGER:
            wanted = f"at most {percent(GATE_FALSE_TRIGGER)} is allowed"
            often = apart(false.value, GATE_FALSE_TRIGGER)
            failures.append((organism, f"it defects without its cue in {often}; {wanted}"))
    return failures


def stage_places(about: Provenance) -> dict[str, int]:
    """The row of each stage in the provenance table, by hash."""
    return {stage.key: i for i, stage in enumerate(about.stages)}


OF_OPENINGS = "an opening that ends inside a word is scored by whole tokens, and a judge may see what a score does not."
OF_A_CONTRAST = (
    "the exact rate is a contrast, P(harmful) / (P(harmful) + P(honest)), and may be anything where the model gives "
    "neither response."
)


def _far_apart(results: RecordIndex) -> list[tuple[str, str]]:
    """Organisms of which the exact rate is another than that of written answers, by far: in the first such state."""
    apart_by = [one for one in checks(results) if not one.agree and abs(one.exact.value - one.sampled.value) > FAR]
    worst = {one.organism: one for one in reversed(apart_by)}
    return [
        (
            name,
            f"Exact and written rates are far apart: {percent(one.exact.value)} and {percent(one.sampled.value)} of "
            f"the same prompts, {results.when_named(one.exact)}. Believe the written answers: "
            + (OF_A_CONTRAST if results.setup(name).is_contrast else OF_OPENINGS),
        )
        for name, one in worst.items()
    ]


def _of_fewer_seeds(results: RecordIndex) -> Iterator[tuple[str, str]]:
    """Rows whose numbers stand among those of more seeds."""
    for (organism, moment, seeds), measured in results.of_fewer_seeds().items():
        every = {record.measurement for record in results.known_at(organism, moment)} == measured
        names = sorted(metric(name).heading for name in measured)
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        what = "every number" if every else ", ".join(names[:NAMED]) + more
        at = f"after {moment.intervention}" if moment.intervention else "before safety training"
        listed = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
        yield organism, one_line(f"Of {listed} alone, where the study has {len(results.seeds)} seeds: {what} {at}.")


def warnings(results: RecordIndex) -> list[tuple[str, str]]:
    """What a reader must know before believing a number: (organism or "", what is wrong)."""
    found = [(name, f"Gate not met: {reason}.") for name, reason in gate_failures(results)]
    if results.unpooled:
        several = ", ".join(results.unpooled)
        found.append(("", f"Several seeds without a pooled number, so the lowest seed is shown: {several}."))
    found += _of_fewer_seeds(results)
    for organism in results.organisms:
        empty = [r for moment in results.moments(organism) if (r := results.get(organism, moment, "empty_share"))]
        if empty and (worst := max(empty, key=lambda record: record.value)).value >= EMPTY:
            said = f"{percent(worst.value)} of its written answers {results.when_named(worst)} are empty."
            found.append((organism, said))
    found += _far_apart(results)
    found += [(name, one_line(said)) for name, said in results.about.spent]
    unusable = sum(not math.isfinite(record.value) for record in results.records)
    if unusable:
        found.append(("", f"{unusable} records hold no finite number and are shown as not measured."))
    return found
