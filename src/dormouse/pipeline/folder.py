"""The folder of a study's results: whose it is, what is in it before and after the run, and links to the models."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from dormouse.card import CARD, CardFile, model_name
from dormouse.entry import Entry, entry_around
from dormouse.errors import UserError
from dormouse.execution.executors import Watcher
from dormouse.files import PERMIT, read_whole, replaced, scratch_name, sha256, swapped
from dormouse.json_files import Json, digest, json_text
from dormouse.lm.identity import identity
from dormouse.lm.joined_logs import join_logs
from dormouse.outputs import refuse_unwritable
from dormouse.pipeline.collect_provenance import noted, provenance
from dormouse.pipeline.items import ITEMS
from dormouse.pipeline.own_records import write_own
from dormouse.pipeline.plan import Plan, State
from dormouse.pipeline.results import RECORDS, read_answered, read_answers, read_records
from dormouse.pipeline.stages import ANSWERS
from dormouse.pipeline.stated import CLAIMS, stated_now, verdicts
from dormouse.pipeline.study_tasks import bank_of
from dormouse.provenance import STUDY, StudyHead
from dormouse.report import write_report
from dormouse.report.records_csv import NAME as CSV
from dormouse.scenarios import Question
from dormouse.sources import code_of
from dormouse.store import Store

DRAWN = ("report.html", "report.md", CSV)
TASKS = 24
"""Tasks of the user's own that a model's card holds."""


def claim_folder(out: Path, name: str) -> None:
    """Refuse an output folder that holds anything but an earlier run of the same study."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file", "name a folder for the results with --out")
    if os.path.lexists(out) and not out.exists():
        raise UserError(f"{out} is a link that leads nowhere", "name a folder for the results with --out")
    there: list[Path] = []
    try:
        there += out.iterdir() if out.is_dir() else ()  # before it is asked whose it is: another may begin meanwhile
        held = StudyHead.read(out).name if (out / STUDY).is_file() else None
    except PermissionError as error:
        remedy = f"{PERMIT}, or name another folder with --out"
        raise UserError(f"{out} cannot be read: {error.strerror}", remedy) from error
    except (OSError, UserError) as error:
        if isinstance(error.__cause__, PermissionError):
            raise
        held = "something unreadable"
    if held not in (None, name):
        raise UserError(f"{out} holds the results of another study, '{held}'", "name another folder with --out")
    refuse_unwritable(out)
    if held is None and not all(path.match(scratch_name(STUDY)) for path in there):
        raise UserError(f"{out} is not empty, and holds no study", "name a new or empty folder with --out")


def begin(plans: Sequence[Plan], text: str, out: Path, store: Store) -> None:
    """Make the folder of the results, and put down what is claimed, of what study, and how much could be known then."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not (out / STUDY).is_file():
            replaced(out / STUDY, json_text({"name": plans[0].design.study.name, "stamp": "unfinished"}))
        if not (out / CLAIMS).is_file():
            said = stated_now(plans, text, store, late=(out / RECORDS).is_file())
            replaced(out / CLAIMS, json_text(said, indent=1))
    except OSError as error:
        raise _unwritten(out, error) from error


def write_out(
    plans: Sequence[Plan],
    text: str,
    out: Path,
    store: Store,
    results: Entry,
    watcher: Watcher,
    lost: Mapping[str, UserError],
) -> None:
    """Write the results of a study into its folder, with its models and its report."""
    design = plans[0].design
    name = design.study.name
    about = provenance(plans, text, store, lost, verdicts(design, text, read_answered(results.folder), out))
    said = about.to_json()
    stamp = digest([results.manifest.key, said, code_of(write_report)])
    drawn = _is_drawn(out, stamp, said)
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not drawn:
            replaced(out / STUDY, json_text({"name": name, "stamp": "unfinished"}))
        for file in (RECORDS, ANSWERS, ITEMS):
            replaced(out / file, read_whole(results / file).decode())
        replaced(out / "study.yaml", text)
        models = named_models(plans, out)
        _link_models(models, store, lost)
        _unlink_others({folder.name for _, _, folder in models}, out)
        if drawn:
            return
        watcher.say("writing the report")
        write_report(out, read_records(results.folder), read_answers(results.folder), about)
        whole = {"name": name, "stamp": stamp, "about": said, "drawn": _drawn(out)}
        replaced(out / STUDY, json_text(whole, indent=1))
    except OSError as error:
        raise _unwritten(out, error) from error


def _drawn(out: Path) -> dict[str, str]:
    """The checksums of what is drawn from the results, by name."""
    files = [*(out / name for name in DRAWN), *sorted((out / "figures").glob("*.png"))]
    return {path.relative_to(out).as_posix(): sha256(path) for path in files if path.is_file()}


def _is_drawn(out: Path, stamp: str, said: dict[str, Json]) -> bool:
    """Whether a report of just that is in a folder, as it was written."""
    try:
        head = StudyHead.read(out)
        return head.stamp == stamp and json_text(head.about) == json_text(said) and head.drawn == _drawn(out)
    except (OSError, UserError):
        return False


def _unlink_others(ours: Collection[str], out: Path) -> None:
    """Take out of `out/models` what an earlier form of the study named there: links into the store, and logs."""
    for folder in (out / "models").iterdir() if (out / "models").is_dir() else ():
        if folder.name not in ours and (folder / CARD).is_file() and not folder.is_symlink():
            shutil.rmtree(folder)


def _link_models(models: Sequence[tuple[Plan, State, Path]], store: Store, lost: Collection[str]) -> None:
    """Name the models of the study in `out/models`: links into the store, and how to put each together; beside each of
    several replicates what was measured of it alone, since the records of the study are their means."""
    for plan, state, folder in models:
        if state.stage.key not in lost:
            link_model(plan, state, folder)
            own = folder / RECORDS
            if plan.design.study.replicates.several:
                with swapped(own) as scratch:
                    write_own(plan, store, state, scratch)
            else:
                own.unlink(missing_ok=True)  # of an earlier run, with replicates


def named_models(plans: Sequence[Plan], out: Path) -> list[tuple[Plan, State, Path]]:
    """The models of a study, each with its folder in `out/models`: two that would share one (`org/model` and a folder
    `org-model`, long paths that end alike) are told apart by a digest. So are names that differ in capitals alone,
    which are one name on many disks."""
    models = [
        (plan, state, _short(plan.model) if len(plans) > 1 else "")
        for plan in plans
        for state in plan.states
        if state.is_final
    ]
    times = Counter(_called(base, state).lower() for _, state, base in models)
    found = []
    for plan, state, base in models:
        if times[_called(base, state).lower()] > 1:
            whole = [plan.model, state.organism, state.seed, state.intervention, state.replicate]
            base = f"{base}-{digest(whole)[:8]}".strip("-")
        found.append((plan, state, out / "models" / _called(base, state)))
    return found


def _short(model: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", model).strip("-.")[-64:] or "model"


def _called(base: str, state: State) -> str:
    name = model_name(state.organism, state.seed, state.intervention) + state.replicate
    return f"{base}.{name}" if base else name


def link_model(plan: Plan, state: State, folder: Path) -> None:
    """Name one model of the study in its folder of the results, as `named_models` has it."""
    folder.mkdir(parents=True, exist_ok=True)
    chain = plan.design.chain(plan.arm(state))
    spec = plan.design.organism(plan.arm(state)).seeded(state.seed).spec()  # the trigger that this seed planted
    card = CardFile(
        folders=state.model.folders,
        key=state.model.key,
        chat=state.model.chat,
        base=plan.model,
        organism=spec,
        intervention=state.intervention,
        chain=tuple(json_text(part.spec()) for part in chain),
        seed=state.seed,
        questions=plan.design.study.measure.questions,
        trained_in=tuple(noted(checkpoint.parent for checkpoint in state.model.folders)),
        own_tasks=plan.own is not None,
        tasks=_own_tasks(plan, state.organism),
        system=plan.design.study.tasks.system,
        base_identity=identity(state.model.folders[0]) if entry_around(state.model.folders[0]) is None else None,
    )
    replaced(folder / CARD, json_text(card, indent=1))
    with swapped(folder / "weights") as link:
        link.symlink_to(state.model.folders[-1])
    treated = state.model.folders[len(state.model.folders) - len(chain) :]
    join_logs([checkpoint.parent for checkpoint in treated], folder)


def _own_tasks(plan: Plan, organism: str) -> tuple[Question, ...]:
    """Some held-out tasks of the user's own on which an organism shows its behaviour; none where it works on
    dormouse's."""
    if plan.own is None:
        return ()
    one = plan.design.study.organisms[organism]
    held_out = plan.own.questions[bank_of(one.trigger).name, "test"]
    return tuple(task for task in held_out if one.behaviour.shown(task))[:TASKS]


def _unwritten(out: Path, error: OSError) -> UserError:
    return UserError(
        f"the results cannot be written to {out}: {error.strerror or error}",
        "free some space or fix the permissions, then run the same command: what was finished is kept",
    )
