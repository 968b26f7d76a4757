"""Run a study from Python."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import TypedDict, Unpack

from dormouse.api.results import Results
from dormouse.arguments import path_of
from dormouse.errors import UserError
from dormouse.registry import nearest, shortened
from dormouse.store import Store
from dormouse.studies.design import Design
from dormouse.studies.study import Study


class Shown(TypedDict, total=False):
    """How a study that runs is shown: `quiet` (lines in place of bars), `report_to` (trackers of experiments)."""

    quiet: bool
    report_to: str | Sequence[str]


def run(
    study: str | Path | Study,
    out: str | Path | None = None,
    *,
    store: str | Path | None = None,
    workers: int | None = None,
    executor: str = "local",
    overrides: Mapping[str, object] | None = None,
    **shown: Unpack[Shown],
) -> Results:
    """Run a study, or what is not finished of it, and return what came out. `dormouse run` from Python.

    Args:
        study: the path of a study file, or a `Study` made in code.
        out: the folder for the results; by default `runs/NAME`.
        store: the folder of finished stages; by default `$DORMOUSE_HOME/store`.
        workers: stages worked on at a time; by default as many as the machine has room for, and one where the study
            uses a plug-in that was defined in a notebook, which no other process could import.
        executor: `local` (processes of this machine), `ray` or `slurm` (a cluster).
        shown: `quiet=True` for lines in place of progress bars; `report_to="tensorboard"` (or `trackio`, `wandb`, or
            several) for losses and rates of each model as soon as it is measured.
        overrides: settings in place of those of the study, by dotted path: `{"measure.questions": 64, "seeds": 3}`.

    Raises:
        UserError: the study says something that it cannot, the model cannot be had, `out` holds something else, or a
            stage cannot be done; then all others are done.
    """
    _refuse_nonsense(study, workers, overrides, shown)
    design, text = _read(study, overrides or {})
    return Results(run_design(design, text, out, open_store(store), workers, executor, shown))


def _refuse_nonsense(study: object, workers: object, overrides: object, shown: Shown) -> None:
    for name in shown:
        if name not in Shown.__annotations__:
            named = [one for one in inspect.signature(run).parameters.values() if one.kind is not one.VAR_KEYWORD]
            known = [*(one.name for one in named), *Shown.__annotations__]
            raise UserError(f"dormouse.run has no setting '{name}'; {nearest(name, known)}", "see help(dormouse.run)")
    if not isinstance(study, str | Path | Study):
        raise UserError(f"a {type(study).__name__} is no study", "give the path of a study file, or a dormouse.Study")
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, Integral) or workers < 1):
        raise UserError(f"{shortened(repr(workers))} workers are none", "give a whole number from 1, or None")
    names = shown.get("report_to") or ()
    if not isinstance(names, str | Sequence) or not all(isinstance(name, str) for name in names):
        raise UserError(f"report_to={shortened(repr(names))} names no trackers", 'write report_to=["tensorboard"]')
    given = {} if overrides is None else overrides
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        what = f"overrides are a mapping with texts as keys, and this is {shortened(repr(overrides))}"
        raise UserError(what, 'write {"measure.questions": 64, "seeds": 3}')


def run_design(
    design: Design, text: str, out: str | Path | None, store: Store, workers: int | None, executor: str, shown: Shown
) -> Path:
    """Run what a study means, with `text` as its file, and return the folder of its results. Raises as `run`."""
    from dormouse.api.trackers import Tracking
    from dormouse.execution.known_executors import executor_kind
    from dormouse.pipeline.folder import claim_folder
    from dormouse.pipeline.live import LiveWatcher
    from dormouse.pipeline.run import run_study
    from dormouse.progress import watch
    from dormouse.stopping import listening

    executor_kind(executor)  # before anything is put down
    folder = path_of(out) if out is not None and out != "" else Path("runs") / design.study.name
    names = shown.get("report_to") or ()
    tracking = Tracking([names] if isinstance(names, str) else names, design.study.name, folder)
    claim_folder(folder, design.study.name)
    with listening(), watch(shown.get("quiet", False)) as watcher:
        live = LiveWatcher(watcher, tracking.tell) if tracking.names else None
        run_study(design, text, folder, store, live or watcher, workers and int(workers), executor)
        if live:
            tracking.end()
    return folder


def open_store(folder: str | Path | None) -> Store:
    """The finished stages in a folder; by default `$DORMOUSE_HOME/store`.

    Raises:
        UserError: it is no path, or no folder, or its name is no UTF-8; or it would lie in another store.
    """
    from dormouse.lm.folders import home
    from dormouse.outputs import refuse_in_store, refuse_odd_name

    path = (path_of(folder) if folder is not None and folder != "" else home() / "store").absolute()
    if os.path.exists(path) and not path.is_dir():
        raise UserError(f"the store {path} is no folder", "name another with --store or DORMOUSE_HOME")
    refuse_odd_name(path, "name another with --store or DORMOUSE_HOME")
    refuse_in_store(path)
    return Store(path)


def _read(study: str | Path | Study, overrides: Mapping[str, object]) -> tuple[Design, str]:
    """What a study means, and its text."""
    from dormouse.studies.faults import checked
    from dormouse.studies.file import parse_design, read_text, with_origin, with_overrides

    if not isinstance(study, Study):
        text, folder = read_text(Path(study)), Path(study).parent
        design = parse_design(text, str(study), overrides, folder)
        return design, with_origin(with_overrides(text, overrides), folder)
    if overrides:
        text = study.to_yaml()
        design = parse_design(text, study.name, overrides, study.folder)
        return design, with_origin(with_overrides(text, overrides), study.folder)
    design = checked(
        study,
        lambda place, fault: UserError(
            f"{'.'.join(str(part + 1 if isinstance(part, int) else part) for part in place)}: {fault.what}",
            fault.remedy,
        ),
    )
    return design, with_origin(study.to_yaml(), study.folder)
