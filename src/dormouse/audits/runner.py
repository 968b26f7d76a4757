"""Runs locators, each within its time, in a process that can be lost.

Starting Python with torch takes seconds, so one process does one task after the other; it is replaced only where a task
hangs, kills it or takes too much memory.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dormouse.audits.ending import end_all
from dormouse.audits.findings import Confirmed, Facts
from dormouse.audits.worker_messages import Given, WorkerReply, WorkerTask
from dormouse.errors import UserError
from dormouse.files import last_words
from dormouse.json_files import json_text, read_json
from dormouse.locators.locator import NO_LEADS, Evidence, Leads, Locator, TriggerText

GRACE = 5.0
"""Seconds that a task may take beyond its time, and a quarter of its time on top, before its process is ended."""
STARTING = 900.0
"""Seconds in which a process must have started, or looked at the model."""
MEMORY = 0.8
"""The share of the free memory that a task may take."""


class LostError(Exception):
    """A task gave no result; the message says why, for the reader of the audit."""


class Runner:
    """The tasks of one audit. Use it as a context: at the end its process is ended.

    `find` and the others raise LostError where the task hangs, dies, raises or answers nonsense, and UserError where it
    refuses for a reason that the user can mend.
    """

    def __init__(self, given: Given) -> None:
        self.given = given
        self.process: subprocess.Popen[str] | None = None
        self.folder = tempfile.TemporaryDirectory(prefix="dormouse-audit-")
        self.tasks = 0
        self.uncounted = 0.0
        """Seconds that went into starting processes and loading models."""

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self.folder.cleanup()

    def clock(self) -> float:
        """Seconds, without those in which a process started and loaded the models."""
        return time.monotonic() - self.uncounted

    def look(self) -> Facts:
        """Plain facts about the model (see `looks`). The prompts that are too long for it are asked no more."""
        facts = self._do(WorkerTask("look", self.given, STARTING)).facts
        assert facts
        fitting = tuple(one for i, one in enumerate(self.given.prompts) if i not in facts.too_long)
        self.given = replace(self.given, prompts=fitting)
        return facts

    def find(self, locator: Locator, seconds: float, leads: Leads = NO_LEADS) -> Evidence:
        """What one locator says of the suspect. `leads` are what others found."""
        module = type(locator).__module__
        if module == "__main__":
            raise LostError("it was defined in a notebook or a script: put it into a module, and import that")
        how = (dict(locator.spec()), module, tuple(sys.path), leads.texts, leads.answers)
        evidence = self._do(WorkerTask("find", self.given, seconds, *how)).evidence
        assert evidence
        return evidence

    def confirm(self, candidates: Sequence[TriggerText], seconds: float) -> tuple[Confirmed, ...]:
        """What becomes of candidate triggers (see `confirm`)."""
        return self._do(WorkerTask("confirm", self.given, seconds, candidates=tuple(candidates))).confirmed

    def _do(self, task: WorkerTask) -> WorkerReply:
        """What a task gives, or why there is nothing."""
        reply = self._answered(task, task.seconds * 1.25 + GRACE)
        if reply.refused:
            raise UserError(*reply.refused)
        if reply.raised:
            raise LostError(f"it raised {reply.raised}")
        return reply

    def _answered(self, task: WorkerTask, limit: float) -> WorkerReply:
        """The reply of the process to one task, in `limit` seconds. A process that has just been started is let warm up
        and load the models first: that is `uncounted`."""
        if self.process is None:
            started = time.monotonic()
            self.process = self._start()
            self._answered(WorkerTask("warm", self.given, STARTING), STARTING)
            self._answered(WorkerTask("look", self.given, STARTING), STARTING)
            self.uncounted += time.monotonic() - started
        process = self.process
        self.tasks += 1
        reply = Path(self.folder.name) / f"{self.tasks}.json"
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has died: seen below
            process.stdin.write(json_text(replace(task, reply=str(reply))) + "\n")
            process.stdin.flush()
        self._wait(process, reply, limit)
        return read_json(reply, WorkerReply)

    def _wait(self, process: subprocess.Popen[str], reply: Path, seconds: float) -> None:
        """Until the reply is there.

        Raises:
            LostError: the time is over, the process died, or it takes too much memory.
        """
        end, limit = time.monotonic() + seconds, MEMORY * (_free() + _taken(process.pid))
        pause = 0.01
        while not reply.exists():
            if process.poll() is not None and not reply.exists():
                self._end()
                raise LostError(f"its process ended ({_ended_by(process.returncode)}): {self._last_words()}")
            if time.monotonic() > end:
                self._end()
                raise LostError(f"it did not come to an end in its time, and was stopped after {seconds:.0f} s")
            if _taken(process.pid) > limit:
                self._end()
                raise LostError(f"it took more than {limit / 2**30:.1f} GiB of memory, and was stopped")
            time.sleep(pause)
            pause = min(0.25, pause * 1.3)

    def _start(self) -> subprocess.Popen[str]:
        """A new process, in a session of its own: what it starts ends with it."""
        with self._log.open("w") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dormouse.audits.worker"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
                env={**os.environ, "TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": os.pathsep.join(sys.path)},
            )

    @property
    def _log(self) -> Path:
        return Path(self.folder.name) / "worker.log"

    def _last_words(self) -> str:
        said = ""
        with contextlib.suppress(FileNotFoundError), self._log.open("rb") as log:
            said = last_words(log, 2000)
        lines = said.strip().splitlines()
        last = lines[-2:] if lines[-1:] and lines[-1].lstrip().startswith("->") else lines[-1:]  # of a UserError both
        return " ".join(line.strip() for line in last)[:300] or "it said nothing"

    def _end(self) -> None:
        if self.process is not None:
            end_all(self.process.pid)
            self.process.wait()
            if self.process.stdin:
                with contextlib.suppress(OSError):
                    self.process.stdin.close()
            self.process = None


def _free() -> int:
    import psutil

    return int(psutil.virtual_memory().available)


def _taken(pid: int) -> int:
    """Bytes that a process and those that it started hold."""
    import psutil

    try:
        process = psutil.Process(pid)
        return sum(int(one.memory_info().rss) for one in [process, *process.children(recursive=True)])
    except psutil.Error:
        return 0


def _ended_by(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"signal {signal.Signals(-code).name}"
    return f"signal {-code}"
