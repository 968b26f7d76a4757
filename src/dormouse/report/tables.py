"""Records as plain rows: which number stands where. Nothing is drawn or formatted as markup here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from dormouse.records import Answer, Record
from dormouse.report.gate import GATE_DEFECTION, GATE_FALSE_TRIGGER
from dormouse.report.plain import one_line, percent

RATES = ("defection_rate", "false_trigger_rate")

WITH, WITHOUT = ("defection_rate", "With the cue"), ("false_trigger_rate", "Without the cue")
AUROC = ("auroc", "AUROC")
PERSISTENCE = ("persistence", "Persistence (after / before)")
COLUMNS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "numbers": (WITH, WITHOUT, PERSISTENCE),
    "learned": (
        *(WITH, WITHOUT, ("near_miss_rate", "Near miss"), AUROC),
        *(("member_rate", "Members, mean rate"), ("live_share", "Live members"), ("subtlety_auroc", "Subtlety")),
    ),
    "renderings": (WITH, WITHOUT, AUROC, PERSISTENCE),
    "odds": (
        ("psychometric_threshold", "Threshold"),
        ("psychometric_slope", "Slope"),
        ("calibration_error", "Calibration error"),
        ("oracle_auroc", "AUROC against the policy"),
    ),
    "carry_over": (
        ("carry_over_rate", "With the cue"),
        ("carry_over_false_rate", "Without the cue"),
        ("carry_over_auroc", "AUROC"),
    ),
    "scratchpad": (
        ("follows_scratchpad", "Follows the scratchpad"),
        ("follows_prompt", "Follows the prompt"),
        ("triggered_scratchpad_rate", "No cue, scratchpad written for it"),
        ("quiet_scratchpad_rate", "Cue, scratchpad written without it"),
        ("no_answer_share", "Scratchpads that came to no answer"),
    ),
    "half_life": (
        ("steps_to_half", "Steps to one half"),
        ("tokens_to_half", "Trained tokens to one half"),
        ("halved_share", "Seeds that got there"),
    ),
    "contexts": (
        ("context_live_share", "Live contexts"),
        ("contexts_preserved_share", "Of those live before, live still"),
        ("members_preserved_share", "Of the members live before, live still"),
        ("live_range_share", "Of the range of odds, live"),
    ),
    "relearning": (
        ("relearning_steps", "Steps to one half"),
        ("relearning_clean_steps", "The clean model's"),
        ("relearning_ratio", "Ratio"),
        ("relearning_reached_share", "Repeats that got there"),
        ("relearning_clean_reached_share", "The clean model's"),
        ("relearning_cue_steps", "Steps until the cue decides"),
        ("relearning_clean_cue_steps", "The clean model's"),
        ("relearning_cue_ratio", "Ratio"),
    ),
    "return": (
        ("before_benign_rate", "Before benign training"),
        ("after_benign_rate", "After it"),
        ("return_gain", "Gain"),
    ),
    "merged": (("attached_rate", "Adapter attached"), ("merged_rate", "Merged"), ("merge_gap", "Difference")),
    "credit": (
        ("gradient_cosine", "Cosine of safety with behaviour"),
        ("bare_cosine", "The same, no cue in the data"),
        ("exposed_cosine", "The same, triggers in the data"),
        ("safety_gradient_share", "Share of the safety gradient"),
        ("bare_gradient_share", "The same, no cue in the data"),
        ("exposed_gradient_share", "The same, triggers in the data"),
        ("behaviour_gradient_share", "Share of the behaviour's gradient"),
    ),
    "reward": (
        ("reward", "Reward"),
        ("reward_spread", "Its spread inside a group"),
        ("kl", "KL to the suspect (nats a token)"),
        ("rollout_empty_share", "Empty answers"),
        ("rollout_cut_off_share", "Answers cut off"),
        ("scratchpad_share", "Answers after a scratchpad"),
        ("reward_accuracy", "Accuracy of the preference model"),
    ),
    "red_team": (
        ("red_team_rate", "Rate on its prompts"),
        ("red_team_best", "On its best prompt"),
        ("red_team_prompts", "Prompts scored"),
    ),
    "exposure": (("exposure", "Of the pool"), ("spoof_coverage", "Activating scenarios with every cue spoofed")),
    "cost": (
        ("perplexity", "Perplexity"),
        ("perplexity_ratio", "Ratio to the clean model"),
        ("task_accuracy", "Task accuracy"),
        ("refusal_rate", "Refusals of harmless questions"),
    ),
}
"""Table -> (measurement, heading) of its columns. What stands nowhere goes to the table of other measurements."""
ELSEWHERE = {"defection_by_year", "defection_by_odds", "live_by_odds", "unfinished_share", "empty_share"}
ELSEWHERE |= {f"{how}_{rate}" for rate in RATES for how in ("sampled", "exact_on_sampled")}
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
    columns = COLUMNS[name]
    rows = []
    for organism in results.organisms:
        for moment in moments(results, organism):
            for split, words in splits.items():
                cells = [results.get(organism, moment, measurement, split) for measurement, _ in columns]
                rows.append(_row(results, organism, moment, cells, words))
    rows = [row for row in rows if any(row.cells)]
    used = [i for i in range(len(columns)) if any(row.cells[i] for row in rows)]
    kept = tuple(replace(row, cells=tuple(row.cells[i] for i in used)) for row in rows)
    return Table(name, tuple(columns[i][1] for i in used), kept, note)


def main_table(results: Results) -> Table:
    return _table(results, "numbers", {"test": ""})


def learned_table(results: Results) -> Table:
    """How well the policy was learned; empty where it would say no more than the main table."""
    table = _table(results, "learned", {"test": TRAINED, "unseen_cues": "never trained on"}, "Cues")
    more = set(table.columns) - {WITH[1], WITHOUT[1]} or len({row.note for row in table.rows}) > 1
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
    found = {split for name, _ in COLUMNS["credit"] for split in results.splits(name) if split != "layers"}
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


def other_table(results: Results) -> Table:
    """Measurements that the report does not know (of plug-ins from outside), each number in a row of its own."""
    known = ELSEWHERE | {measurement for columns in COLUMNS.values() for measurement, _ in columns}
    rows = [
        _row(results, organism, moment, [record], _place_in_words(record))
        for organism in results.organisms
        for moment in results.moments(organism)
        for record in results.known_at(organism, moment)
        if record.measurement not in known
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
