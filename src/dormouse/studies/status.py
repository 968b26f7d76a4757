"""The journal of a study: what began, ended and failed, a line each; and what it says to someone who asks meanwhile."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dormouse.errors import UserError
from dormouse.studies.estimate import NOTHING, Span, duration

if TYPE_CHECKING:
    from dormouse.studies.plan import Stage

JOURNAL = "journal.jsonl"
OVER = ("finished", "kept", "failed", "skipped")
"""Events after which nobody is about a stage."""
ENOUGH = 3
"""Stages of a kind that must have been finished before their own times are better than those of earlier studies."""


@dataclass(frozen=True)
class Journal:
    """The journal at a path (None: nothing is written). Any number of processes may write to it at once.

    A line is a JSON object: `time` (seconds since 1970), `event`, `pid`, `host`, and of a stage `kind`, `name`, `key`.

    | event | more keys |
    |---|---|
    | planned | a process begins: `todo` and `kept` (kind -> stages), `seconds` (kind -> low, middle and high of one stage), `workers` |
    | started, kept | kept: another process had finished it meanwhile |
    | finished | `seconds` |
    | failed | `error`, and of a bug `traceback` |
    | skipped | `error`: what it stands on failed |
    | ended | the process is done: `error` where it gave up |
    """  # noqa: E501

    path: Path | None

    def write(self, event: str, stage: Stage | None = None, **more: Any) -> None:
        """Append one line. A journal that cannot be written stops nobody: what it tells is a courtesy."""
        if self.path is None:
            return
        said: dict[str, Any] = {"time": round(time.time(), 3), "event": event}
        said |= {"kind": stage.kind, "name": stage.name, "key": stage.key} if stage else {}
        said |= {"pid": os.getpid(), "host": platform.node(), **more}
        try:
            handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                os.write(handle, (json.dumps(said) + "\n").encode())  # one call: lines do not mix
            finally:
                os.close(handle)
        except OSError:
            return


NO_JOURNAL = Journal(None)


def why(error: BaseException) -> str:
    """An error in one line, for the journal."""
    said = error.what if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    return " ".join(said.split())[:500]


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The lines of a journal, in order; what is no whole line (a full disk) is left out.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    try:
        raw = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise UserError(
            f"{path.parent} holds no study that was run", "name the folder that `dormouse run` writes to"
        ) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", "mend the permissions there") from error
    lines = []
    for text in raw.splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and isinstance(line.get("event"), str):
            lines.append(line)
    return lines


def alive(line: Mapping[str, Any]) -> bool:
    """Whether the process that wrote a line lives. Of one on another machine it is taken to."""
    if line.get("host") != platform.node():
        return True
    try:
        os.kill(int(line["pid"]), 0)
    except ProcessLookupError:
        return False
    except (OSError, KeyError, ValueError, TypeError, OverflowError):
        return True
    return True


@dataclass(frozen=True)
class Status:
    """How a study stands. Names and errors are foreign strings."""

    todo: Mapping[str, int]
    """Kind -> stages that were to be done when the last process began."""
    kept: int
    """Stages that were in the store then."""
    done: Mapping[str, int]
    running: Sequence[tuple[str, float, int]]
    """(name, seconds since its beginning, process)."""
    failed: Sequence[tuple[str, str]]
    """(name, why)."""
    skipped: int
    """Stages that were not begun: they stand on a failed one."""
    interrupted: Sequence[str]
    """Begun by a process that has died since."""
    working: bool
    """Whether a process works on the study."""
    ended: bool
    """Whether the last process came to its end, with a report."""
    error: str = ""
    left: Span | None = None
    """Seconds until all is done; None where nothing is known of it."""
    took: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """What a person reads."""
        todo, done = sum(self.todo.values()), sum(self.done.values())
        state = "running" if self.working else "finished" if self.ended and not self.error else "stopped"
        said = [f"{state}: {done} of {todo} stages done" + (f", {self.kept} were there before" if self.kept else "")]
        for kind, n in self.todo.items():
            times = self.took.get(kind, ())
            each = f", {duration(statistics.fmean(times))} each" if times else ""
            said.append(f"  {kind:10} {self.done.get(kind, 0):5} of {n:5}{each}")
        if self.working and self.left:
            said.append(f"time left: about {self.left.said(duration)}")
        elif self.working and done < todo:
            said.append("time left: nothing like it was done here before")
        said += [f"now: {name}, for {duration(since)} (process {pid})" for name, since, pid in self.running]
        said += [f"failed: {name}: {why}" for name, why in self.failed]
        if self.skipped:
            said.append(f"not begun: {self.skipped} stages, which stand on failed ones")
        said += [f"interrupted: {name}: its process is gone" for name in self.interrupted]
        if self.error:
            said.append(f"given up: {self.error}")
        if state == "stopped" or self.failed:
            said.append("the same `dormouse run` goes on from there")
        return said


def status(folder: Path, now: float | None = None, lives: Callable[[Mapping[str, Any]], bool] = alive) -> Status:
    """How the study whose results go to a folder stands, by its journal.

    Raises:
        UserError: there is no journal.
    """
    lines = read_journal(folder / JOURNAL)
    begun = max((i for i, line in enumerate(lines) if line["event"] == "planned"), default=None)
    if begun is None:
        raise UserError(f"the journal in {folder} says nothing", "run the study again")
    plan, since = lines[begun], lines[begun + 1 :]
    over = {line.get("key"): line for line in since if line["event"] in OVER}
    done = {key: line for key, line in over.items() if line["event"] in ("finished", "kept")}
    open_: dict[Any, dict[str, Any]] = {}
    for line in lines:  # a stage may have been begun by a process that was there before
        if line["event"] == "started":
            open_[line.get("key")] = line
        elif line["event"] in OVER:
            open_.pop(line.get("key"), None)
    now = time.time() if now is None else now
    running = [(line, max(0.0, now - float(line["time"]))) for line in open_.values() if lives(line)]
    ends = [line for line in since if line["event"] == "ended"]
    ended = bool(ends) and ends[-1].get("pid") == plan.get("pid")
    took: dict[str, list[float]] = {}
    for line in done.values():
        if isinstance(line.get("seconds"), int | float):
            took.setdefault(str(line.get("kind")), []).append(float(line["seconds"]))
    todo = {str(kind): int(n) for kind, n in (plan.get("todo") or {}).items()}
    counts = Counter(str(line.get("kind")) for line in done.values())
    elapsed: dict[str, list[float]] = {}
    for line, seconds in running:
        elapsed.setdefault(str(line.get("kind")), []).append(seconds)
    return Status(
        todo=todo,
        kept=sum(int(n) for n in (plan.get("kept") or {}).values()),
        done=counts,
        running=[(str(line.get("name")), seconds, int(line.get("pid") or 0)) for line, seconds in running],
        failed=[(str(line.get("name")), str(line.get("error"))) for line in over.values() if line["event"] == "failed"],
        skipped=sum(line["event"] == "skipped" for line in over.values()),
        interrupted=[str(line.get("name")) for line in open_.values() if not lives(line)],
        working=bool(running) or (lives(plan) and not ended),
        ended=ended,
        error=str(ends[-1].get("error") or "") if ended else "",
        left=_left(todo, counts, took, plan, elapsed),
        took=took,
    )


def _left(
    todo: Mapping[str, int],
    done: Mapping[str, int],
    took: Mapping[str, Sequence[float]],
    plan: Mapping[str, Any],
    elapsed: Mapping[str, Sequence[float]],
) -> Span | None:
    """Seconds until all is done, on as many workers as there are: from what stages took since the beginning, and where
    these are few, from what was expected. None where a kind is left of which nothing is known.

    Stages that run have been paid for in part, at most whole: one that takes longer than expected makes no other short.
    """
    total = NOTHING
    for kind, n in todo.items():
        ahead = n - done.get(kind, 0)
        if ahead <= 0:
            continue
        seen = took.get(kind, ())
        expected = (plan.get("seconds") or {}).get(kind) or (seen and [min(seen), statistics.fmean(seen), max(seen)])
        if len(seen) >= ENOUGH:
            expected = [min(seen), statistics.fmean(seen), max(seen)]
        if not expected:
            return None
        each = Span(*map(float, expected))
        begun = [each.less(seconds) for seconds in elapsed.get(kind, ())[:ahead]]
        total = sum(begun, total) + each.times(ahead - len(begun))
    workers = max(1, int(plan.get("workers") or 1))
    return total.times(1 / workers)
