"""Files: checksums, what is surely on the disk, and JSON lines."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


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


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]], more: bool = False) -> None:
    """Write a JSON object a line; `more` puts them after what is there."""
    with path.open("a" if more else "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON objects of a file, line by line.

    Raises:
        OSError: it cannot be read.
        ValueError: a line is no JSON.
    """
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]
