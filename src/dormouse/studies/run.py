"""Work through a plan, and write down what came out."""

from __future__ import annotations

import json
import os
import re
import secrets
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dormouse.errors import DormouseWarning, UserError
from dormouse.lm import zoo
from dormouse.organisms.sanity import read_sane
from dormouse.records import SANE_ENOUGH, ModelRef
from dormouse.registry import describe
from dormouse.report import write_report
from dormouse.sources import code_of
from dormouse.store import Entry, Store, digest
from dormouse.studies.claims import Numbers, answer_claims, claims_digest
from dormouse.studies.coordinates import Crossing
from dormouse.studies.derived import trained
from dormouse.studies.estimate import all_stages, forecast, missing, read_history
from dormouse.studies.executors import Watcher
from dormouse.studies.file import top_level
from dormouse.studies.plan import Plan, Reading, Stage, make_plan, read_code_anew, refuse_unknown_model
from dormouse.studies.references import in_use
from dormouse.studies.results import RECORDS, collect, read_answers, read_records, write_results
from dormouse.studies.spec import Study
from dormouse.studies.status import JOURNAL, Journal, why
from dormouse.studies.trainings import copy_logs
from dormouse.studies.work import make_executor, slots, work_through
from dormouse.verdicts import VERDICTS, Stated, Verdict, Verdicts

STUDY = "study.json"
CLAIMS = "claims.json"
"""The claims as they stood when the study was first run in a folder. It is written once."""
ANSWERED = "claims.json"
LONG_DEAD = 3600.0
"""Seconds after which a half-written file is one that a killed process left."""


def run_study(
    study: Study,
    text: str,
    out: Path,
    store: Store,
    watcher: Watcher,
    workers: int | None = None,
    executor: str = "local",
) -> None:
    """Run a study, or as much of it as is not in the store yet, and report on it in `out`.

    Args:
        text: the study file as it was written, for the report.
        workers: how many stages are worked on at a time, each in a process of its own where it is more than one;
            None leaves it to the machine, or to the cluster.
        executor: `local` (processes of this machine) or `ray` (a cluster).

    Raises:
        UserError: `out` holds something else, the model cannot be had, or a stage cannot be done; then all others are
            done, and the report shows the hole.
    """
    refuse_launched()
    claim_folder(out, study.name)
    plans = make_plans(study, store, lambda name: zoo.resolve(name, watcher.say))
    with in_use(store, out, study.name, _needs(plans)):  # before it is asked what is there: it may be pruned meanwhile
        _run(study, plans, text, out, store, watcher, workers, executor)


def _needs(plans: Sequence[Plan]) -> set[str]:
    """The keys of all entries of a study: of its stages, whether they are measured or not, and of its results."""
    waiting = [reading.stage for plan in plans for reading in plan.readings]
    waiting += [state.stage for plan in plans for state in plan.states]
    found = {_results_key(plans, ())[0]}
    while waiting:
        stage = waiting.pop()
        if stage.key not in found:
            found.add(stage.key)
            waiting += stage.parents
    return found


def _run(
    study: Study,
    plans: Sequence[Plan],
    text: str,
    out: Path,
    store: Store,
    watcher: Watcher,
    workers: int | None,
    executor: str,
) -> None:
    todo = missing(plans, store, lambda stage: store.find(stage.kind, stage.key) is not None)
    _begin(study, text, out, plans, store)
    journal = Journal(out / JOURNAL)
    workers = workers or (slots(executor, all_stages(plans)) if todo else 1)
    lost: dict[str, UserError] = {}
    if todo:
        journal.write("planned", **_planned(plans, todo, store, workers))
    try:
        if todo:
            doer = make_executor(executor, store, workers, watcher, journal)
            lost = work_through(todo, store, doer, watcher, journal)
        if not all(reading.stage.key in lost for plan in plans for reading in plan.readings):
            results = _results(plans, store, lost)
            _write_out(plans, text, out, store, results, watcher, lost)
        if lost:
            raise _incomplete(lost, todo)
    except BaseException as error:
        journal.write("ended", error=why(error))
        raise
    if todo:
        journal.write("ended")


def refuse_launched() -> None:
    """One process does a stage while the others would wait for it, and the training in it would wait for them.

    Raises:
        UserError: this is one of several processes that torchrun or accelerate launched.
    """
    processes = os.environ.get("WORLD_SIZE", "1")
    if processes not in ("", "1"):
        raise UserError(
            f"a study was launched as {processes} processes at once (torchrun, accelerate launch)",
            "start it once, plainly: it makes processes of its own (--workers, --executor ray). A training of your own "
            "may be launched so: dormouse.lm.train",
        )


def _incomplete(lost: Mapping[str, UserError], todo: Sequence[Stage]) -> UserError:
    """What is said at the end of a study with holes: each reason once, with the first stage that it stopped."""
    failed = [(stage, lost[stage.key]) for stage in todo if stage.key in lost]
    roots = [(stage, error) for stage, error in failed if not any(parent.key in lost for parent in stage.parents)]
    reasons = {error.what: f"{stage.name}: {error.what}" for stage, error in reversed(roots)}
    said = "; ".join(reversed(reasons.values()))
    beside = f" ({len(failed) - len(roots)} more stand on them)" if len(failed) > len(roots) else ""
    remedy = "; ".join(dict.fromkeys(error.remedy for _, error in roots))
    return UserError(
        f"{len(roots)} of {len(todo)} stages failed{beside}. {said}",
        f"{remedy}. All other stages are done; the same command tries these again",
    )


def make_plans(study: Study, store: Store, base: Callable[[str], ModelRef]) -> list[Plan]:
    """The stages of a study, model by model; `base` finds a model that is not made here."""
    for one in study.each:
        refuse_unknown_model(one)
    read_code_anew()
    crossing = Crossing(study)
    return [make_plan(one, None if one.micro else base(one.model), store, crossing) for one in study.each]


def _planned(plans: Sequence[Plan], todo: Sequence[Stage], store: Store, workers: int) -> dict[str, Any]:
    """What the journal says of the stages ahead: how many, and what they will take."""
    rows = forecast(all_stages(plans), todo, read_history(store))
    return {
        "todo": {kind: row.todo for kind, row in rows.items() if row.todo},
        "kept": {kind: row.kept for kind, row in rows.items() if row.kept},
        "seconds": {kind: row.each for kind, row in rows.items() if row.each},
        "workers": workers,
    }


def _design(study: Study, text: str) -> dict[str, Any]:
    """What a study file says beside its claims, key by key: seeds as they are, the rest as digests."""
    said = {str(key): value for key, value in top_level(text).items() if key not in ("name", "claims", "seeds")}
    return {"seeds": list(study.seeds), **{key: digest(json.dumps(value, default=str)) for key, value in said.items()}}


def _begin(study: Study, text: str, out: Path, plans: Sequence[Plan], store: Store) -> None:
    """Make the folder of the results, and put down what is claimed, of what study, and how much could be known then."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not (out / STUDY).is_file():
            _replace(out / STUDY, json.dumps({"name": study.name, "stamp": "unfinished"}))
        if not (out / CLAIMS).is_file():
            claims = [claim.model_dump(mode="json") for claim in study.claims]
            late = (out / RECORDS).is_file()
            said = {"digest": claims_digest(study.claims), "time": round(time.time()), "late": late, "claims": claims}
            asked = {(reading.stage.kind, reading.stage.key) for plan in plans for reading in plan.readings}
            said |= {"design": _design(study, text)}
            said |= {"known": sum(store.find(*stage) is not None for stage in asked), "measurements": len(asked)}
            _replace(out / CLAIMS, json.dumps(said, indent=1))
    except OSError as error:
        raise _unwritten(out, error) from error


def _unwritten(out: Path, error: OSError) -> UserError:
    return UserError(
        f"the results cannot be written to {out}: {error.strerror or error}",
        "free some space or mend the permissions, then run the same command: what was finished is kept",
    )


def claim_folder(out: Path, name: str) -> None:
    """Refuse an output folder that holds anything but an earlier run of the same study."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file", "name a folder for the results with --out")
    there: list[Path] = []
    try:
        there += out.iterdir() if out.is_dir() else ()  # before it is asked whose it is: another may begin meanwhile
        held = json.loads((out / STUDY).read_text())["name"] if (out / STUDY).is_file() else None
    except (OSError, ValueError, KeyError, TypeError):
        held = "something unreadable"
    if held not in (None, name):
        raise UserError(f"{out} holds the results of another study, '{held}'", "name another folder with --out")
    above = next(folder for folder in (out, *out.parents) if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise UserError(f"{out} cannot be made: {above} is not a folder to write to", "name another one with --out")
    if held is None and not all(path.match(_scratch(STUDY)) for path in there):
        raise UserError(f"{out} is not empty, and holds no study", "name a new or empty folder with --out")


def _results_key(plans: Sequence[Plan], lost: Collection[str]) -> tuple[str, dict[str, Any]]:
    """The key of the results without what was lost, and what they are made from."""
    study = plans[0].study
    about = {
        "study": study.spec(),
        "readings": [
            [p.study.model, r.stage.key, r.state.organism, r.state.intervention, r.state.step, r.state.seed]
            for p in plans
            for r in p.readings
            if r.stage.key not in lost
        ],
        # how claims pair arms: a file that writes out the arms of a grid pairs them otherwise
        "grid": {name: [arm.base, dict(arm.axes)] for name, arm in study.arms().items()},
    }
    return digest(["results", about, code_of(_results, collect, write_results, answer_claims)]), about


def _results(plans: Sequence[Plan], store: Store, lost: Collection[str]) -> Entry:
    """Records, answers and claims of the whole study: a stage of its own, so that a finished study is read, not
    computed. What was lost is left out."""
    study = plans[0].study
    key, about = _results_key(plans, lost)

    def build(folder: Path) -> None:
        collected = [collect(plan.study.model, _entries(plan, store, lost)) for plan in plans]
        write_results(collected, folder)
        numbers = Numbers()
        for one in collected:
            numbers.add_arms(one.model, one.arms)
            numbers.add_records(one.records)
        answered = [one.to_json() for one in answer_claims(study, numbers)]
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


def _write_out(
    plans: Sequence[Plan],
    text: str,
    out: Path,
    store: Store,
    results: Entry,
    watcher: Watcher,
    lost: Mapping[str, UserError],
) -> None:
    name = plans[0].study.name
    about = _about(plans, text, store) | _claims(plans[0].study, text, results, out)
    about["spent"] = _spent(plans, lost)
    about["honest_sane_share"] = _sane(plans, store, lost)
    about["missing"] = [f"{stage.name}: {lost[stage.key].what}" for stage in all_stages(plans) if stage.key in lost]
    stamp = digest([results.manifest["key"], about, code_of(write_report)])
    try:
        drawn = json.loads((out / STUDY).read_text())["stamp"] == stamp and (out / "report.html").is_file()
    except (OSError, ValueError, KeyError):
        drawn = False
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not drawn:
            _replace(out / STUDY, json.dumps({"name": name, "stamp": "unfinished"}))
        for file in ("records.jsonl", "answers.jsonl"):
            _replace(out / file, (results / file).read_text(encoding="utf-8"))
        _replace(out / "study.yaml", text)
        for plan in plans:
            _link_models(plan, out, lost, several=len(plans) > 1)
        if drawn:
            return
        watcher.say("writing the report")
        write_report(out, read_records(results.folder), read_answers(results.folder), about)
        _replace(out / STUDY, json.dumps({"name": name, "stamp": stamp, "about": about}, indent=1))
    except OSError as error:
        raise _unwritten(out, error) from error


def _replace(path: Path, text: str) -> None:
    with _swapped(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


@contextmanager
def _swapped(path: Path) -> Iterator[Path]:
    """A name of one's own, whose file then takes the place of another in one go: others may write there too."""
    scratch = path.with_name(_scratch(path.name, secrets.token_hex(4)))
    try:
        yield scratch
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
    for left in path.parent.glob(_scratch(path.name)):
        with suppress(FileNotFoundError):
            if time.time() - left.lstat().st_mtime > LONG_DEAD:
                left.unlink()


def _scratch(name: str, mark: str = "*") -> str:
    return f".{name}.{mark}.part"


def _link_models(plan: Plan, out: Path, lost: Collection[str], several: bool) -> None:
    """Name the models of the study in `out/models`: links into the store, and how to put each together."""
    for state in plan.states:
        if not state.ends or state.stage.key in lost:
            continue
        name = f"{state.organism}-seed{state.seed}" + (f"-{state.intervention}" if state.intervention else "")
        base = re.sub(r"[^A-Za-z0-9_.-]+", "-", plan.study.model).strip("-.")[-64:]
        folder = out / "models" / (f"{base}.{name}" if several else name)
        folder.mkdir(parents=True, exist_ok=True)
        chain = plan.study.interventions[state.intervention] if state.intervention else ()
        spec = plan.study.organisms[state.organism].seeded(state.seed).spec()  # the trigger that this seed planted
        card = {
            "model_organism": True,
            "folders": [str(path) for path in state.model.folders],
            "key": state.model.key,
            "chat": asdict(state.model.chat),
            "base": plan.study.model,
            "organism": spec,
            "intervention": state.intervention,
            "chain": [json.dumps(part.spec()) for part in chain],
            "seed": state.seed,
            "questions": plan.study.measure.questions,
        }
        _replace(folder / "dormouse.json", json.dumps(card, indent=1))
        with _swapped(folder / "weights") as link:
            link.symlink_to(state.model.folders[-1])
        treated = state.model.folders[len(state.model.folders) - len(chain) :]
        copy_logs([checkpoint.parent for checkpoint in treated], folder)


def _sane(plans: Sequence[Plan], store: Store, lost: Collection[str]) -> dict[str, dict[str, Any]]:
    """By model: the share of the clean model's answers that are sane, of how many, and what was found in them.

    A low share is said on the terminal, and at the top of the page.
    """
    found = {}
    for plan in plans:
        honest = [stage for stage in plan.stages() if stage.kind == "honest" and stage.key not in lost]
        if said := read_sane([stage.folder(store) for stage in honest]):
            share, n, counts = said
            found[plan.study.model] = {"share": share, "n": n, "found": counts}
            if share < SANE_ENOUGH:
                warnings.warn(
                    f"{plan.study.model}: only {share:.0%} of the clean model's answers are sane ({counts})",
                    DormouseWarning,
                    stacklevel=2,
                )
    return found


def _spent(plans: Sequence[Plan], lost: Collection[str]) -> list[list[str]]:
    """(organism, what is to be known): treatments whose budget of tokens was spent before their last step."""
    found = []
    for plan in plans:
        for state in (state for state in plan.states if state.ends and state.intervention):
            chain = plan.study.interventions[state.intervention]
            if state.stage.key in lost or not any(getattr(part, "token_budget", None) for part in chain):
                continue
            with suppress(OSError, ValueError, LookupError, TypeError):
                steps = sum(trained(folder, "steps") for folder in state.model.folders[-len(chain) :])
                if steps < state.step:
                    spent = f"the token budget of {state.intervention} was spent after {steps} of {state.step} steps"
                    said = f"Seed {state.seed}: {spent}; what stands at later steps is of that state."
                    found.append([state.organism, said])
    return found


def _claims(study: Study, text: str, results: Entry, out: Path) -> dict[str, Any]:
    """What was claimed, the answers, and which claims, and what else of the study, are not as they stood before the
    first run."""
    now = {claim.id: claim.model_dump(mode="json") for claim in study.claims}
    try:
        first = json.loads((out / CLAIMS).read_text(encoding="utf-8"))
        then = {str(claim["id"]): claim for claim in first["claims"]}
        stated: Stated | None = Stated(
            digest=str(first["digest"]),
            time=int(first["time"]),
            known=int(first.get("known") or 0),
            measurements=int(first.get("measurements") or 0),
        )
        late = bool(first.get("late"))
        edited = _edited(first.get("design"), _design(study, text))
    except (OSError, ValueError, KeyError, TypeError):
        stated, then, late, edited = None, {}, True, []
    changed = {name: "edited" if name in then else "added" for name in now if late or then.get(name) != now[name]}
    changed |= dict.fromkeys((name for name in then if name not in now), "taken out")
    if not now and not changed:
        return {}
    answers = map(Verdict.from_json, json.loads((results / ANSWERED).read_text(encoding="utf-8")))
    said = Verdicts(
        digest=claims_digest(study.claims),
        stated=stated,
        changed=changed,
        edited=tuple(edited),
        answers=tuple(answers),
    )
    return {VERDICTS: said.to_json()}


def _edited(then: Any, now: Mapping[str, Any]) -> list[str]:
    """The keys of a study file that are not as they were: `seeds (then 0, 1, 2)`. Nothing where it was not put down."""
    if not isinstance(then, Mapping):
        return []
    keys = [key for key in dict.fromkeys([*then, *now]) if then.get(key) != now.get(key)]
    seeds = f"seeds (then {', '.join(map(str, then.get('seeds') or ()))})"
    return [seeds if key == "seeds" else str(key) for key in keys]


def _about(plans: Sequence[Plan], text: str, store: Store) -> dict[str, Any]:
    """What stands behind the numbers: specification, versions, machine, stages with their parents and times."""
    import psutil

    study = plans[0].study
    packages = ("dormouse-lab", "torch", "transformers", "peft", "scipy", "statsmodels")
    stages = []
    for stage in all_stages(plans):
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
        "model": ", ".join(plan.study.model for plan in plans),
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
