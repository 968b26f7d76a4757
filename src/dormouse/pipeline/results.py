"""From values that were measured item by item to records: one for each seed, and one that pools them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dormouse.claims.answer import answer_claims
from dormouse.claims.numbers import Numbers
from dormouse.claims.verdict import Verdict
from dormouse.errors import UserError
from dormouse.files import read_lines, write_lines
from dormouse.interventions.findings import SAMPLES
from dormouse.measurements.measurement import Sample
from dormouse.measurements.stats import Estimate, estimate, estimate_ratio, pooled, stack
from dormouse.pipeline.derived import Arms, Found, derived
from dormouse.pipeline.frontier import frontier
from dormouse.pipeline.plan import Plan, Reading
from dormouse.pipeline.stages import ANSWERS
from dormouse.provenance import Provenance
from dormouse.records import Answer, Record
from dormouse.sources import code_of
from dormouse.store import Entry, Store, digest

RECORDS = "records.jsonl"
ANSWERED = "claims.json"
"""The answers to the claims, in an entry of the store."""


@dataclass(frozen=True)
class Collected:
    """All that was seen of the arms on one model. `arms` are the values item by item, by place (see `derived.Arms`)."""

    model: str
    records: list[Record]
    answers: list[Answer]
    arms: Arms


def results_key(plans: Sequence[Plan], lost: Collection[str]) -> tuple[str, dict[str, Any]]:
    """The key of the results without what was lost, and what they are made from."""
    study = plans[0].design.study
    about = {
        "study": study.spec(),
        "readings": [
            [p.model, r.stage.key, r.state.organism, r.state.intervention, r.state.step, r.state.seed]
            for p in plans
            for r in p.readings
            if r.stage.key not in lost
        ],
        # how claims pair arms: a file that writes out the arms of a grid pairs them otherwise
        "grid": {name: [arm.base, dict(arm.axes)] for name, arm in study.origins().items()},
    }
    return digest(["results", about, code_of(make_results, collect, write_results, answer_claims)]), about


def make_results(plans: Sequence[Plan], store: Store, lost: Collection[str]) -> Entry:
    """Records, answers and claims of the whole study: a stage of its own, so that a finished study is read, not
    computed. What was lost is left out."""
    key, about = results_key(plans, lost)

    def build(folder: Path) -> None:
        collected = [collect(plan.model, _entries(plan, store, lost)) for plan in plans]
        write_results(collected, folder)
        numbers = Numbers()
        for one in collected:
            numbers.add_arms(one.model, one.arms)
            numbers.add_records(one.records)
        answered = [one.to_json() for one in answer_claims(plans[0].design, numbers)]
        (folder / ANSWERED).write_text(json.dumps(answered, indent=1))

    return store.get("results", key, about, build)[0]


def _entries(plan: Plan, store: Store, lost: Collection[str]) -> list[tuple[Reading, Entry]]:
    entries: list[tuple[Reading, Entry]] = []
    for reading in plan.readings:
        if reading.stage.key in lost:
            continue
        entry = store.find(reading.stage.kind, reading.stage.key)
        if entry is None:
            raise UserError(f"the stage '{reading.stage.name}' has gone from the store", "run the study again")
        entries.append((reading, entry))
    return entries


def write_results(collected: Sequence[Collected], out: Path) -> None:
    """Write records.jsonl and answers.jsonl of a study to `out`, model after model."""
    write_lines(out / RECORDS, (record.to_json() for one in collected for record in one.records))
    write_lines(out / ANSWERS, (answer.to_json() for one in collected for answer in one.answers))


def collect(model: str, entries: Sequence[tuple[Reading, Entry]]) -> Collected:
    """The records and the answers of a study on one model; `model` is its name in the study."""
    records: list[Record] = []
    answers: list[Answer] = []
    arms: dict[tuple[object, ...], list[tuple[Reading, Sample]]] = defaultdict(list)
    for reading, entry in entries:
        state = reading.state
        for step, sample in _samples(entry):
            here = reading if step is None else replace(reading, state=replace(state, step=reading.begins + step))
            records.append(_record([here], sample, state.seed, estimate(np.array([sample.values]), sample.aggregation)))
            arm = (state.organism, state.intervention, here.state.step, sample.measurement, sample.split, sample.at)
            arms[arm].append((here, sample))
        for answer in read_answers(entry.folder):
            answers.append(
                replace(
                    answer,
                    organism=state.organism,
                    intervention=state.intervention,
                    step=state.step,
                    seed=state.seed,
                    model=model,
                )
            )
    for together in arms.values():
        if len(together) > 1:
            found = pooled([(sample.items, sample.values) for _, sample in together], together[0][1].aggregation)
            records.append(_record([r for r, _ in together], together[0][1], None, found))
    records += _persistence(arms)
    records += derived(arms, _record)
    records += frontier(arms, _record)
    return Collected(model, [replace(record, model=model) for record in records], answers, arms)


def _groups(paired: Sequence[tuple[Found, Found]]) -> Iterator[tuple[Sequence[tuple[Found, Found]], int | None]]:
    """Each seed for itself, then all of them where they are several."""
    for pair in paired:
        yield [pair], pair[0][0].state.seed
    if len(paired) > 1:
        yield paired, None


def _persistence(arms: dict[tuple[object, ...], list[tuple[Reading, Sample]]]) -> list[Record]:
    """Persistence: the defection rate after a treatment over that before it, paired by seed and question."""
    records = []
    for (organism, intervention, _, measurement, split, at), after in arms.items():
        if measurement != "defection_rate" or not intervention or not after[0][0].plants:
            continue
        before = {found[0].state.seed: found for found in arms.get((organism, "", 0, measurement, split, at), ())}
        paired = [(found, before[found[0].state.seed]) for found in after if found[0].state.seed in before]
        for pairs, seed in _groups(paired):
            late = stack([(sample.items, sample.values) for (_, sample), _ in pairs])
            early = stack([(sample.items, sample.values) for _, (_, sample) in pairs])
            if early.mean() > 0:
                named = replace(after[0][1], measurement="persistence")
                readings = [reading for (reading, _), _ in pairs]
                records.append(_record(readings, named, seed, estimate_ratio(late, early)))
    return records


def _samples(entry: Entry) -> list[tuple[int | None, Sample]]:
    """The samples of a stage. What a treatment found has a step of its own; what was measured is of one state."""
    rows = read_lines(entry / SAMPLES)
    steps = [row.pop("step", None) for row in rows]
    samples = [Sample(**{**row, "items": tuple(row["items"]), "values": tuple(row["values"])}) for row in rows]
    return list(zip(steps, samples, strict=True))


def _record(readings: Sequence[Reading], sample: Sample, seed: int | None, found: Estimate) -> Record:
    state = readings[0].state
    return Record(
        organism=state.organism,
        intervention=state.intervention,
        step=state.step,
        measurement=sample.measurement,
        split=sample.split,
        seed=seed,
        value=found.value,
        ci_low=found.low if sample.limit is None else max(0.0, found.low),  # what has a limit is a time
        ci_high=found.high,
        n=found.n,
        needs_triggers=state.needs_triggers,
        at=sample.at,
        limit=sample.limit,
        parent=" ".join(reading.stage.key for reading in readings),
    )


def in_lines(records: Sequence[Record], as_json: bool = False) -> Iterator[str]:
    """Records for a terminal, a line each, or a JSON object each."""
    if as_json:
        yield from (json.dumps(record.to_json()) for record in records)
        return
    several = len({record.model for record in records}) > 1
    arms = [
        f"{r.organism}{f' + {r.intervention}' if r.intervention else ''}{f' on {r.model}' if several else ''}"
        for r in records
    ]
    wide = max(map(len, arms), default=0)
    for record, where in zip(records, arms, strict=True):
        what = record.measurement + (f" at {record.at:g}" if record.at is not None else "")
        seed = "all seeds" if record.seed is None else f"seed {record.seed}"
        told = "  (needs the triggers)" if record.needs_triggers else ""
        yield (
            f"{where:{wide}} step {record.step:<5} {what:34} {record.split:12} {seed:10} "
            f"{record.value:7.4f} [{record.ci_low:.4f}, {record.ci_high:.4f}] n={record.n}{told}"
        )


def read_records(folder: Path) -> list[Record]:
    """The records in a folder: of a finished study, or of its entry in the store."""
    return [Record.from_json(row) for row in read_lines(folder / RECORDS)]


def read_answers(folder: Path) -> list[Answer]:
    """The written answers in a folder."""
    return [Answer.from_json(row) for row in read_lines(folder / ANSWERS)]


def read_answered(folder: Path) -> list[Verdict]:
    """The answers to the claims of a study, from its entry in the store."""
    return [Verdict.from_json(row) for row in json.loads((folder / ANSWERED).read_text(encoding="utf-8"))]


def read_finished(folder: Path) -> tuple[list[Record], list[Answer], Provenance]:
    """Records, answers and background of the study whose results are in a folder.

    Raises:
        UserError: no finished study is there.
    """
    damaged = f"the results in {folder} are unfinished or damaged"
    try:
        said = json.loads((folder / "study.json").read_text(encoding="utf-8"))
        name, unfinished = str(said["name"]), said.get("stamp") == "unfinished"
    except FileNotFoundError:
        raise UserError(f"{folder} holds no results", "name the folder that `dormouse run` wrote to") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        where = "a run does not write into a folder of which nobody can say whose it is"
        raise UserError(damaged, f"run the study again, with another folder (--out): {where}") from error
    if unfinished:
        look = f"`dormouse status {folder}` says how it stands"
        raise UserError(f"{folder} holds no results of '{name}' yet", f"{look}; the same `dormouse run` goes on")
    try:
        records, answers, about = read_records(folder), read_answers(folder), Provenance.from_json(said["about"])
        if not records:
            raise ValueError("a finished study has records")
        return records, answers, about
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(damaged, "run the study again: it writes them anew") from error
