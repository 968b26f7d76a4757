"""Work through stages, several at a time, each in a process with its own share of the cores.

Numbers depend on how many threads a stage has, so that is a function of `workers` alone, never of what happens to run
beside it: a study that was killed and taken up again gives the same bits.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any, Protocol

import psutil

from dormouse.errors import DormouseWarning, UserError
from dormouse.store import Store
from dormouse.studies.plan import Stage
from dormouse.studies.status import NO_JOURNAL, Journal, why

GB_EACH = 2
"""Memory that a worker may need with a model of 135M parameters."""

Job = list[Stage]
Report = Callable[..., None]


class Watcher(Protocol):
    """Is told how the work goes: progress bars, or lines in a log."""

    def say(self, text: str) -> None: ...
    def start(self, stages: int) -> None: ...
    def stage(self, name: str) -> None: ...
    def tick(self, name: str, share: float, text: str) -> None: ...
    def done(self, name: str, seconds: float) -> None: ...


def default_workers() -> int:
    """One worker on an accelerator; on a CPU one for each core, as far as memory goes."""
    if _accelerated():
        return 1
    memory = psutil.virtual_memory().total / 2**30
    return max(1, min(_cores(), int(memory / GB_EACH / 1.5)))


def _accelerated() -> bool:
    """Whether torch finds an accelerator. Where Linux shows no device of the kind it is not asked: this process lives as
    long as the study, and would keep torch in memory for nothing."""
    devices = ("nvidiactl", "nvidia0", "kfd", "dri", "dxg", "accel")
    if sys.platform == "linux" and not any(Path("/dev", name).exists() for name in devices):
        return False
    import torch

    return torch.accelerator.is_available()


def _cores() -> int:
    return psutil.cpu_count(logical=False) or 1


def work_through(
    todo: Sequence[Stage], store: Store, workers: int | None, watcher: Watcher, journal: Journal = NO_JOURNAL
) -> None:
    """Build the stages (parents stand before their children), `workers` at a time (None: as suits the machine).

    Raises:
        UserError: a stage could not be done, or a worker was killed. What was finished is kept.
    """
    watcher.start(len(todo))
    if not todo:
        return
    workers = workers or default_workers()
    threads = max(1, _cores() // workers)
    if workers == 1:
        _steady(threads)
        for stage in todo:
            _build([stage], store.root, partial(_tell, watcher), journal)
        return
    _in_processes(_jobs(todo), store, workers, threads, watcher, journal)


def _jobs(todo: Sequence[Stage]) -> list[Job]:
    """Stages that read the same model go together: it is loaded once."""
    groups: dict[str, Job] = {}
    for stage in todo:
        groups.setdefault(f"{stage.kind}/{stage.about.get('state', stage.key)}", []).append(stage)
    return list(groups.values())


RANK = {"base": 0, "honest": 1, "organism": 2, "taught": 2, "treatment": 3, "measure": 4}
"""What others wait for goes first."""


def _in_processes(
    jobs: list[Job], store: Store, workers: int, threads: int, watcher: Watcher, journal: Journal
) -> None:
    context = multiprocessing.get_context("spawn")
    reports: Queue[tuple[Any, ...]] = context.Queue()
    listener = threading.Thread(target=_listen, args=(reports, watcher), daemon=True)
    listener.start()
    waiting = sorted(jobs, key=lambda job: RANK.get(job[0].kind, 9))
    ahead = {stage.key for job in jobs for stage in job}
    running: dict[Future[None], Job] = {}
    pool = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(threads, reports, os.getpid()))
    try:
        while waiting or running:
            ready = [job for job in waiting if not any(p.key in ahead for stage in job for p in stage.parents)]
            for job in ready[: workers - len(running)]:
                waiting.remove(job)
                running[pool.submit(_build_in_child, job, store.root, journal)] = job
            if not running:
                raise RuntimeError(f"no stage can begin: {waiting[0][0].name} waits for what no one makes")
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                ahead -= {stage.key for stage in running.pop(future)}
                future.result()
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process was killed (out of memory?)",
            "run the same command again, it goes on from there; with --workers 1 it needs less memory",
        ) from error
    finally:
        pool.shutdown(wait=not running, cancel_futures=True)
        for child in multiprocessing.active_children():
            child.kill()
        reports.put(("end",))
        listener.join(timeout=5)


def _listen(reports: Queue[tuple[Any, ...]], watcher: Watcher) -> None:
    while (report := reports.get())[0] != "end":
        _tell(watcher, *report)


def _tell(watcher: Watcher, what: str, *details: Any) -> None:
    if what == "warn":
        warnings.warn(details[0], DormouseWarning, stacklevel=1)
    else:
        getattr(watcher, what)(*details)


_reports: Any = None


def _begin(threads: int, reports: Any, parent: int) -> None:
    """In a fresh worker: its share of the cores; Ctrl-C is the parent's business; no life without a parent."""
    global _reports
    _reports = reports
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()
    _steady(threads)


def _leave_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _steady(threads: int) -> None:
    """The same seed gives the same bits on the same machine. OMP_NUM_THREADS, where it is set, is the most."""
    import torch

    torch.set_num_threads(min(threads, torch.get_num_threads()))
    torch.use_deterministic_algorithms(True, warn_only=True)


def _build_in_child(job: Job, root: Path, journal: Journal) -> None:
    def report(*details: Any) -> None:
        _reports.put(details)

    warnings.showwarning = lambda message, category, *_: (
        report("warn", str(message)) if issubclass(category, DormouseWarning) else None
    )
    _build(job, root, report, journal)


def _build(job: Job, root: Path, report: Report, journal: Journal) -> None:
    store = Store(root)
    for stage in job:
        report("stage", stage.name)
        journal.write("started", stage)
        try:
            entry, built = store.get(stage.kind, stage.key, stage.about, partial(_fill, stage, report))
        except Exception as error:
            journal.write("failed", stage, error=why(error))
            raise
        seconds = float(entry.manifest["seconds"])
        journal.write("finished" if built else "kept", stage, **({"seconds": seconds} if built else {}))
        report("done", stage.name, seconds)


def _fill(stage: Stage, report: Report, folder: Path) -> None:
    stage.work(folder, lambda share, text: report("tick", stage.name, share, text))
