"""From values that were measured item by item to records: one for each seed, and one that pools them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dormouse.claims.answer import answer_claims
from dormouse.claims.numbers import Numbers
from dormouse.claims.verdict import Verdict
from dormouse.entry import Entry
from dormouse.errors import UserError
from dormouse.interventions.findings import SAMPLES
from dormouse.json_files import AGAIN, digest, json_text, read_json, read_json_lines, write_json_lines
from dormouse.measurements.measurement import Sample, StepSample
from dormouse.measurements.stats import estimate_ratio, stack
from dormouse.pipeline.derived import Arms, ReadSample, by_seed, derived, record_of, whole
from dormouse.pipeline.frontier import frontier
from dormouse.pipeline.half_dose import dose_records
from dormouse.pipeline.items import write_items
from dormouse.pipeline.plan import Plan, PlannedReading, State
from dormouse.pipeline.preserved import preserved
from dormouse.pipeline.replicated import Cells, merged, spreads, whole_seeds
from dormouse.pipeline.stages import ANSWERS
from dormouse.provenance import Provenance, StudyFile, StudyHead
from dormouse.records import Answer, Record
from dormouse.sources import code_of
from dormouse.store import Store
from dormouse.studies.design import Design

RECORDS = "records.jsonl"
ANSWERED = "claims.json"
"""The answers to the claims, in an entry of the store."""
OTHER_FOLDER = (
    "run the study again, with another folder (--out): "
    "a run does not write into a folder of which nobody can say whose it is"
)


@dataclass(frozen=True)
class Collected:
    """All that was seen of the arms on one model. `arms` are the values item by item, by place (see `derived.Arms`)."""

    model: str
    records: list[Record]
    answers: list[Answer]
    arms: Arms


def results_key(plans: Sequence[Plan], lost: Collection[str]) -> tuple[str, dict[str, object]]:
    """The key of the results without what was lost, and what they are made from."""
    study = plans[0].design.study
    about: dict[str, object] = {
        "study": study.spec(),
        "readings": [
            [
                p.model,
                r.stage.key,
                r.state.organism,
                r.state.intervention,
                r.state.step,
                r.state.seed,
                r.state.replicate,
            ]
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
        """Fill the folder of the entry: records, answers, and answers to the claims."""
        collected = [collect(plan.model, _entries(plan, store, lost), plan.design) for plan in plans]
        write_results(collected, folder)
        numbers = Numbers()
        for one in collected:
            numbers.add_arms(one.model, by_seed(one.arms))
            numbers.add_records(one.records)
        (folder / ANSWERED).write_text(json_text(answer_claims(plans[0].design, numbers), indent=1))

    return store.get("results", key, about, build)[0]


def records_of(plan: Plan, store: Store, wanted: Callable[[State], bool]) -> list[Record]:
    """The records of some states of a study that may still run: what is there of them, and what follows from it."""
    found = [
        (reading, store.find(reading.stage.kind, reading.stage.key))
        for reading in plan.readings
        if wanted(reading.state)
    ]
    return collect(plan.model, [(reading, entry) for reading, entry in found if entry is not None]).records


def _entries(plan: Plan, store: Store, lost: Collection[str]) -> list[tuple[PlannedReading, Entry]]:
    entries: list[tuple[PlannedReading, Entry]] = []
    for reading in plan.readings:
        if reading.stage.key in lost:
            continue
        entry = store.find(reading.stage.kind, reading.stage.key)
        if entry is None:
            raise UserError(f"the stage '{reading.stage.name}' has gone from the store", "run the study again")
        entries.append((reading, entry))
    return entries


def write_results(collected: Sequence[Collected], out: Path) -> None:
    """Write records.jsonl, answers.jsonl and items.jsonl of a study to `out`, model after model."""
    write_json_lines(out / RECORDS, (record for one in collected for record in one.records))
    write_json_lines(out / ANSWERS, (answer for one in collected for answer in one.answers))
    write_items({one.model: one.arms for one in collected}, out)


def collect(model: str, entries: Sequence[tuple[PlannedReading, Entry]], design: Design | None = None) -> Collected:
    """The records and the answers of a study on one model; `model` is its name in the study.

    Args:
        design: of the study, where what follows from several of its arms is wanted too.
    """
    records: list[Record] = []
    answers: list[Answer] = []
    seen: dict[tuple[object, ...], dict[int, dict[tuple[int, int], ReadSample]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for reading, entry in entries:
        state = reading.state
        for step, sample in _samples(entry):
            here = reading if step is None else replace(reading, state=replace(state, step=reading.begins + step))
            arm = (state.organism, state.intervention, here.state.step, sample.measurement, sample.split, sample.x)
            # Where one part of a chain ends and the next begins both may have found something: the first stays.
            seen[arm][state.seed].setdefault((state.planting, state.treatment), (here, sample))
        for answer in read_answers(entry.folder):
            answers.append(
                replace(
                    answer,
                    organism=state.organism,
                    intervention=state.intervention,
                    step=state.step,
                    seed=state.seed,
                    model=model,
                    planting=state.planting,
                    treatment=state.treatment,
                )
            )
    cells: Cells = {arm: {s: [*found.values()] for s, found in by_seed.items()} for arm, by_seed in seen.items()}
    arms = {arm: kept for arm in cells if (kept := [merged(of) for of in whole_seeds(arm, cells)])}
    for reading, sample in (one for found in arms.values() for one in found):
        records.append(record_of([reading], sample, reading.state.seed, whole([sample])))
    if design and design.study.replicates.several:
        records += spreads(cells)
    for together in arms.values():
        if len(together) > 1:
            found = whole([sample for _, sample in together])
            records.append(record_of([r for r, _ in together], together[0][1], None, found))
    records += _persistence(arms)
    records += derived(arms)
    records += preserved(cells)
    records += frontier(arms)
    records += dose_records(design, model, arms) if design else []
    return Collected(model, [replace(record, model=model) for record in records], answers, arms)


def _groups(
    paired: Sequence[tuple[ReadSample, ReadSample]],
) -> Iterator[tuple[Sequence[tuple[ReadSample, ReadSample]], int | None]]:
    """Each seed for itself, then all of them where they are several."""
    for pair in paired:
        yield [pair], pair[0][0].state.seed
    if len(paired) > 1:
        yield paired, None


def _persistence(arms: dict[tuple[object, ...], list[tuple[PlannedReading, Sample]]]) -> list[Record]:
    """Persistence: the defection rate after a treatment over that before it, paired by seed and question."""
    records = []
    for (organism, intervention, _, measurement, split, x), after in arms.items():
        if measurement != "defection_rate" or not intervention or not after[0][0].plants:
            continue
        before = {found[0].state.seed: found for found in arms.get((organism, "", 0, measurement, split, x), ())}
        paired = [(found, before[found[0].state.seed]) for found in after if found[0].state.seed in before]
        for pairs, seed in _groups(paired):
            late = stack([(sample.items, sample.values) for (_, sample), _ in pairs])
            early = stack([(sample.items, sample.values) for _, (_, sample) in pairs])
            if early.mean() > 0:
                named = replace(after[0][1], measurement="persistence")
                readings = [reading for (reading, _), _ in pairs]
                records.append(record_of(readings, named, seed, estimate_ratio(late, early)))
    return records


def _samples(entry: Entry) -> list[tuple[int | None, Sample]]:
    """The samples of a stage. What a treatment found has a step of its own; what was measured is of one state."""
    return [(sample.step, sample) for sample in read_json_lines(entry / SAMPLES, StepSample)]


def _short(value: float) -> str:
    """Four decimals, or two digits where those would show nothing, or a whole that it is not."""
    if 0 < abs(value) < 5e-5:
        return f"{value:.1e}"
    return f"{value:.6f}" if 0.99995 <= value < 1 else f"{value:.4f}"


def _said(record: Record, value: float) -> str:
    """`>= 6.0000` for what stands for anything beyond, as on the page."""
    return f"{record.edge(value)} {_short(value)}".lstrip()


WIDEST = 160
"""Letters to which the names of arms are filled up: one that is longer, of a damaged file, makes no other line long."""


def in_lines(records: Sequence[Record], as_json: bool = False) -> Iterator[str]:
    """Records for a terminal, a line each, or a JSON object each."""
    if as_json:
        yield from (json_text(record) for record in records)
        return
    several = len({record.model for record in records}) > 1
    arms = [
        f"{r.organism}{f' + {r.intervention}' if r.intervention else ''}{f' on {r.model}' if several else ''}"
        for r in records
    ]
    wide = min(max(map(len, arms), default=0), WIDEST)
    for record, where in zip(records, arms, strict=True):
        what = record.measurement + (f" at {record.x:g}" if record.x is not None else "")
        seed = "all seeds" if record.seed is None else f"seed {record.seed}"
        told = "  (needs the triggers)" if record.needs_triggers else ""
        ends = f"[{', '.join(_said(record, end) for end in record.interval)}] " if record.interval else ""
        yield (
            f"{where:{wide}} step {record.step:<5} {what:34} {record.split:12} {seed:10} "
            f"{_said(record, record.value):>7} {ends}n={record.n}{told}"
        )


def read_records(folder: Path) -> list[Record]:
    """The records in a folder: of a finished study, or of its entry in the store.

    Raises:
        FileNotFoundError: there are none.
        UserError: a line is not whole.
    """
    return read_json_lines(folder / RECORDS, Record)


def read_answers(folder: Path) -> list[Answer]:
    """The written answers in a folder; raises as `read_records` does."""
    return read_json_lines(folder / ANSWERS, Answer)


def read_answered(folder: Path) -> list[Verdict]:
    """The answers to the claims of a study, from its entry in the store; raises as `read_records` does."""
    return read_json(folder / ANSWERED, list[Verdict])


def _with_cause(damaged: str, error: UserError) -> str:
    """What is said of results with a file that is no good; of what may not be read nobody knows whether it is."""
    return error.what if isinstance(error.__cause__, PermissionError) else f"{damaged}: {error.what}"


def read_finished(folder: Path) -> tuple[list[Record], list[Answer], Provenance]:
    """Records, answers and background of the study whose results are in a folder.

    Raises:
        UserError: no finished study is there, or a file of it is damaged: the message says which, where and how.
    """
    damaged = f"the results in {folder} are unfinished or damaged"
    try:
        head = StudyHead.read(folder, OTHER_FOLDER)
    except UserError as error:
        raise UserError(_with_cause(damaged, error), error.remedy) from error
    except FileNotFoundError:
        raise UserError(f"{folder} holds no results", "name the folder that `dormouse run` wrote to") from None
    if head.stamp == "unfinished":
        look = f"`dormouse status {folder}` says how it stands"
        raise UserError(f"{folder} holds no results of '{head.name}' yet", f"{look}; the same `dormouse run` goes on")
    try:
        records, answers, about = read_records(folder), read_answers(folder), StudyFile.read(folder).about
    except UserError as error:
        raise UserError(_with_cause(damaged, error), error.remedy) from error
    except FileNotFoundError as error:
        raise UserError(f"{damaged}: {error.filename} is missing", AGAIN) from error
    if not records or about is None:
        raise UserError(f"{damaged}: a finished study has records, and says what it was", AGAIN)
    return records, answers, about
