"""Files: checksums, and what is surely on the disk."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path


def sha256(path: Path) -> str:
    """The checksum of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fsync(path: Path) -> None:
    """Have what was written to a file, or the names in a folder, on the disk before this returns."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def mode_of(path: Path) -> int:
    """The mode that a file or a folder has by the umask of this process. Libraries write weights that nobody else may
    read, whatever it says."""
    with suppress(OSError):  # /proc: to ask the process itself is to change it for a moment
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("Umask:"):
                return (0o777 if path.is_dir() else 0o666) & ~int(line.split()[1], 8)
    return path.stat().st_mode & 0o7777


def replaced(path: Path, content: bytes) -> None:
    """Write a file whole: where there is no room the old one stays as it was."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        scratch.write_bytes(content)
        scratch.replace(path)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise
