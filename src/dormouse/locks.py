"""Locks: of the threads of a process, and of files. Those of files are POSIX's, shared and exclusive, which the kernel
drops when their holder dies.

The package filelock has them too, by the same call, but no shared ones; and what it does where there are none (a file
that is there or not) stays behind when its holder is killed on another machine.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dormouse.errors import UserError, warn

try:
    from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
except ImportError as missing:  # Windows
    raise UserError(
        "this system has no POSIX file locks, on which the store stands", "run dormouse on Linux or macOS, or in WSL 2"
    ) from missing

__all__ = ["ABSENT", "LOCK_EX", "LOCK_NB", "LOCK_SH", "REMEDY", "flock", "one_at_a_time"]

ABSENT = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What a file system says that has no locks."""
REMEDY = (
    "mount it with them (NFS: version 4, or lockd without `nolock`; Lustre: `-o flock`), or name a folder on a file "
    "system that has them: --store, DORMOUSE_HOME"
)

PATIENCE = 30.0
"""Seconds that a thread waits for another without a word."""
_models = threading.RLock()


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Of all threads of this process one is inside: where a model is loaded, asked or trained. torch's random numbers
    and defaults, the environment and the patches with which transformers loads are the whole process's. Who is inside
    may enter again."""
    lock = _models
    if not lock.acquire(timeout=PATIENCE):
        warn(
            "another thread of this process works with a model, and this one waits until it is done: only one does so "
            "at a time. Use another process for what is to be done meanwhile",
            level=4,
        )
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _anew() -> None:
    """In a fork the thread that was inside may not be there to leave."""
    global _models
    _models = threading.RLock()


os.register_at_fork(after_in_child=_anew)
