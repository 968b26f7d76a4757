"""Do something in a copy of this process, with limits of time and memory, that can write no file.

The copy is forked: what this process has imported is there already, so that it costs milliseconds. It is for work that
a stranger's file decides about, and what it says is all that comes back.
"""

from __future__ import annotations

import json
import math
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psutil

from dormouse.errors import UserError, reason

Say = Callable[[str], None]


PATIENCE = 10
"""So many times its seconds in all a copy has that only waits for a processor, or for a disk."""


@dataclass(frozen=True)
class Limits:
    """Seconds of processor time, seconds in all (see `PATIENCE`), and bytes beside what this process has already."""

    seconds: float = 20
    wall: float = 90.0
    bytes: int = 3_000_000_000


@dataclass(frozen=True)
class Fault:
    """What went wrong, in which step of the work, and how to fix it ("": nobody knows)."""

    step: str
    what: str
    remedy: str = ""


def attempt(work: Callable[[Say], None], limits: Limits) -> Fault | None:
    """Do `work` in a copy of this process, and say what went wrong.

    Args:
        work: is given a function to say with which step it begins. A UserError that it raises comes back as it is.

    Raises:
        UserError: the machine was too busy for it: nothing is known of the work.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        _work(work, limits, writer)
    os.close(writer)
    try:
        said, late, waits = _listen(reader, limits.wall, child)
    finally:
        os.close(reader)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        _, status, used = os.wait4(child, 0)
    step = next((line["step"] for line in reversed(said) if "step" in line), "")
    if said and "end" in said[-1]:
        return Fault(step, *said[-1]["end"]) if said[-1]["end"] else None
    if waits:
        had = f"{used.ru_utime + used.ru_stime:.2g} seconds of processor time in {PATIENCE * limits.wall:g}"
        raise UserError(
            f"this machine is too busy: the process that opens the files of a model first was given {had}",
            "try again when it is less busy, or with fewer --workers",
        )
    ended = os.waitstatus_to_exitcode(status)
    if late or ended in (-signal.SIGXCPU, -signal.SIGPROF):
        return Fault(step, f"it comes to no end within {limits.wall if late else limits.seconds:g} seconds")
    return Fault(step, f"the process that opens it ends with signal {-ended}")


def _waits(child: int) -> bool:
    """Whether a process would go on if it were given a processor, or its disk answered."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(child).status() in (psutil.STATUS_RUNNING, psutil.STATUS_DISK_SLEEP)
    return False


def _listen(reader: int, wall: float, child: int) -> tuple[list[dict[str, Any]], bool, bool]:
    """The lines that come from a pipe until it is closed or the last of them has come; whether it took too long; and
    whether that was for want of a processor."""
    until, raw = time.monotonic() + wall, b""
    at_most = until + (PATIENCE - 1) * wall
    readable = select.poll()  # `select.select` knows no file of a number above 1,023
    readable.register(reader)
    late = waits = False
    while not late:
        if readable.poll(max(0.0, until - time.monotonic()) * 1000):
            part = os.read(reader, 65_536)
            raw += part
            if not part or b'"end"' in raw.rpartition(b"\n")[0].rpartition(b"\n")[2]:
                break
        if time.monotonic() >= until:
            waits = _waits(child)
            late = not waits or until >= at_most
            until = min(until + wall, at_most)
    return [json.loads(line) for line in raw.splitlines()], late, late and waits


def _work(work: Callable[[Say], None], limits: Limits, writer: int) -> None:
    """In the copy. It never returns, and holds no file of the process that it is a copy of: a lock would outlive it."""

    def tell(**said: Any) -> None:
        os.write(writer, json.dumps(said).encode() + b"\n")

    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both: the other one ends this
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for file in _open_files() - {nowhere, writer}:  # stderr too: Rust says there that it panics
            os.dup2(nowhere, file)
        _limit(resource.RLIMIT_CPU, math.ceil(limits.seconds))
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, limits.seconds)  # the limit above knows whole seconds alone
        _limit(resource.RLIMIT_AS, _size() + limits.bytes)
        _limit(resource.RLIMIT_FSIZE, 0)
        _limit(resource.RLIMIT_CORE, 0)
        work(lambda step: tell(step=step))
        tell(end=[])
    except UserError as error:
        tell(end=[error.what, error.remedy])
    except MemoryError:
        tell(end=[f"it takes too much memory: more than {limits.bytes / 1e9:g} GB", ""])
    except BaseException as error:  # a panic in Rust is no Exception
        tell(end=[reason(error), ""])
    finally:
        os._exit(0)


def _open_files() -> set[int]:
    """The numbers of the files that this process has open, and of the usual three. What replaces one takes its number:
    an object that is put away closes that."""
    try:
        return {0, 1, 2, *map(int, os.listdir("/dev/fd"))}
    except OSError:  # a system without it
        return {0, 1, 2}


def _limit(what: int, most: int) -> None:
    """Limit what this process may take. macOS knows the limit of memory and does not keep it, or refuses it: there a
    file that takes too much is stopped by the limits of time."""
    _, hard = resource.getrlimit(what)
    with suppress(*(() if sys.platform == "linux" else (ValueError, OSError))):
        resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _size() -> int:
    """Bytes of address space that this process has."""
    return int(psutil.Process().memory_info().vms)
