"""Ending a process with all that it started, also what went into a session of its own and lost its parent."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from contextlib import suppress
from typing import Any

SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of Linux."""
ROUNDS, PAUSE = 100, 0.02
"""How often, with how many seconds between, what is left is looked for: what is killed may have started more."""


def adopt_orphans() -> None:
    """From now on this process is the parent of whatever its descendants leave behind (a daemon), so that it is found
    among them. On Linux; elsewhere such a thing is lost."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)


def end_descendants(pid: int) -> None:
    """Kill all that a process has started, and what that has started; the process itself goes on."""
    import psutil

    for _ in range(ROUNDS):
        try:
            left = psutil.Process(pid).children(recursive=True)
        except psutil.Error:
            return
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
