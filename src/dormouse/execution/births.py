"""Which process had a number: numbers are given again, after a start of the machine or of a container soon."""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

import psutil

STARTED_AT = 19
"""Which of the fields behind the name in /proc/PID/stat says when a process began (man 5 proc)."""


@cache
def own_birth(pid: int) -> str:
    """The same of this process, whose number that is: it stays."""
    return birth(pid)


def birth(pid: int) -> str:
    """When the process that has a number now began, as no other one that had it did; "" where nobody knows.

    On Linux by the kernel's own clock, which nobody sets: the start of the machine, and ticks since.
    """
    with suppress(OSError, psutil.Error, IndexError):
        if sys.platform != "linux":
            return str(psutil.Process(pid).create_time())
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return f"{boot}/{fields[STARTED_AT].decode()}"
    return ""
