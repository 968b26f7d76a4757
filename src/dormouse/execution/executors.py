"""Where stages are worked on: in this process, in processes of this machine, or on a Ray cluster.

Numbers depend on how many threads a stage has, so that is a function of `workers` alone, never of what happens to run
beside it: a study that was killed and taken up again gives the same bits.
"""

from __future__ import annotations

import inspect
import io
import multiprocessing
import os
import pickle
import platform
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ClassVar, Protocol

import psutil

from dormouse.errors import DormouseWarning, UserError
from dormouse.execution.journal import Journal, why
from dormouse.execution.stage import Stage
from dormouse.store import Store, StoreError

ROOM = 0.75
"""The share of this machine's memory that stages may fill together."""

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

    def say(self, text: str) -> None: ...
    def start(self, stages: int) -> None: ...
    def stage(self, name: str) -> None: ...
    def tick(self, name: str, share: float, text: str) -> None: ...
    def done(self, name: str, seconds: float) -> None: ...
    def failed(self, name: str, why: str) -> None: ...


class Executor(Protocol):
    """Does jobs. What a job cannot do comes back as failures; `died` comes up where its process was killed."""

    slots: int
    """Jobs that it does at a time."""
    memory: float
    """GB that the stages of these jobs may need together."""
    died: ClassVar[tuple[type[BaseException], ...]]

    def submit(self, job: Job) -> Future[list[Failure]]: ...

    def close(self) -> None:
        """Stop what still runs."""


def cores() -> int:
    """Physical cores of this machine."""
    return psutil.cpu_count(logical=False) or 1


def memory() -> float:
    """GB of this machine that stages may fill."""
    return float(psutil.virtual_memory().total) / 2**30 * ROOM


def default_workers(stages: Sequence[Stage]) -> int:
    """How many of a study's stages (all of them, done or not) are worked on at a time: one on an accelerator, on a CPU
    one for each core, as far as memory goes."""
    if _accelerated():
        return 1
    largest = max((stage.memory for stage in stages), default=1.0)
    return max(1, min(cores(), int(memory() / largest)))


class _References(pickle.Pickler):
    """Notes the classes and functions to which pickled data refer by name."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO())
        self.found: set[Any] = set()

    def reducer_override(self, thing: Any) -> Any:
        if isinstance(thing, type) or inspect.isfunction(thing):
            self.found.add(thing)
        return NotImplemented


def homeless(stages: Sequence[Stage]) -> list[str]:
    """What some stages use and no other process could import: it was typed into a notebook or a console."""
    references = _References()
    with suppress(Exception):  # what is found up to there says enough
        references.dump([stage.work for stage in stages])
    return sorted(
        thing.__qualname__
        for thing in references.found
        if "<locals>" in thing.__qualname__
        or (thing.__module__ == "__main__" and not hasattr(sys.modules["__main__"], "__file__"))
    )


def refuse_homeless(stages: Sequence[Stage]) -> None:
    """
    Raises:
        UserError: a stage uses what no other process could import.
    """
    if names := homeless(stages):
        raise UserError(
            f"worker processes cannot import {', '.join(names)}: it was defined in a notebook, a console or a function",
            "put it into a file: `--plugin my.py`, or import it; or work in this process: `--workers 1`",
        )


def threads_each(workers: int) -> int:
    """The share of the cores that a stage gets."""
    return max(1, cores() // workers)


def _accelerated() -> bool:
    """Whether torch finds an accelerator. Where Linux shows no device of the kind it is not asked: this process lives
    as long as the study, and would keep torch in memory for nothing."""
    devices = ("nvidiactl", "nvidia0", "kfd", "dri", "dxg", "accel")
    if sys.platform == "linux" and not any(Path("/dev", name).exists() for name in devices):
        return False
    import torch

    return torch.accelerator.is_available()


class Here:
    """One job at a time, in this process."""

    slots = 1
    memory = float("inf")
    died: ClassVar[tuple[type[BaseException], ...]] = ()

    def __init__(self, root: Path, threads: int, watcher: Watcher, journal: Journal) -> None:
        self.build = partial(build, root=root, report=self._report, journal=journal)
        self.watcher, self.stopped = watcher, False
        self.before = signal.getsignal(signal.SIGINT)
        mine = threading.current_thread() is threading.main_thread()
        if mine and self.before is signal.default_int_handler:  # else Ctrl-C is somebody else's
            signal.signal(signal.SIGINT, self._stop)
        steady(threads)

    def submit(self, job: Job) -> Future[list[Failure]]:
        future: Future[list[Failure]] = Future()
        future.set_result(self.build(job))
        return future

    def close(self) -> None:
        if signal.getsignal(signal.SIGINT) == self._stop:
            signal.signal(signal.SIGINT, self.before)

    def _stop(self, *_: object) -> None:
        """Ctrl-C. A library that catches everything while it is imported may swallow it: `_report` asks again."""
        self.stopped = True
        raise KeyboardInterrupt

    def _report(self, *details: Any) -> None:
        if self.stopped:
            raise KeyboardInterrupt
        tell(self.watcher, *details)


class Processes:
    """Processes on this machine. Each is a pool of its own: when one is killed, the others work on."""

    died: ClassVar[tuple[type[BaseException], ...]] = (BrokenProcessPool,)

    def __init__(self, root: Path, workers: int, threads: int, watcher: Watcher, journal: Journal) -> None:
        self.slots, self.memory = workers, memory()
        self.root, self.threads, self.journal = root, threads, journal
        self.context, self.watcher = multiprocessing.get_context("spawn"), watcher
        self.listeners: list[threading.Thread] = []
        self.free: list[ProcessPoolExecutor] = []
        self.busy: dict[Future[list[Failure]], ProcessPoolExecutor] = {}

    def submit(self, job: Job) -> Future[list[Failure]]:
        self._sort()
        pool = self.free.pop() if self.free else None
        pool, writer = (pool, None) if pool else self._pool()
        future = pool.submit(_build_in_child, job, self.root, self.journal)
        if writer:  # the process has begun, and holds this end of the pipe now
            writer.close()
        self.busy[future] = pool
        return future

    def _pool(self) -> tuple[ProcessPoolExecutor, Connection]:
        """A worker, and where it writes what it reports: a pipe of its own. A queue that all write to has a lock, and
        who is killed while it holds the lock silences the others for good."""
        reader, writer = self.context.Pipe(duplex=False)
        self.listeners.append(threading.Thread(target=_listen, args=(reader, self.watcher), daemon=True))
        self.listeners[-1].start()
        begin = (self.threads, writer, os.getpid())
        return ProcessPoolExecutor(1, self.context, initializer=_begin, initargs=begin), writer

    def _sort(self) -> None:
        """Pools whose job is done are free again; those whose process died are given up."""
        for future in [future for future in self.busy if future.done()]:
            pool = self.busy.pop(future)
            if isinstance(future.exception(), BrokenProcessPool):
                pool.shutdown(wait=False)
            else:
                self.free.append(pool)

    def close(self) -> None:
        self._sort()
        for pool in (*self.free, *self.busy.values()):
            pool.shutdown(wait=not self.busy, cancel_futures=True)
        for child in multiprocessing.active_children():
            child.kill()
        for listener in self.listeners:
            listener.join(timeout=5)


def _listen(reports: Connection, watcher: Watcher) -> None:
    """Pass on what a worker reports, until it ends or is killed, in the middle of a word perhaps."""
    with reports:
        while True:
            try:
                report = reports.recv()
            except (EOFError, OSError):
                return
            tell(watcher, *report)


def tell(watcher: Watcher, what: str, *details: Any) -> None:
    if what == "warn":
        warnings.warn(details[0], DormouseWarning, stacklevel=1)
    else:
        getattr(watcher, what)(*details)


_report: Report


def _begin(threads: int, reports: Connection, parent: int) -> None:
    """In a fresh worker: its share of the cores; Ctrl-C is the parent's business; no life without a parent."""
    global _report
    lock = threading.Lock()

    def report(*details: Any) -> None:
        with lock:
            reports.send(details)

    _report = report
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()
    steady(threads)


def _leave_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def steady(threads: int) -> None:
    """The same seed gives the same bits on the same machine. OMP_NUM_THREADS, where it is set, is the most."""
    import torch

    torch.set_num_threads(min(threads, torch.get_num_threads()))
    torch.use_deterministic_algorithms(True, warn_only=True)
    # A help in debugging, at 3 % of a training step:
    setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010 (not in torch's types)


def _build_in_child(job: Job, root: Path, journal: Journal) -> list[Failure]:
    return build_reporting(job, root, journal, _report)


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
        except Exception as error:
            failure = _failure(stage, error)
            journal.write("failed", stage, error=why(error), traceback=traceback.format_exc(limit=-8))
            report("failed", stage.name, why(error))
            failures.append(failure)
            if failure.fatal:
                break
            continue
        seconds = float(entry.manifest["seconds"])
        journal.write("finished" if built else "kept", stage, **({"seconds": seconds} if built else {}))
        report("done", stage.name, seconds)
    return failures


def _failure(stage: Stage, error: Exception) -> Failure:
    if isinstance(error, UserError):
        return Failure(stage.key, error, fatal=isinstance(error, StoreError))
    remedy = f"the journal ({platform.node()}, process {os.getpid()}) holds the traceback: please report it as a bug"
    return Failure(stage.key, UserError(why(error), remedy))


def _fill(stage: Stage, report: Report, journal: Journal, folder: Path) -> None:
    """Do the work of a stage. How far it is goes to who looks on, and now and then into the journal."""
    last = time.monotonic()

    def tick(share: float, text: str) -> None:
        nonlocal last
        report("tick", stage.name, share, text)
        if time.monotonic() - last >= PACE:
            last = time.monotonic()
            journal.write("working", stage, share=round(share, 3))

    stage.work(folder, tick)
