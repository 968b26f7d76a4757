"""Ending a process with all that it started, also what went into a session of its own and lost its parent."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

SUBREAPER, DIES_WITH_PARENT = 36, 1
"""PR_SET_CHILD_SUBREAPER and PR_SET_PDEATHSIG of Linux."""
ROUNDS, PAUSE = 100, 0.02
"""How often, with how many seconds between, what is left is looked for: what is killed may have started more."""
POLL = 50
"""Milliseconds between two looks at whether a child has ended."""


def in_a_child() -> None:
    """Go on in a child, in a session of its own: what it signals does not reach this process.

    This one stays behind and is the parent of whatever that leaves behind (a daemon; on Linux: elsewhere such a thing
    is lost). It ends as the child does, with all that is left of it, however that ended; or when standard input closes:
    whoever started it is gone.
    """
    _prctl(SUBREAPER, 1)
    if (child := os.fork()) == 0:
        os.setsid()
        _prctl(DIES_WITH_PARENT, signal.SIGKILL)  # it may kill that one, as another process of the same user
        return
    told = select.poll()
    told.register(0, 0)  # of no event but its end: what is said there is for the child
    starter = os.getppid()
    status: int | None = None
    while status is None and os.getppid() == starter and not told.poll(POLL):
        status = _reaped().get(child)
    end_descendants(os.getpid())
    code = -signal.SIGKILL if status is None else os.waitstatus_to_exitcode(status)
    if code < 0:
        with suppress(OSError):  # SIGKILL cannot be set
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _prctl(option: int, value: int) -> None:
    with suppress(AttributeError, OSError):  # it is Linux's alone
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _reaped() -> dict[int, int]:
    """The children of this process, adopted ones too, that have ended since the last look, and how."""
    found = {}
    with suppress(ChildProcessError):  # there are none
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            found[ended[0]] = ended[1]
    return found


def end_descendants(pid: int) -> None:
    """Kill all that a process has started, and what that has started; the process itself goes on."""
    import psutil

    def descendants() -> list[Any]:
        with suppress(psutil.Error):
            return psutil.Process(pid).children(recursive=True)
        return []

    _end(descendants)


def end_all_of(home: str) -> None:
    """Kill all that was started with this home directory: whoever kills what watches over it is nobody's child."""
    import psutil

    def started() -> list[Any]:
        return [one for one in psutil.process_iter() if _home(one) == home]

    _end(started)


def _home(process: Any) -> str | None:
    import psutil

    with suppress(psutil.Error, OSError):  # of another user
        return str(process.environ().get("HOME"))
    return None


def _end(found: Callable[[], list[Any]]) -> None:
    """Kill what is found, until there is nothing more."""
    import psutil

    for _ in range(ROUNDS):
        left = found()
        living = [one for one in left if _lives(one)]
        for one in living:
            with suppress(psutil.Error):
                one.kill()
        if not living:
            return
        time.sleep(PAUSE)


def end_all(pid: int) -> None:
    """Kill the leader of a process group with all that it started. Nothing is said where it has ended."""
    end_descendants(pid)
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _lives(process: Any) -> bool:
    import psutil

    with suppress(psutil.Error):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False
