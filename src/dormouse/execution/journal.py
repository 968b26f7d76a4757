"""The journal of a study: what began, ended and failed, a line each; and what it says to someone who asks meanwhile."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from dormouse.errors import UserError, utf8, with_type
from dormouse.execution.births import birth, has_other_numbers, own_birth
from dormouse.execution.estimate import NO_TIME, Span, counted, duration
from dormouse.execution.stage import Stage
from dormouse.files import read_whole
from dormouse.json_files import Json, append_json_line, parse
from dormouse.locks import is_held

JOURNAL = "journal.jsonl"
Event = Literal["planned", "started", "kept", "working", "finished", "failed", "skipped", "ended"]
EVENTS = get_args(Event)
OVER = ("finished", "kept", "failed", "skipped")
"""Events after which nobody is about a stage."""
REMOVE = "remove it: only `dormouse status` reads it, and the next run begins another"
ENOUGH = 3
"""Stages of a kind that must have been finished before their own times are better than those of earlier studies."""


@dataclass(frozen=True)
class PlannedLine:
    """The line with which a process begins: how many stages of each kind are to be done and are kept, and what one of
    them will take (seconds: low, middle, high)."""

    time: float
    event: Literal["planned"]
    pid: int
    host: str
    todo: Mapping[str, int]
    kept: Mapping[str, int]
    seconds: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    workers: int = 1
    born: str = ""


@dataclass(frozen=True)
class JournalLine:
    """Any other line: see `Journal`."""

    time: float
    event: Event
    pid: int
    host: str
    kind: str = ""
    name: str = ""
    key: str = ""
    seconds: float | None = None
    share: float | None = None
    error: str = ""
    traceback: str = ""
    born: str = ""


@dataclass(frozen=True)
class Journal:
    """The journal at a path (None: nothing is written). Any number of processes may write to it at once.

    A line is a JSON object (a `PlannedLine` or a `JournalLine`): `time` (seconds since 1970), `event`, `pid`, `host`, `born` (when
    the process began: another has its number later), and of a stage `kind`, `name`, `key`.

    | event | more keys |
    |---|---|
    | planned | a process begins: `todo` and `kept` (kind -> stages), `seconds` (kind -> low, middle and high of one stage), `workers` |
    | started, kept | kept: another process had finished it meanwhile |
    | working | `share` of the stage that is done, every ten seconds or so |
    | finished | `seconds` |
    | failed | `error`, and of a bug `traceback` |
    | skipped | `error`: what it stands on failed |
    | ended | the process is done: `error` where it gave up |
    """  # noqa: E501

    path: Path | None

    def write(self, event: Event, stage: Stage | None = None, **more: Any) -> None:
        """Append one line. A journal that cannot be written stops nobody: what it tells is a courtesy."""
        if self.path is None:
            return
        said: dict[str, object] = {"time": round(time.time(), 3), "event": event}
        said |= {"kind": stage.kind, "name": stage.name, "key": stage.key} if stage else {}
        said |= {"pid": os.getpid(), "host": platform.node(), "born": own_birth(os.getpid()), **more}
        with suppress(OSError):
            append_json_line(self.path, said)


NO_JOURNAL = Journal(None)


def why(error: BaseException) -> str:
    """An error in one line, for the journal."""
    if isinstance(error, KeyboardInterrupt):
        return f"stopped by {error or 'Ctrl-C'}"
    return utf8(" ".join(error.what.split())[:500]) if isinstance(error, UserError) else with_type(error, 500)


def read_journal(path: Path) -> list[PlannedLine | JournalLine]:
    """The lines of a journal, in order. What is no whole line (a full disk), or no event that is known, is left out.

    Raises:
        UserError: there is none, it cannot be read, or what a line says cannot be.
    """
    try:
        raw = read_whole(path)
    except FileNotFoundError:
        raise UserError(
            f"{path.parent} holds no study that was run", "name the folder that `dormouse run` writes to"
        ) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", "fix the permissions there") from error
    lines: list[PlannedLine | JournalLine] = []
    for number, text in enumerate(raw.split(b"\n"), 1):
        try:
            event = parse(text, dict[str, Json], str(path))["event"]
        except (UserError, KeyError):
            continue
        if event == "planned":
            lines.append(parse(text, PlannedLine, str(path), REMOVE, first=number))
        elif event in EVENTS:
            lines.append(parse(text, JournalLine, str(path), REMOVE, first=number))
    return lines


Lives = Callable[[PlannedLine | JournalLine], bool]


def alive(line: PlannedLine | JournalLine, journal: Path | None = None) -> bool:
    """Whether the process that wrote a line lives. Of one on another machine it is taken to, and of one in another
    container as long as somebody holds the journal."""
    if line.host != platform.node():
        return True
    if line.born and has_other_numbers(line.born):
        return journal is None or is_held(journal) is not False
    try:
        os.kill(line.pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass  # it is somebody else's
    return not line.born or birth(line.pid) in ("", line.born)


@dataclass(frozen=True)
class Running:
    """A stage that someone is about."""

    name: str
    seconds: float
    """Since its beginning."""
    process: int
    share: float | None = None
    """How much of it was done when it last said so."""
    left: float | None = None
    """Seconds to its end, by how fast it went between its first word and its last."""

    def __str__(self) -> str:
        share = "" if self.share is None else f"{self.share:.0%} "
        left = "" if self.left is None else f", about {duration(self.left)} left"
        return f"{self.name}, {share}in {duration(self.seconds)}{left} (process {self.process})"


@dataclass(frozen=True)
class Status:
    """How a study stands. Names and errors are foreign strings."""

    todo: Mapping[str, int]
    """Kind -> stages that were to be done when the last process began."""
    kept: int
    """Stages that were in the store then."""
    done: Mapping[str, int]
    running: Sequence[Running]
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
    """Seconds until all is done of which something is known; None where nothing is known of any."""
    took: Mapping[str, Sequence[float]] = field(default_factory=dict)
    unknown: int = 0
    """Stages that are not in `left`: nothing like them was done here before."""

    @property
    def is_reporting(self) -> bool:
        """Whether no stage is left, and a process puts together what was found."""
        over = sum(self.done.values()) + len(self.failed) + self.skipped
        return self.working and not self.running and over >= sum(self.todo.values())

    def lines(self) -> list[str]:
        """What a person reads."""
        todo, done = sum(self.todo.values()), sum(self.done.values())
        state = "running" if self.working else "finished" if self.ended and not self.error else "stopped"
        said = [f"{state}: {done} of {todo} stages done" + (f", {self.kept} were there before" if self.kept else "")]
        for kind, n in self.todo.items():
            times = self.took.get(kind, ())
            each = f", {duration(statistics.fmean(times))} each" if times else ""
            said.append(f"  {kind:10} {self.done.get(kind, 0):5} of {n:5}{each}")
        if self.is_reporting:
            said.append("now: all stages are over; the results are put together and the report is written")
        elif self.working and self.left:
            rest = f"; not in it: {counted(self.unknown, 'stage')} of kinds that were never done here"
            said.append(f"time left: about {self.left.said(duration)}{rest if self.unknown else ''}")
        elif self.working and done < todo:
            said.append("time left: nothing like it was done here before")
        said += [f"now: {stage}" for stage in self.running]
        said += [f"failed: {name}: {why}" for name, why in self.failed]
        if self.skipped:
            said.append(f"not begun, as what they stand on failed: {counted(self.skipped, 'stage')}")
        said += [f"interrupted: {name}: its process is gone" for name in self.interrupted]
        if self.error:
            said.append(f"given up: {self.error}")
        if state == "stopped" or self.failed:
            said.append("the same `dormouse run` goes on from there")
        return said


def status(folder: Path, now: float | None = None, lives: Lives | None = None) -> Status:
    """How the study whose results go to a folder stands, by its journal.

    Raises:
        UserError: there is no journal, or what it says cannot be.
    """
    lines = read_journal(folder / JOURNAL)
    begun = max((i for i, line in enumerate(lines) if isinstance(line, PlannedLine)), default=None)
    if begun is None:
        raise UserError(f"the journal in {folder} says nothing", "run the study again")
    try:
        return _status(
            lines, begun, time.time() if now is None else now, lives or partial(alive, journal=folder / JOURNAL)
        )
    except OverflowError as error:
        raise UserError(f"{folder / JOURNAL} is damaged: {error}", REMOVE) from error


def _status(lines: Sequence[PlannedLine | JournalLine], begun: int, now: float, lives: Lives) -> Status:
    """`begun`: the line with which the last process began."""
    plan = lines[begun]
    assert isinstance(plan, PlannedLine)
    said = [line for line in lines if isinstance(line, JournalLine)]
    since = [line for line in lines[begun + 1 :] if isinstance(line, JournalLine)]
    over = {line.key: line for line in since if line.event in OVER}
    done = {key: line for key, line in over.items() if line.event in ("finished", "kept")}
    open_ = _open(said)
    ends = [line for line in since if line.event == "ended"]
    ended = bool(ends) and ends[-1].pid == plan.pid
    took: dict[str, list[float]] = {}
    for line in done.values():
        if line.seconds is not None:
            took.setdefault(line.kind, []).append(line.seconds)
    counts = Counter(line.kind for line in done.values())
    whole = ended and not ends[-1].error  # then nobody misses what was cut off before
    busy: dict[str, list[Running]] = {}
    for about in open_:
        if lives(about[0]):
            busy.setdefault(about[0].kind, []).append(_running(about, now))
    running = [_running(about, now) for about in open_ if lives(about[0])]
    left, unknown = _left(counts, took, plan, busy)
    return Status(
        todo=plan.todo,
        kept=sum(plan.kept.values()),
        done=dict(counts),
        running=running,
        failed=[(line.name, line.error) for line in over.values() if line.event == "failed"],
        skipped=sum(line.event == "skipped" for line in over.values()),
        interrupted=[about[0].name for about in open_ if not whole and not lives(about[0])],
        working=bool(running) or (lives(plan) and not ended),
        ended=ended,
        error=ends[-1].error if ended else "",
        left=left,
        took=took,
        unknown=unknown,
    )


def _open(lines: Sequence[JournalLine]) -> list[list[JournalLine]]:
    """Of each stage that was begun and is not over: the line that says so, and those that say how far it is. It may
    have been begun by a process that was there before the last."""
    found: dict[str, list[JournalLine]] = {}
    for line in lines:
        if line.event == "started":
            found[line.key] = [line]
        elif line.event == "working" and line.share is not None:
            found.get(line.key, []).append(line)
        elif line.event in OVER:
            found.pop(line.key, None)
    return list(found.values())


def _running(said: Sequence[JournalLine], now: float) -> Running:
    """A stage by the lines about it: that it began, and how far it was when."""
    seen = [(line.time, line.share) for line in said[1:] if line.share is not None]
    left = None
    if len(seen) > 1 and seen[-1][1] > seen[0][1]:
        (first, from_), (last, share) = seen[0], seen[-1]
        left = max(0.0, (1 - share) * (last - first) / (share - from_) - (now - last))
    begun = said[0]
    return Running(begun.name, max(0.0, now - begun.time), begun.pid, seen[-1][1] if seen else None, left)


def _left(
    done: Mapping[str, int],
    took: Mapping[str, Sequence[float]],
    plan: PlannedLine,
    running: Mapping[str, Sequence[Running]],
) -> tuple[Span | None, int]:
    """Seconds until all is done, on as many workers as there are: from what stages took since the beginning, and where
    these are few, from what was expected; and how many stages are not in that sum, as nothing is known of them. None
    where that are all that are left.

    A stage that runs and says how far it is has what that leaves. Others have been paid for in part, at most whole: one
    that takes longer than expected makes no other short.
    """
    total, unknown, known = NO_TIME, 0, 0
    for kind, n in plan.todo.items():
        ahead = n - done.get(kind, 0)
        if ahead <= 0:
            continue
        seen = took.get(kind, ())
        expected = plan.seconds.get(kind)
        if len(seen) >= ENOUGH or (seen and not expected):
            expected = (min(seen), statistics.fmean(seen), max(seen))
        begun = running.get(kind, ())[:ahead]
        if not expected:
            begun = [stage for stage in begun if stage.left is not None]
            unknown, ahead = unknown + ahead - len(begun), len(begun)
        known += ahead
        each = Span(*(expected or NO_TIME))
        rest = [each.less(one.seconds) if one.left is None else Span(one.left, one.left, one.left) for one in begun]
        total = sum(rest, total) + each.times(ahead - len(begun))
    return None if unknown and not known else total.times(1 / max(1, plan.workers)), unknown
