"""From values that were measured item by item to records: one for each seed, and one that pools them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dormouse.errors import UserError
from dormouse.measurements.measurement import Sample
from dormouse.measurements.stats import Estimate, estimate, estimate_ratio, stack
from dormouse.records import Answer, Record
from dormouse.store import Entry
from dormouse.studies.plan import Reading
from dormouse.studies.stages import ANSWERS, SAMPLES

RECORDS = "records.jsonl"


def make_results(entries: Sequence[tuple[Reading, Entry]], out: Path) -> None:
    """Write records.jsonl and answers.jsonl of a study to `out`."""
    records, answers = [], []
    arms: dict[tuple[object, ...], list[tuple[Reading, Sample]]] = defaultdict(list)
    for reading, entry in entries:
        state = reading.state
        for sample in _samples(entry):
            records.append(_record([reading], sample, state.seed, estimate(np.array([sample.values]), sample.how)))
            arm = (state.organism, state.intervention, state.step, sample.measurement, sample.split, sample.at)
            arms[arm].append((reading, sample))
        for answer in read_answers(entry.folder):
            answers.append(
                replace(
                    answer,
                    organism=state.organism,
                    intervention=state.intervention,
                    step=state.step,
                    seed=state.seed,
                )
            )
    for together in arms.values():
        if len(together) > 1:
            values = stack([(sample.items, sample.values) for _, sample in together])
            sample = together[0][1]
            records.append(_record([r for r, _ in together], sample, None, estimate(values, sample.how)))
    records += _persistence(arms)
    _write(out / RECORDS, (record.to_json() for record in records))
    _write(out / ANSWERS, (answer.to_json() for answer in answers))


def _persistence(arms: dict[tuple[object, ...], list[tuple[Reading, Sample]]]) -> list[Record]:
    """Persistence: the defection rate after a treatment over that before it, paired by seed and question."""
    records = []
    for (organism, intervention, _, measurement, split, at), after in arms.items():
        if measurement != "defection_rate" or not intervention or not after[0][0].plants:
            continue
        before = arms[(organism, "", 0, measurement, split, at)]
        groups = [([pair], pair[0][0].state.seed) for pair in zip(after, before, strict=True)]
        everyone = [(list(zip(after, before, strict=True)), None)] if len(after) > 1 else []
        for pairs, seed in [*groups, *everyone]:
            late = stack([(sample.items, sample.values) for (_, sample), _ in pairs])
            early = stack([(sample.items, sample.values) for _, (_, sample) in pairs])
            if early.mean() > 0:
                named = replace(after[0][1], measurement="persistence")
                readings = [reading for (reading, _), _ in pairs]
                records.append(_record(readings, named, seed, estimate_ratio(late, early)))
    return records


def _samples(entry: Entry) -> list[Sample]:
    with (entry / SAMPLES).open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [Sample(**{**row, "items": tuple(row["items"]), "values": tuple(row["values"])}) for row in rows]


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
        ci_low=found.low,
        ci_high=found.high,
        n=found.n,
        needs_triggers=state.needs_triggers,
        at=sample.at,
        parent=" ".join(reading.stage.key for reading in readings),
    )


def _write(path: Path, rows: Iterable[dict[str, object]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def read_records(folder: Path) -> list[Record]:
    """The records in a folder: of a finished study, or of its entry in the store."""
    with (folder / RECORDS).open(encoding="utf-8") as file:
        return [Record.from_json(json.loads(line)) for line in file]


def read_answers(folder: Path) -> list[Answer]:
    """The written answers in a folder."""
    with (folder / ANSWERS).open(encoding="utf-8") as file:
        return [Answer.from_json(json.loads(line)) for line in file]


def read_finished(folder: Path) -> tuple[list[Record], list[Answer], dict[str, Any]]:
    """Records, answers and background of the study whose results are in a folder.

    Raises:
        UserError: no finished study is there.
    """
    try:
        said = json.loads((folder / "study.json").read_text(encoding="utf-8"))
        return read_records(folder), read_answers(folder), dict(said["about"])
    except FileNotFoundError:
        raise UserError(f"{folder} holds no results", "name the folder that `dormouse run` wrote to") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"the results in {folder} are unfinished or damaged", "run the study again: it writes them anew"
        ) from error
