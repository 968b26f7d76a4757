"""Locks of files that the kernel drops when their holder dies: those of POSIX, shared and exclusive.

The package filelock has them too, by the same call, but no shared ones; and what it does where there are none (a file
that is there or not) stays behind when its holder is killed on another machine.
"""

from __future__ import annotations

import errno

from dormouse.errors import UserError

try:
    from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
except ImportError as missing:  # Windows
    raise UserError(
        "this system has no POSIX file locks, on which the store stands", "run dormouse on Linux or macOS, or in WSL 2"
    ) from missing

__all__ = ["ABSENT", "LOCK_EX", "LOCK_NB", "LOCK_SH", "REMEDY", "flock"]

ABSENT = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What a file system says that has no locks."""
REMEDY = (
    "mount it with them (NFS: version 4, or lockd without `nolock`; Lustre: `-o flock`), or name a folder on a file "
    "system that has them: --store, DORMOUSE_HOME"
)
