"""Stages on a Ray cluster: that of RAY_ADDRESS, or one that is begun on this machine. The store is on a shared path."""

from __future__ import annotations

import logging
import os
import platform
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, ClassVar

from dormouse.errors import UserError
from dormouse.execution.executors import (
    Executor,
    Failure,
    Job,
    Report,
    Watcher,
    build_reporting,
    set_deterministic,
    tell,
)
from dormouse.execution.journal import Journal
from dormouse.execution.stage import Stage

try:
    import ray
    from ray.exceptions import NodeDiedError, OutOfMemoryError, WorkerCrashedError
    from ray.util.queue import Queue
except ImportError as missing:
    raise UserError("Ray is not installed", "pip install 'dormouse-lab[ray]', on every machine") from missing

OFTEN = 1.0
"""Seconds between two reports of how far a stage is: each is a message through the cluster."""


class OnRay:
    """Jobs as Ray tasks. One asks for its threads, its memory and, where the cluster has GPUs, for one of them."""

    died: ClassVar[tuple[type[BaseException], ...]] = (WorkerCrashedError, NodeDiedError, OutOfMemoryError)
    memory = float("inf")

    def __init__(self, root: Path, workers: int, threads: int, watcher: Watcher, journal: Journal) -> None:
        _begin()
        self.slots, self.threads = workers, threads
        self.gpus = share_of_gpu() if any(node.get("GPU", 0) >= 1 for node in _nodes()) else 0
        self.root = root.resolve()
        (self.root / "entries").mkdir(parents=True, exist_ok=True)  # by which tasks know it
        self.journal = Journal(journal.path.resolve() if journal.path else None)
        self.reports = Queue(actor_options={"num_cpus": 0})
        self.listener = threading.Thread(target=_listen, args=(self.reports, watcher), daemon=True)
        self.listener.start()
        self.running: list[Any] = []

    def submit(self, job: Job) -> Future[list[Failure]]:
        """Build the job on the cluster, on a machine with room for its largest stage."""
        small = all(stage.kind == "findings" or stage.device == "cpu" for stage in job)
        task = ray.remote(_work).options(
            **_asked(self.threads, max(stage.memory for stage in job) * 2**30, 0 if small else self.gpus),
            max_retries=0,  # who is begun again, and how often, is the same on every executor
        )
        reference = task.remote(job, self.root, self.threads, self.journal, self.reports)
        self.running.append(reference)
        future: Future[list[Failure]] = reference.future()
        return future

    def close(self) -> None:
        """Cancel what still runs, and stop listening."""
        for reference in self.running:
            ray.cancel(reference, force=True)
        self.reports.put(("end",))
        self.listener.join(timeout=5)
        self.reports.shutdown(force=True)
        _end()


def _nodes() -> list[dict[str, float]]:
    """What each machine of the cluster has, in all."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def share_of_gpu() -> float:
    """Which part of a GPU a stage asks for: $DORMOUSE_GPU_SHARE, by default a whole one. 0.25: four stages share one.

    Raises:
        UserError: it says no share.
    """
    said = os.environ.get("DORMOUSE_GPU_SHARE") or "1"
    try:
        share = float(said)
    except ValueError:
        share = 0.0
    if not 0.01 <= share <= 1:
        raise UserError(f"DORMOUSE_GPU_SHARE is '{said[:40]}'", "set it to a share from 0.01 to 1, or not at all")
    return share


def _asked(threads: int, memory: float, gpus: float) -> dict[str, Any]:
    """What a task asks Ray for: what it wants, and no more than some machine has, or it would wait for ever.

    Where no machine has all of it, memory goes before CPUs. This is about places alone: how many threads a task has, on
    which its numbers depend, stays as it was.

    Raises:
        UserError: it wants a GPU, and no machine has one.
    """
    able = [node for node in _nodes() if node.get("GPU", 0) >= gpus]
    if gpus and not able:
        raise UserError(
            "no machine of the Ray cluster has a GPU any more",
            "bring it back; the same command goes on from there, on CPUs if it is not",
        )
    granted = [(min(memory, node.get("memory", 0)), min(threads, node.get("CPU", 0))) for node in able]
    room, cpus = max(granted, default=(0, 0))
    return {"num_cpus": max(1, int(cpus)), "num_gpus": gpus, "memory": int(room) or None}


def cluster_slots(stages: Sequence[Stage]) -> int:
    """How many of a study's stages a cluster does at a time: one on each GPU (or several, see `share_of_gpu`). Where it
    has none, as many as its CPUs and the memory of its machines bear; more CPUs than this machine has cores leave each
    stage one thread."""
    _begin()
    there = ray.cluster_resources()
    if there.get("GPU", 0) >= 1 and any(stage.device != "cpu" for stage in stages):
        return int(there["GPU"]) * int(1 / share_of_gpu())
    most = max((stage.memory for stage in stages), default=1.0) * 2**30
    rooms = [int(node.get("memory", 0) / most) for node in _nodes()]
    return max(1, min(int(there.get("CPU", 1)), sum(max(1, room) for room in rooms)))


_ours = False
"""Whether it was begun here, to be ended here too."""


def _begin() -> None:
    global _ours
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    ended = signal.getsignal(signal.SIGTERM)  # Ray puts a handler of its own there, which ends a study without a word
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise UserError(
            f"the Ray cluster cannot be reached: {error}", "set RAY_ADDRESS to it, or unset it for one on this machine"
        ) from error
    finally:
        if ended is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, ended)
    _ours = True


def _end() -> None:
    global _ours
    if _ours:
        ray.shutdown()
    _ours = False


def _work(job: Job, root: Path, threads: int, journal: Journal, reports: Any) -> list[Failure]:
    """On a machine of the cluster."""
    if not (root / "entries").is_dir():
        error = UserError(
            f"the store {root} is not there on {platform.node()}",
            "give a folder that all machines of the cluster share with --store",
        )
        return [Failure(job[0].key, error, fatal=True)]
    set_deterministic(threads)
    return build_reporting(job, root, journal, _seldom(reports))


def _seldom(reports: Any) -> Report:
    """Puts reports into a queue, but for ticks that come too soon after the last."""
    last = 0.0

    def report(what: str, *details: Any) -> None:
        """Pass on what a worker says, steps no oftener than every OFTEN seconds."""
        nonlocal last
        if what == "tick":
            if time.monotonic() - last < OFTEN:
                return
            last = time.monotonic()
        reports.put((what, *details))

    return report


def _listen(reports: Any, watcher: Watcher) -> None:
    """Pass on what workers put into a queue, to its end."""
    while (report := reports.get())[0] != "end":
        tell(watcher, *report)


class _Ray:
    """The cluster of RAY_ADDRESS, or one that is begun on this machine."""

    def slots(self, stages: Sequence[Stage]) -> int:
        """How many stages at a time the cluster has room for."""
        return cluster_slots(stages)

    def make(self, root: Path, workers: int, threads: int, watcher: Watcher, journal: Journal) -> Executor:
        """An executor on the cluster to which RAY_ADDRESS points."""
        return OnRay(root, workers, threads, watcher, journal)


RAY = _Ray()
