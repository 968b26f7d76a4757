"""Locks of files that the kernel drops when their holder dies: those of POSIX."""

from __future__ import annotations

from dormouse.errors import UserError

try:
    from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
except ImportError as missing:  # Windows
    raise UserError(
        "this system has no POSIX file locks, on which the store stands", "run dormouse on Linux or macOS, or in WSL 2"
    ) from missing

__all__ = ["LOCK_EX", "LOCK_NB", "LOCK_SH", "flock"]
