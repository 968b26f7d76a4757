"""Executors by name: this machine, a Ray cluster, a Slurm cluster, and those that plug-ins bring.

A plug-in package names its own under the entry-point group `dormouse.executors`; `--executor NAME` then finds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Protocol

from dormouse.errors import UserError, with_type
from dormouse.execution.executors import Executor, Watcher
from dormouse.execution.journal import Journal
from dormouse.execution.stage import Stage
from dormouse.registry import nearest

GROUP = "dormouse.executors"
BUILT_IN = {
    "local": "dormouse.execution.local:LOCAL",
    "ray": "dormouse.execution.on_ray:RAY",
    "slurm": "dormouse.execution.on_slurm:SLURM",
}


class ExecutorKind(Protocol):
    """A way to do the stages of a study."""

    def slots(self, stages: Sequence[Stage]) -> int:
        """How many stages are worked on at a time where nobody says.

        Raises:
            UserError: what it needs is not there, or cannot be reached.
        """

    def make(self, root: Path, workers: int, threads: int, watcher: Watcher, journal: Journal) -> Executor:
        """An executor of `workers` jobs at a time, with `threads` threads each, for the store at `root`. Numbers depend
        on the threads of a stage: they have to be as many as is said. Raises as `slots`."""


def executor_kinds() -> dict[str, EntryPoint]:
    """Every executor that is installed, by name."""
    built_in = {name: EntryPoint(name, value, GROUP) for name, value in BUILT_IN.items()}
    return {entry.name: entry for entry in entry_points(group=GROUP)} | built_in


def executor_kind(name: str) -> ExecutorKind:
    """
    Raises:
        UserError: there is none of that name, or its package cannot be imported.
    """
    known = executor_kinds()
    if name not in known:
        raise UserError(
            f"there is no executor called '{name}'; {nearest(name, list(known))}", "see `dormouse run --help`"
        )
    try:
        found: ExecutorKind = known[name].load()
    except (UserError, KeyboardInterrupt):
        raise
    except BaseException as error:  # `sys.exit` too
        what = f"the executor '{name}' ({known[name].value}) cannot be imported: {with_type(error)}"
        raise UserError(what, "fix or uninstall that package") from error
    return found
