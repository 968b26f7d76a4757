"""Locks: of the threads of a process, and of files. Those of files are POSIX's, shared and exclusive, which the kernel
drops when their holder dies.

The package filelock has them too, by the same call, but no shared ones; and what it does where there are none (a file
that is there or not) stays behind when its holder is killed on another machine.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import FileIO
from pathlib import Path

from dormouse.errors import UserError, warn

try:
    from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
except ImportError as missing:  # Windows
    raise UserError(
        "this system has no POSIX file locks, on which the store stands", "run dormouse on Linux or macOS, or in WSL 2"
    ) from missing

__all__ = [
    "ABSENT",
    "LOCK_EX",
    "LOCK_NB",
    "LOCK_SH",
    "REMEDY",
    "ThreadLock",
    "flock",
    "holding",
    "is_held",
    "one_at_a_time",
    "opened",
]

ABSENT = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What a file system says that has no locks."""
REMEDY = (
    "mount it with them (NFS: version 4, or lockd without `nolock`; Lustre: `-o flock`), or name a folder on a file "
    "system that has them: --store, DORMOUSE_HOME"
)


def opened(path: Path, flags: int = os.O_RDWR | os.O_CREAT) -> FileIO:
    """A file to lock. A pipe in its place is not waited for."""
    return FileIO(os.open(path, flags | os.O_NONBLOCK, 0o666), "r" if flags == os.O_RDONLY else "r+")


@contextmanager
def holding(path: Path) -> Iterator[None]:
    """Meanwhile others see (`is_held`) that somebody is about a file, also from a container. The kernel ends that with
    the process. Where there are no locks, nobody sees it."""
    with ExitStack() as using:
        with suppress(OSError):
            flock(using.enter_context(opened(path)), LOCK_SH)
        yield


def is_held(path: Path, how: int = LOCK_EX) -> bool | None:
    """Whether somebody holds a lock of a file; None where that cannot be told.

    Args:
        how: LOCK_EX asks for any lock, and LOCK_SH for one that holds off all others, for which it is enough that the
            file may be read.
    """
    try:
        with opened(path, os.O_RDONLY if how == LOCK_SH else os.O_RDWR) as file:
            flock(file, how | LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False


PATIENCE = 30.0
"""Seconds that a thread waits for another without a word."""


class ThreadLock:
    """A `lock` for a global of a module: of all threads of this process one is inside, and may enter again. In a fork
    it is another one: the thread that was inside may not be there to leave."""

    def __init__(self) -> None:
        self._anew()
        os.register_at_fork(after_in_child=self._anew)

    def _anew(self) -> None:
        self.lock = threading.RLock()


_models = ThreadLock()


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Of all threads of this process one is inside: where a model is loaded, asked or trained. torch's random numbers
    and defaults, the environment and the patches with which transformers loads are the whole process's. Who is inside
    may enter again."""
    lock = _models.lock
    since = time.strftime("%H:%M:%S")  # in the text, as Python shows the same one of a line once in a process
    if not lock.acquire(timeout=PATIENCE):
        warn(
            f"another thread of this process works with a model, and this one waits since {since} until it is done: "
            "only one does so at a time. Use another process for what is to be done meanwhile",
            _callers_level(),
        )
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _callers_level() -> int:
    """Which of the callers of `one_at_a_time` is none of dormouse's, nor of the library by which it is entered."""
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in ("dormouse", "contextlib"):
        frame, level = frame.f_back, level + 1
    return level
