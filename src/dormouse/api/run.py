"""Run a study from Python."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dormouse.api.results import Results
from dormouse.errors import UserError
from dormouse.store import Store
from dormouse.studies.design import Design
from dormouse.studies.study import Study


def run(
    study: str | Path | Study,
    out: str | Path | None = None,
    *,
    store: str | Path | None = None,
    workers: int | None = None,
    executor: str = "local",
    quiet: bool = False,
    overrides: Mapping[str, object] | None = None,
) -> Results:
    """Run a study, or what is not finished of it, and return what came out. `dormouse run` from Python.

    Args:
        study: the path of a study file, or a `Study` made in code.
        out: the folder for the results; by default `runs/NAME`.
        store: the folder of finished stages; by default `$DORMOUSE_HOME/store`.
        workers: stages worked on at a time; by default as many as the machine has room for, and one where the study
            uses a plug-in that was defined in a notebook, which no other process could import.
        executor: `local` (processes of this machine) or `ray` (a cluster).
        quiet: lines in place of progress bars.
        overrides: settings in place of those of the study, by dotted path: `{"measure.questions": 64, "seeds": 3}`.

    Raises:
        UserError: the study says something that it cannot, the model cannot be had, `out` holds something else, or a
            stage cannot be done; then all others are done.
    """
    design, text = _read(study, overrides or {})
    return Results(run_design(design, text, out, open_store(store), workers, executor, quiet))


def run_design(
    design: Design, text: str, out: str | Path | None, store: Store, workers: int | None, executor: str, quiet: bool
) -> Path:
    """Run what a study means, with `text` as its file, and return the folder of its results. Raises as `run`."""
    from dormouse.pipeline.folder import claim_folder
    from dormouse.pipeline.run import run_study
    from dormouse.progress import watch
    from dormouse.stopping import listening

    folder = Path(out or Path("runs") / design.study.name)
    claim_folder(folder, design.study.name)
    with listening(), watch(quiet) as watcher:
        run_study(design, text, folder, store, watcher, workers, executor)
    return folder


def open_store(folder: str | Path | None) -> Store:
    """The finished stages in a folder; by default `$DORMOUSE_HOME/store`."""
    from dormouse.lm.folders import home

    return Store(Path(folder or home() / "store"))


def _read(study: str | Path | Study, overrides: Mapping[str, object]) -> tuple[Design, str]:
    """What a study means, and its text."""
    from dormouse.studies.faults import checked
    from dormouse.studies.file import parse_design, read_text, with_overrides

    if not isinstance(study, Study):
        text = read_text(Path(study))
        return parse_design(text, str(study), overrides, Path(study).parent), with_overrides(text, overrides)
    if overrides:
        text = study.to_yaml()
        return parse_design(text, study.name, overrides), with_overrides(text, overrides)
    design = checked(
        study,
        lambda place, fault: UserError(
            f"{'.'.join(str(part + 1 if isinstance(part, int) else part) for part in place)}: {fault.what}",
            fault.remedy,
        ),
    )
    return design, study.to_yaml()
