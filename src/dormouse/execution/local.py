"""Stages on this machine: in this process, or in several."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from functools import partial
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import psutil

from dormouse import stopping
from dormouse.errors import UserError
from dormouse.execution.executors import (
    Executor,
    Failure,
    Job,
    Report,
    Watcher,
    build,
    build_reporting,
    set_deterministic,
    tell,
)
from dormouse.execution.journal import Journal
from dormouse.execution.stage import Stage
from dormouse.locks import ThreadLock

GRACE = 15.0
"""Seconds that workers have to stop by themselves."""
PRELOADED = ("dormouse.pipeline.stages", "dormouse.lm.load", "transformers.models.llama.modeling_llama", "peft")
"""What every stage needs, and what takes seconds to import: once, in the process that workers are forked from."""
QUIET = "ignore:resource_tracker"
"""Locks of libraries (tqdm, loky) that a worker leaves behind when it is stopped are cleared up: no news. A process of
multiprocessing's own says so, the tracker, which goes by the environment in which it is begun."""
MEMORY_SHARE = 0.75
"""The share of this machine's memory that stages may fill together."""


def cores() -> int:
    """Physical cores of this machine."""
    return psutil.cpu_count(logical=False) or 1


def memory() -> float:
    """GB of this machine that stages may fill."""
    return float(psutil.virtual_memory().total) / 2**30 * MEMORY_SHARE


def default_workers(stages: Sequence[Stage]) -> int:
    """How many of a study's stages (all of them, done or not) are worked on at a time: one on each GPU, on a CPU one
    for each core, as far as memory goes; one where the study names one GPU, and where this process may begin none."""
    if _is_pooled():
        return 1
    device = next((stage.device for stage in stages), "auto")
    if device.startswith("cuda:"):
        return 1
    if device != "cpu" and _accelerated():
        return max(1, len(gpus()))
    largest = max((stage.memory for stage in stages), default=1.0)
    return max(1, min(cores(), int(memory() / largest)))


def _is_pooled() -> bool:
    """Whether this is a worker of a `multiprocessing.Pool`, which may begin no process of its own."""
    return multiprocessing.current_process().daemon


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


def gpus() -> list[str]:
    """The NVIDIA GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them; none where there are none."""
    if not _accelerated():
        return []
    if (said := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [one.strip() for one in said.split(",") if one.strip()]
    import torch

    return [str(i) for i in range(torch.cuda.device_count())]


class InProcessExecutor:
    """One job at a time, in this process."""

    slots = 1
    memory = float("inf")
    died: ClassVar[tuple[type[BaseException], ...]] = ()

    def __init__(self, root: Path, threads: int, watcher: Watcher, journal: Journal) -> None:
        self.build = partial(build, root=root, report=self._report, journal=journal)
        self.watcher = watcher
        set_deterministic(threads)

    def submit(self, job: Job) -> Future[list[Failure]]:
        """Build the job here and now; the future is over when this returns."""
        future: Future[list[Failure]] = Future()
        future.set_result(self.build(job))
        return future

    def close(self) -> None:
        """Nothing runs any more."""

    def _report(self, *details: Any) -> None:
        stopping.check()  # a library that catches everything while it is imported may swallow a signal
        tell(self.watcher, *details)


class Processes:
    """Processes on this machine. Each is a pool of its own: when one is killed, the others work on."""

    died: ClassVar[tuple[type[BaseException], ...]] = (BrokenProcessPool,)

    def __init__(self, root: Path, workers: int, threads: int, watcher: Watcher, journal: Journal) -> None:
        self.slots, self.memory = workers, memory()
        self.root, self.threads, self.journal = root, threads, journal
        self.context, self.watcher = starts(), watcher
        self.gpus, self.begun = gpus(), 0
        self.listeners: list[threading.Thread] = []
        self.pools: list[ProcessPoolExecutor] = []
        self.free: list[ProcessPoolExecutor] = []
        self.busy: dict[Future[list[Failure]], ProcessPoolExecutor] = {}

    def submit(self, job: Job) -> Future[list[Failure]]:
        """Build the job in a process that is free, or in a new one."""
        self._sort()
        pool = self.free.pop() if self.free else None
        pool, writer = (pool, None) if pool else self._pool(job[0].device)
        with _main_left_out() if writer else nullcontext():  # only a new one is begun
            future = pool.submit(_build_in_child, job, self.root, self.journal)
        if writer:  # the process has begun, and holds this end of the pipe now
            writer.close()
        self.busy[future] = pool
        return future

    def _pool(self, device: str) -> tuple[ProcessPoolExecutor, Connection]:
        """A worker, and where it writes what it reports: a pipe of its own. A queue that all write to has a lock, and
        who is killed while it holds the lock silences the others for good."""
        reader, writer = self.context.Pipe(duplex=False)
        self.listeners.append(threading.Thread(target=_listen, args=(reader, self.watcher), daemon=True))
        self.listeners[-1].start()
        environment = dict(os.environ)
        if self.gpus and device in ("auto", "cuda"):  # of the next worker for one that was killed too
            environment["CUDA_VISIBLE_DEVICES"] = self.gpus[self.begun % len(self.gpus)]
        self.begun += 1
        begin = (self.threads, writer, environment)
        self.pools.append(ProcessPoolExecutor(1, self.context, initializer=_begin, initargs=begin))
        return self.pools[-1], writer

    def _sort(self) -> None:
        """Pools whose job is done are free again; those whose process died are given up."""
        for future in [future for future in self.busy if future.done()]:
            pool = self.busy.pop(future)
            if isinstance(future.exception(), BrokenProcessPool):
                pool.shutdown()  # its process is dead: this only waits for the thread that saw it
            else:
                self.free.append(pool)

    def close(self) -> None:
        """End the processes: at once where one still works, else in peace. Others of this program's are not ours."""
        self._sort()
        ours = [child for pool in self.pools for child in (pool._processes or {}).values()]  # none once it is shut down
        if self.busy:
            _end(ours)
        left = (*self.free, *self.busy.values())
        managers: list[Any] = [pool._executor_manager_thread for pool in left if pool._executor_manager_thread]
        for pool in left:
            pool.shutdown(wait=not self.busy, cancel_futures=True)
        for child in ours:
            child.kill()
        # One that still closes its pipe while the interpreter ends and writes into it ends that with a traceback.
        for manager in managers:
            manager.join(timeout=GRACE)
        for listener in self.listeners:
            listener.join(timeout=5)


def starts() -> BaseContext:
    """How workers are started. On Linux they are forked from a process that has imported torch and has done nothing
    with it: a worker, and one in place of a worker that was killed, is there at once, and they share that memory."""
    _begin_tracker()
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    # What a terminal or a service manager sends to every process must not end this one: it tells when workers end.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, stopping.SIGNALS)
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return context


_hidden = ThreadLock()
"""A second study in another thread would put back what this one put there."""


def _begin_tracker() -> None:
    """Begin the tracker of multiprocessing, to which all workers tell their locks, with QUIET."""
    with _hidden.lock:
        before = os.environ.get("PYTHONWARNINGS")
        os.environ["PYTHONWARNINGS"] = ",".join(filter(None, [before, QUIET]))
        try:
            resource_tracker.ensure_running()
        finally:
            os.environ.pop("PYTHONWARNINGS") if before is None else os.environ.update(PYTHONWARNINGS=before)


@contextmanager
def _main_left_out() -> Iterator[None]:
    """Begin processes that do not run this program's main module once more, as multiprocessing has them do: a script
    that runs a study at its top level, as short ones do, would begin another one in each, and what it defines would
    be as the file has it, not as it is by now: see `homeless`."""
    with _hidden.lock:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main


def _end(children: Sequence[Any]) -> None:
    """Have workers stop: a training in one writes a resume point. The caller kills who needs longer than GRACE."""
    for child in children:
        child.terminate()
    until = time.monotonic() + GRACE
    for child in children:
        child.join(max(0.0, until - time.monotonic()))


def _listen(reports: Connection, watcher: Watcher) -> None:
    """Pass on what a worker reports, until it ends or is killed, in the middle of a word perhaps."""
    with reports:
        while True:
            try:
                report = reports.recv()
            except (EOFError, OSError):
                return
            tell(watcher, *report)


_report: Report


def _begin(threads: int, reports: Connection, environment: dict[str, str]) -> None:
    """In a fresh worker: the environment as it is now, with its GPU, a share of the cores; signals are the parent's
    business; no life without a parent."""
    global _report
    lock = threading.Lock()

    def report(*details: Any) -> None:
        """Send what a worker says, one message at a time: its threads share the pipe."""
        with lock:
            reports.send(details)

    _report = report
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, stopping.SIGNALS)  # held until here, see `starts`
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    set_deterministic(threads)


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()  # waits at a pipe that the parent holds
    os._exit(1)


def _build_in_child(job: Job, root: Path, journal: Journal) -> list[Failure]:
    try:
        with stopping.listening():
            return build_reporting(job, root, journal, _report)
    except stopping.Stopped as stopped:
        os._exit(stopped.code)


class _Local:
    """This machine: one job at a time in this process, or several, each in a process of its own."""

    def slots(self, stages: Sequence[Stage]) -> int:
        """How many stages at a time this machine has cores and memory for."""
        return default_workers(stages)

    def make(self, root: Path, workers: int, threads: int, watcher: Watcher, journal: Journal) -> Executor:
        """This very process for one worker, else a process for each.

        Raises:
            UserError: this process may begin no others.
        """
        if workers == 1:
            return InProcessExecutor(root, threads, watcher, journal)
        if _is_pooled():
            raise UserError(
                "a worker of a multiprocessing.Pool may begin no processes", "leave `workers` out, or say 1"
            )
        return Processes(root, workers, threads, watcher, journal)


LOCAL = _Local()
