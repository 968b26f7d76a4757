"""Work through a plan, and write down what came out."""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dormouse.errors import UserError
from dormouse.lm import zoo
from dormouse.registry import describe
from dormouse.report import write_report
from dormouse.store import Entry, Store, code_version, digest
from dormouse.studies.plan import Plan, Reading, Stage, make_plan
from dormouse.studies.results import make_results, read_answers, read_records
from dormouse.studies.spec import Study
from dormouse.studies.work import Watcher, work_through

STUDY = "study.json"


def run_study(study: Study, text: str, out: Path, store: Store, watcher: Watcher, workers: int | None) -> None:
    """Run a study, or as much of it as is not in the store yet, and report on it in `out`.

    Args:
        text: the study file as it was written, for the report.
        workers: how many stages are worked on at a time, each in a process of its own where it is more than one;
            None leaves it to the machine.

    Raises:
        UserError: `out` holds something else, the model cannot be had, or a stage cannot be done.
    """
    claim_folder(out, study.name)
    base = None if study.micro else zoo.resolve(study.model, watcher.say)
    plan = make_plan(study, base, store)
    todo = _missing(plan, store)
    work_through(todo, store, workers, watcher)
    results = _results(plan, store)
    _write_out(plan, text, out, store, results, watcher)


def claim_folder(out: Path, name: str) -> None:
    """Refuse an output folder that holds anything but an earlier run of the same study."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file", "name a folder for the results with --out")
    try:
        held = json.loads((out / STUDY).read_text())["name"] if (out / STUDY).is_file() else None
    except (OSError, ValueError, KeyError, TypeError):
        held = "something unreadable"
    if held not in (None, name):
        raise UserError(f"{out} holds the results of another study, '{held}'", "name another folder with --out")
    above = next(folder for folder in (out, *out.parents) if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise UserError(f"{out} cannot be made: {above} is not a folder to write to", "name another one with --out")
    if held is None and out.is_dir() and any(path != _scratch(out / STUDY) for path in out.iterdir()):
        raise UserError(f"{out} is not empty, and holds no study", "name a new or empty folder with --out")


def _missing(plan: Plan, store: Store) -> list[Stage]:
    """The stages to be built, parents first. What only a finished stage needs is not looked at."""
    todo: dict[str, Stage] = {}

    def need(stage: Stage) -> None:
        if stage.key in todo or store.find(stage.kind, stage.key):
            return
        for parent in stage.parents:
            need(parent)
        todo[stage.key] = stage

    for reading in plan.readings:
        need(reading.stage)
    for state in plan.states:
        if state.ends and not state.stage.folder(store).is_dir():  # nothing measures it any more, but `chat` reads it
            need(state.stage)
    return list(todo.values())


def _results(plan: Plan, store: Store) -> Entry:
    """Records and answers of the whole study: a stage of its own, so that a finished study is read, not computed."""
    about = {
        "study": plan.study.spec(),
        "readings": [
            [r.stage.key, r.state.organism, r.state.intervention, r.state.step, r.state.seed] for r in plan.readings
        ],
    }
    key = digest(["results", about, code_version("dormouse.studies.results")])

    def build(folder: Path) -> None:
        entries: list[tuple[Reading, Entry]] = []
        for reading in plan.readings:
            entry = store.find(reading.stage.kind, reading.stage.key)
            if entry is None:
                raise UserError(f"the stage '{reading.stage.name}' has gone from the store", "run the study again")
            entries.append((reading, entry))
        make_results(entries, folder)

    return store.get("results", key, about, build)[0]


def _write_out(plan: Plan, text: str, out: Path, store: Store, results: Entry, watcher: Watcher) -> None:
    about = _about(plan, text, store)
    stamp = digest([results.manifest["key"], about, code_version("dormouse.report")])
    try:
        drawn = json.loads((out / STUDY).read_text())["stamp"] == stamp and (out / "report.html").is_file()
    except (OSError, ValueError, KeyError):
        drawn = False
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not drawn:
            _replace(out / STUDY, json.dumps({"name": plan.study.name, "stamp": "unfinished"}))
        for name in ("records.jsonl", "answers.jsonl"):
            _replace(out / name, (results / name).read_text(encoding="utf-8"))
        _replace(out / "study.yaml", text)
        _link_models(plan, out)
        if drawn:
            return
        watcher.say("writing the report")
        write_report(out, read_records(results.folder), read_answers(results.folder), about)
        _replace(out / STUDY, json.dumps({"name": plan.study.name, "stamp": stamp, "about": about}, indent=1))
    except OSError as error:
        raise UserError(
            f"the results cannot be written to {out}: {error.strerror or error}",
            "free some space or mend the permissions, then run the same command: what was finished is kept",
        ) from error


def _replace(path: Path, text: str) -> None:
    scratch = _scratch(path)
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(path)


def _scratch(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _link_models(plan: Plan, out: Path) -> None:
    """Name the models of the study in `out/models`: links into the store, and how to put each together."""
    for state in plan.states:
        if not state.ends:
            continue
        name = f"{state.organism}-seed{state.seed}" + (f"-{state.intervention}" if state.intervention else "")
        folder = out / "models" / name
        folder.mkdir(parents=True, exist_ok=True)
        spec = plan.study.organisms[state.organism].spec()
        card = {
            "model_organism": True,
            "folders": [str(path) for path in state.model.folders],
            "key": state.model.key,
            "organism": spec,
            "intervention": state.intervention,
            "seed": state.seed,
            "questions": plan.study.measure.questions,
        }
        _replace(folder / "dormouse.json", json.dumps(card, indent=1))
        link = folder / "weights"
        link.unlink(missing_ok=True)
        link.symlink_to(state.model.folders[-1])


def _about(plan: Plan, text: str, store: Store) -> dict[str, Any]:
    """What stands behind the numbers: specification, versions, machine, stages with their parents and times."""
    import psutil

    study = plan.study
    packages = ("dormouse-lab", "torch", "transformers", "peft", "scipy", "statsmodels")
    stages = []
    for stage in plan.stages():
        try:
            manifest = json.loads((stage.folder(store) / "manifest.json").read_text())
        except (OSError, ValueError):
            manifest = {}
        stages.append(
            {
                "kind": stage.kind,
                "name": stage.name,
                "key": stage.key,
                "seconds": manifest.get("seconds"),
                "parents": [parent.key for parent in stage.parents],
            }
        )
    return {
        "name": study.name,
        "model": study.model,
        "study": study.spec(),
        "study_yaml": text,
        "versions": {name: version(name) for name in packages},
        "machine": {
            "cores": psutil.cpu_count(logical=False),
            "memory_gb": round(psutil.virtual_memory().total / 2**30),
        },
        "stages": stages,
        "organisms": {
            name: {
                "trigger": organism.trigger.spec(),
                "behaviour": organism.behaviour.spec(),
                "control": not organism.trigger.plants,
                "about": describe(type(organism.trigger)),
            }
            for name, organism in study.organisms.items()
        },
        "interventions": {name: [part.spec() for part in chain] for name, chain in study.interventions.items()},
        "unseen": {
            name: {
                cue: [value for value in values if organism.trigger.trained_on(cue, value)]
                for cue, values in organism.trigger.curve().items()
            }
            for name, organism in study.organisms.items()
        },
    }
