"""What a tokenizer lost of a corpus, kept beside the organism for whoever reads its numbers. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dormouse.json_files import json_text, read_json

UNREAD = "unread.json"


def write_unread(folder: Path, said: Sequence[str]) -> None:
    """Leave `unread.json` in the folder of an organism."""
    (folder / UNREAD).write_text(json_text(list(said)), encoding="utf-8")


def read_unread(folder: Path) -> list[str]:
    """What stands there; nothing where an older version planted it, or nothing was planted."""
    return read_json(folder / UNREAD, list[str]) if (folder / UNREAD).is_file() else []
