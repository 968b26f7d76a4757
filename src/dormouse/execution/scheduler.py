"""Work through stages, as many at a time as the executor does. One that fails stops only what stands on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait

from dormouse.errors import UserError
from dormouse.execution.executors import Executor, Failure, Job, Watcher, refuse_homeless
from dormouse.execution.journal import NO_JOURNAL, Journal
from dormouse.execution.known_executors import executor_kind
from dormouse.execution.local import InProcessExecutor, threads_each
from dormouse.execution.stage import Stage
from dormouse.store import Store

RANK = {"base": 0, "honest": 1, "organism": 2, "brought": 2, "taught": 2, "located": 2, "treatment": 3, "measure": 4}
"""What others wait for goes first."""
DEATHS = 3
"""A stage whose process was killed so often is given up: it may need more memory than there is."""
ELSEWHERE = "have its job ask for more memory (on Slurm `mem_gb` in DORMOUSE_SLURM)"
"""What helps on a cluster, where every job has memory of its own."""


def slots(kind: str, stages: Sequence[Stage]) -> int:
    """How many of a study's stages an executor works on at a time where nobody says. Raises as `executor_kind`."""
    return executor_kind(kind).slots(stages)


def make_executor(kind: str, store: Store, workers: int, watcher: Watcher, journal: Journal = NO_JOURNAL) -> Executor:
    """The executor of that name that does `workers` jobs at a time. Raises as `executor_kind`."""
    return executor_kind(kind).make(store.root, workers, threads_each(workers), watcher, journal)


def work_through(
    todo: Sequence[Stage], store: Store, executor: Executor, watcher: Watcher, journal: Journal = NO_JOURNAL
) -> dict[str, UserError]:
    """Build the stages (parents stand before their children). Returns those that are missing in the end, by key, with
    the reason: they failed, or what they stand on did.

    Raises:
        UserError: the store cannot be used. What was finished is kept.
    """
    if not isinstance(executor, InProcessExecutor):
        refuse_homeless(todo)
    watcher.start(len(todo))
    try:
        return _Work(todo, store, executor, watcher, journal).through()
    finally:
        executor.close()


def _jobs(todo: Sequence[Stage]) -> list[Job]:
    """Stages that read the same model go together: it is loaded once. What others wait for stands first."""
    groups: dict[str, Job] = {}
    for stage in todo:
        groups.setdefault(f"{stage.kind}/{stage.about.get('state', stage.key)}", []).append(stage)
    return sorted(groups.values(), key=lambda job: RANK.get(job[0].kind, 9))


class _Work:
    """What is left of a study, what runs, and what was lost."""

    def __init__(
        self, todo: Sequence[Stage], store: Store, executor: Executor, watcher: Watcher, journal: Journal
    ) -> None:
        self.store, self.executor, self.watcher, self.journal = store, executor, watcher, journal
        self.waiting = _jobs(todo)
        self.names = {stage.key: stage.name for stage in todo}
        self.ahead = set(self.names)
        self.behind = {stage.key: set(stage.behind()) for stage in todo}
        """Not the parents alone: of a model that is there, a part below it may be made anew."""
        self.running: dict[Future[list[Failure]], Job] = {}
        self.lost: dict[str, UserError] = {}
        self.deaths: Counter[str] = Counter()

    def through(self) -> dict[str, UserError]:
        """Work until nothing is left that can be done.

        Returns:
            Key -> why, of the stages that failed and of those that depend on them.
        """
        while self.waiting or self.running:
            while job := self._next():
                self.waiting.remove(job)
                self.running[self.executor.submit(job)] = job
            if self.running:
                finished, _ = wait(self.running, return_when=FIRST_COMPLETED)
                for future in finished:
                    self._take(future, self.running.pop(future))
            elif self.waiting:
                raise RuntimeError(f"no stage can begin: {self.waiting[0][0].name} waits for what no one makes")
        return self.lost

    def _next(self) -> Job | None:
        """The job to begin now, if there is one and room for it; rather one that no other process is about."""
        room = self.executor.memory - sum(_memory(job) for job in self.running.values())
        if len(self.running) >= self.executor.slots:
            return None
        first = None
        for job in self.waiting:
            if any(self.ahead & self.behind[stage.key] for stage in job):
                continue
            if self.running and _memory(job) > room:
                continue
            if not self.store.busy(job[0].key):
                return job
            first = first or job
        return first

    def _take(self, future: Future[list[Failure]], job: Job) -> None:
        try:
            failures = future.result()
        except self.executor.died:
            self._died(job)
            return
        for failure in failures:
            if failure.fatal:
                raise failure.error
            self._lose(failure.stage, failure.error)
        self.ahead -= {stage.key for stage in job}

    def _died(self, job: Job) -> None:
        """The process was killed: what it had not finished is begun again, by another."""
        left = [stage for stage in job if not self.store.find(stage.kind, stage.key)]
        self.ahead -= {stage.key for stage in job} - {stage.key for stage in left}
        if not left:
            return
        worst = next((stage for stage in left if self.store.was_cut_off(stage.key)), left[0])
        rest = [stage for stage in left if stage is not worst]  # by itself, or it would take them along once more
        self.deaths[worst.key] += 1
        if self.deaths[worst.key] >= DEATHS:
            remedy = ELSEWHERE if self.executor.memory == float("inf") else "with --workers 1 it has all the memory"
            what = f"its process was killed {DEATHS} times (out of memory?)"
            error = UserError(what, f"{remedy}; the same command goes on from there")
            self.journal.write("failed", worst, error=error.what)
            self.watcher.failed(worst.name, error.what)
            self.ahead.discard(worst.key)
            self._lose(worst.key, error)
        else:
            self.watcher.say(f"a worker process was killed (out of memory?): {worst.name} is begun again")
            self.waiting.insert(0, [worst])
        if rest:
            self.waiting.insert(0, rest)

    def _lose(self, key: str, error: UserError) -> None:
        """Put down a stage as lost, and all that stands on it."""
        self.lost[key] = error
        reason = UserError(f"not begun: it depends on '{self.names[key]}', which failed", error.remedy)
        for job in list(self.waiting):
            for stage in [stage for stage in job if key in self.behind[stage.key]]:
                job.remove(stage)
                self.ahead.discard(stage.key)
                if stage.key not in self.lost:
                    self.journal.write("skipped", stage, error=reason.what)
                    self._lose(stage.key, reason)
            if not job and job in self.waiting:
                self.waiting.remove(job)


def _memory(job: Job) -> float:
    return max(stage.memory for stage in job)
