"""Stages as jobs of a Slurm cluster, by submitit. The store is on a path that all its machines share.

Without Slurm (no `srun` here, or `DORMOUSE_SUBMITIT=local`) the jobs are processes of this machine: to try it out.
"""

from __future__ import annotations

import json
import math
import os
import platform
import re
import shutil
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from dormouse.errors import UserError, reason
from dormouse.execution.executors import (
    Executor,
    Failure,
    Job,
    Watcher,
    build_reporting,
    set_deterministic,
    tell,
)
from dormouse.execution.journal import Journal
from dormouse.execution.stage import Stage

try:
    import submitit
    from submitit.core.utils import DelayedSubmission, FailedJobError, FailedSubmissionError, UncompletedJobError
except ImportError as missing:
    raise UserError("submitit is not installed", "pip install 'dormouse-lab[slurm]', on every machine") from missing

CLUSTER, SETTINGS = "DORMOUSE_SUBMITIT", "DORMOUSE_SLURM"
BETWEEN = re.compile(r",(?![^\[\]]*\])")
"""A comma between two settings: those in brackets, as in `exclude=node[1,2]`, are Slurm's own."""
JOBS = 16
"""Jobs in the queue at a time, where nobody says."""
OFTEN = 1.0
"""Seconds between two looks at the jobs, and between two reports of how far a stage is."""
OWN = ("timeout_min", "gpus_per_node", "mem_gb")
"""Settings that submitit knows under the same name for every cluster; all others are Slurm's."""
TIMEOUTS = "slurm_max_num_timeout"
"""How often a job whose time ends is put into the queue again. submitit is told it apart from all other settings."""
OFTEN_ENOUGH = 100
"""A job that ended so often gets to no resume point in its time: submitit's own 3 is what a long training needs."""


class OnSlurm:
    """Jobs as jobs of Slurm. One asks for its threads and its memory; what else it asks for says $DORMOUSE_SLURM."""

    died: ClassVar[tuple[type[BaseException], ...]] = (UncompletedJobError,)
    memory = float("inf")

    def __init__(self, root: Path, workers: int, threads: int, watcher: Watcher, journal: Journal) -> None:
        self.slots, self.threads, self.watcher = workers, threads, watcher
        self.root, self.settings = root.resolve(), settings()
        (self.root / "entries").mkdir(parents=True, exist_ok=True)  # by which jobs know it
        self.journal = Journal(journal.path.resolve() if journal.path else None)
        self.folder = self.root / "slurm" / f"{platform.node()}.{os.getpid()}.{time.time_ns()}"
        timeouts = {TIMEOUTS: self.settings.pop(TIMEOUTS, OFTEN_ENOUGH)}
        self.executor = submitit.AutoExecutor(self.folder, cluster=os.environ.get(CLUSTER) or None, **timeouts)
        self.running: dict[Future[list[Failure]], _Running] = {}
        self.number, self.lost, self.closing = 0, False, threading.Event()
        self.looker = threading.Thread(target=self._look, daemon=True)
        self.looker.start()

    def submit(self, job: Job) -> Future[list[Failure]]:
        """Put the job into the queue of the cluster.

        Raises:
            UserError: Slurm does not take it.
        """
        light = all(stage.kind == "findings" or stage.device == "cpu" for stage in job)
        asked = {"mem_gb": math.ceil(max(stage.memory for stage in job)), **self.settings}
        asked |= {"gpus_per_node": 0} if light and "gpus_per_node" in asked else {}
        self.number += 1
        reports = self.folder / f"{self.number}.reports"
        try:
            self.executor.update_parameters(name="dormouse", cpus_per_task=self.threads, **asked)
            began = self.executor.submit(Work(job, self.root, self.threads, self.journal, reports))
        except (FailedSubmissionError, OSError, NameError, TypeError, ValueError, AssertionError) as error:
            why = reason(error)
            what = f"the cluster does not take a job: {why}"
            raise UserError(what, f"see that sbatch works here, and what {SETTINGS} says") from error
        future: Future[list[Failure]] = Future()
        self.running[future] = _Running(job, began, reports)
        return future

    def close(self) -> None:
        """Cancel what still runs, and stop looking. What jobs wrote is kept if one of them died."""
        self.closing.set()
        self.looker.join(timeout=30)
        for running in self.running.values():
            running.began.cancel(check=False)
        if not self.running and not self.lost:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _look(self) -> None:
        """Now and then pass on what jobs report, and see which have ended."""
        while not self.closing.wait(OFTEN):
            for future, running in list(self.running.items()):
                try:
                    ended = running.began.done()  # first: what it has written by then is whole
                    for report in running.news():
                        tell(self.watcher, *report)
                except Exception as error:  # else who waits for the job would never hear of it
                    self.lost = True
                    del self.running[future]
                    future.set_exception(error)
                    continue
                if ended:
                    del self.running[future]
                    self._end(future, running)

    def _end(self, future: Future[list[Failure]], running: _Running) -> None:
        try:
            future.set_result(running.began.result())
        except FailedJobError as error:  # before the work began: its process cannot import it, say
            self.lost = True
            why = str(error).strip().splitlines()[-1][:300]
            mend = f"see {running.began.paths.stderr}; dormouse must be the same on every machine"
            failures = [Failure(stage.key, UserError(f"the job broke down: {why}", mend)) for stage in running.job]
            future.set_result(failures)
        except BaseException as error:
            self.lost = True
            future.set_exception(error)


@dataclass
class _Running:
    """A job in the queue or on a machine, and how much of its reports was read."""

    job: Job
    began: Any
    reports: Path
    read: int = 0

    def news(self) -> list[list[Any]]:
        """What it reported since the last time, whole lines only."""
        try:
            with self.reports.open("rb") as file:
                file.seek(self.read)
                whole, end, _ = file.read().rpartition(b"\n")
        except OSError:  # it is not there yet, or a shared file system is out of step: they are news and no more
            return []
        self.read += len(whole) + len(end)
        return [json.loads(line) for line in whole.splitlines()]


@dataclass(frozen=True)
class Work:
    """A job as it goes to a machine of the cluster."""

    job: Job
    root: Path
    threads: int
    journal: Journal
    reports: Path

    def __call__(self) -> list[Failure]:
        """Build the stages there."""
        if not (self.root / "entries").is_dir():
            error = UserError(
                f"the store {self.root} is not there on {platform.node()}",
                "give a folder that all machines of the cluster share with --store",
            )
            return [Failure(self.job[0].key, error, fatal=True)]
        _leave_when_requeued()
        set_deterministic(self.threads)
        last = 0.0

        def report(what: str, *details: Any) -> None:
            """Write down what is to be said, steps no oftener than every OFTEN seconds."""
            nonlocal last
            if what == "tick" and time.monotonic() - last < OFTEN:
                return
            last = time.monotonic() if what == "tick" else last
            with self.reports.open("a", encoding="utf-8") as file:
                file.write(json.dumps([what, *details]) + "\n")

        return build_reporting(self.job, self.root, self.journal, report)

    def checkpoint(self) -> Any:
        """The same once more, when Slurm ends it in time: a training goes on from its last resume point."""
        return DelayedSubmission(self)


def _leave_when_requeued() -> None:
    """Have this process end at once when Slurm takes its machine: submitit puts the job back into the queue and raises
    SystemExit, in the middle of a stage, which would be taken for a failure of the stage."""
    number = getattr(signal, f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}", None)
    if number is None or threading.current_thread() is not threading.main_thread():
        return
    before = signal.getsignal(number)
    if not callable(before):
        return

    def requeue(*signalled: Any) -> None:
        """What submitit does, and then the end; where it puts the job into no queue any more, the stage fails."""
        try:
            before(*signalled)
        except SystemExit:
            os._exit(0)
        except UncompletedJobError as error:
            raise UserError(
                f"Slurm ended its job, which is not put into the queue again: {reason(error)}",
                f"raise timeout_min or max_num_timeout in {SETTINGS}; the same command goes on from there",
            ) from error

    signal.signal(number, requeue)


def settings() -> dict[str, Any]:
    """What every job asks for, by $DORMOUSE_SLURM: `partition=gpu, gpus_per_node=1, timeout_min=240, account=x`.

    Raises:
        UserError: it is no such list.
    """
    found: dict[str, Any] = {}
    parts = BETWEEN.split(os.environ.get(SETTINGS, ""))
    for part in filter(None, (one.strip() for one in parts)):
        key, equals, value = (word.strip() for word in part.partition("="))
        if not (equals and value and key.isidentifier()):
            raise UserError(f"{SETTINGS} is no list of settings at '{part[:40]}'", "write key=value, key=value")
        found[key if key in OWN else f"slurm_{key}"] = int(value) if value.isdecimal() else value
    return found


class _Slurm:
    """The cluster whose machine this is."""

    def slots(self, stages: Sequence[Stage]) -> int:
        """How many jobs are in the queue at a time."""
        return JOBS

    def make(self, root: Path, workers: int, threads: int, watcher: Watcher, journal: Journal) -> Executor:
        """An executor whose jobs Slurm runs."""
        return OnSlurm(root, workers, threads, watcher, journal)


SLURM = _Slurm()
