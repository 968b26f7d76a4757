"""Where stages are worked on: in this process, in processes of this machine, or on a Ray cluster.

Numbers depend on how many threads a stage has, so that is a function of `workers` alone, never of what happens to run
beside it: a study that was killed and taken up again gives the same bits.
"""

from __future__ import annotations

import inspect
import io
import os
import pickle
import platform
import sys
import time
import traceback
import warnings
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Protocol

from dormouse.errors import MORE_MEMORY, DormouseWarning, UserError, is_out_of_memory, reason, refusal, utf8, warn
from dormouse.execution.journal import Journal, why
from dormouse.execution.left_as_found import left_as_found
from dormouse.execution.stage import Stage
from dormouse.files import NO_SUCH_FILE
from dormouse.json_files import json_text
from dormouse.records import COMPUTED
from dormouse.registry import plugin_fault
from dormouse.store import Store, StoreError

PACE = 10.0
"""Seconds between two lines of the journal about how far a stage is."""

Job = list[Stage]
"""Stages that read the same model: it is loaded once."""
Report = Callable[..., None]


@dataclass(frozen=True)
class Failure:
    """A stage that could not be done."""

    stage: str
    error: UserError
    fatal: bool = False
    """Whether no other stage can be done either: the store takes nothing."""


class Watcher(Protocol):
    """Is told how the work goes: progress bars, or lines in a log."""

    def say(self, text: str) -> None:
        """A line about the run as a whole."""
        ...

    def start(self, stages: int) -> None:
        """Work begins, on so many stages."""
        ...

    def stage(self, name: str) -> None:
        """A stage of this name begins, perhaps once more after its process was killed."""
        ...

    def tick(self, name: str, share: float, text: str) -> None:
        """A stage is done to a share from 0 to 1; `text` says what it is about."""
        ...

    def done(self, name: str, seconds: float) -> None:
        """A stage was finished, after so many seconds."""
        ...

    def failed(self, name: str, why: str) -> None:
        """A stage failed; the others go on."""
        ...


class Executor(Protocol):
    """Does jobs. What a job cannot do comes back as failures; `died` comes up where its process was killed."""

    slots: int
    """Jobs that it does at a time."""
    memory: float
    """GB that the stages of these jobs may need together."""
    died: ClassVar[tuple[type[BaseException], ...]]

    def submit(self, job: Job) -> Future[list[Failure]]:
        """Have the stages of a job built, one after another. The future has those that failed; it raises what stops the
        run (the store cannot be used, a process died)."""
        ...

    def close(self) -> None:
        """Stop what still runs."""


class _References(pickle.Pickler):
    """Notes the classes and functions to which pickled data refer by name."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO())
        self.found: set[Any] = set()

    def reducer_override(self, thing: Any) -> Any:
        """Note a class or a function that is pickled by its name, and leave the pickling as it is."""
        if isinstance(thing, type) or inspect.isfunction(thing):
            self.found.add(thing)
        return NotImplemented


def homeless(stages: Sequence[Stage]) -> list[str]:
    """What some stages use and no other process could import: it stands in a notebook, a console or a script, of which
    another process would know the file at most, and not the values that its names have by now."""
    references = _References()
    with suppress(Exception):  # what is found up to there says enough
        references.dump([stage.work for stage in stages])
    return sorted(
        thing.__qualname__
        for thing in references.found
        if "<locals>" in thing.__qualname__ or thing.__module__ == "__main__"
    )


def refuse_homeless(stages: Sequence[Stage]) -> None:
    """
    Raises:
        UserError: a stage uses what no other process could import.
    """
    if names := homeless(stages):
        raise UserError(
            f"worker processes cannot import {', '.join(names)}: it was defined in a notebook, a console, a function"
            " or the script itself",
            "put it into a file: `--plugin my.py`, or import it; or work in this process: `--workers 1`",
        )


def tell(watcher: Watcher, what: str, *details: Any) -> None:
    """Pass on to a watcher what a worker said: the name of one of its methods, or `warn`, and the details.

    It raises nothing. A watcher that breaks down, and a warning that is made an error (`pytest -W error`), would end
    the thread that listens to workers, and with it all that is reported later.
    """
    try:
        if what == "warn":
            warn(details[0], level=1)
        else:
            getattr(watcher, what)(*details)
    except Exception as error:
        with suppress(OSError, ValueError):  # stderr may be closed
            print(f"dormouse: {reason(error)}", file=sys.stderr)


def set_deterministic(threads: int) -> None:
    """The same seed gives the same bits on the same machine. OMP_NUM_THREADS, where it is set, is the most."""
    import torch

    torch.set_num_threads(min(threads, torch.get_num_threads()))
    torch.set_deterministic_debug_mode("warn")  # `use_deterministic_algorithms` imports a compiler, for 1.5 s
    # A help in debugging, at 3 % of a training step:
    setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010 (not in torch's types)


def build_reporting(job: Job, root: Path, journal: Journal, report: Report) -> list[Failure]:
    """Build in a process that is no one's: what it has to say, warnings too, goes to `report`."""
    warnings.showwarning = lambda message, category, *_: (
        report("warn", str(message)) if issubclass(category, DormouseWarning) else None
    )
    return build(job, root, report, journal)


def build(job: Job, root: Path, report: Report, journal: Journal) -> list[Failure]:
    """Build the stages of a job. One that fails stops none of the others."""
    store = Store(root)
    failures = []
    for stage in job:
        report("stage", stage.name)
        journal.write("started", stage)
        try:
            entry, built = store.get(stage.kind, stage.key, stage.about, partial(_fill, stage, report, journal))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a panic in Rust and a plug-in that leaves (`sys.exit`) are no Exceptions
            failure = _failure(stage, error)
            said = why(failure.error)
            journal.write("failed", stage, error=said, traceback=utf8(traceback.format_exc(limit=-8)))
            report("failed", stage.name, said)
            failures.append(failure)
            if failure.fatal:
                break
            continue
        seconds = entry.manifest.seconds
        journal.write("finished" if built else "kept", stage, **({"seconds": seconds} if built else {}))
        report("done", stage.name, seconds)
    return failures


def _failure(stage: Stage, error: BaseException) -> Failure:
    if isinstance(error, UserError):
        return Failure(stage.key, error, fatal=isinstance(error, StoreError))
    if is_out_of_memory(error):
        return Failure(stage.key, UserError(why(error), MORE_MEMORY))
    traceback_at = f"the journal ({platform.node()}, process {os.getpid()}) holds the traceback"
    fault = plugin_fault(error)
    refused = refusal(error)
    if refused and not (fault and refused.errno in NO_SUCH_FILE):  # which file a plug-in wants is its own business
        remedy = f"see why the system refuses that ({os.strerror(refused.errno or 0)}); {traceback_at}"
    elif fault:
        remedy = f"{fault.remedy}; {traceback_at}"
    else:
        remedy = f"{traceback_at}: please report it as a bug"
    return Failure(stage.key, UserError(why(fault or error), remedy))


def _fill(stage: Stage, report: Report, journal: Journal, folder: Path) -> None:
    """Do the work of a stage. How far it is goes to who looks on, and now and then into the journal."""
    last = time.monotonic()

    def tick(share: float, text: str) -> None:
        """Report each step at once, and write it to the journal every PACE seconds."""
        nonlocal last
        report("tick", stage.name, share, text)
        if time.monotonic() - last >= PACE:
            last = time.monotonic()
            journal.write("working", stage, share=round(share, 3))

    do(stage, folder, tick)


def do(stage: Stage, folder: Path, tick: Callable[[float, str], None]) -> None:
    """Do the work of a stage as it is done everywhere, and leave beside it what it was computed in."""
    with left_as_found(zlib.crc32(stage.key.encode())):
        stage.work(folder, tick)
    if stage.computed_in:
        (folder / COMPUTED).write_text(json_text(stage.computed_in()), encoding="utf-8")
