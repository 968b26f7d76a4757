"""What dormouse's own code comes to, kept on the disk: to take it apart takes a second and a half in every command.

A file for each state of the code: its name is a checksum of all files of dormouse, this one among them, and of the
version of Python, whose parser takes it apart. So nothing in it can be of other code. Without it, or where it is
damaged, all is taken apart again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from dormouse.files import read_whole, replaced
from dormouse.syntax import Symbol

MOST = 8
"""Files that are kept, the newest: of other versions that share the folder, and of code that is being worked on."""


@dataclass
class Reached:
    """What one symbol comes to: its own code, and what it uses."""

    pieces: list[tuple[str, str]] = field(default_factory=list)
    uses: list[Symbol] = field(default_factory=list)
    libraries: set[str] = field(default_factory=set)
    """Packages that code of dormouse uses: none of them is a plug-in's."""


def recall(folder: Path, state: str) -> dict[Symbol, Reached]:
    """What is kept of a state of the code; nothing where no file is, or one that is not whole."""
    with suppress(OSError, ValueError, TypeError):
        checksum, _, text = read_whole(_file(folder, state)).decode().partition("\n")
        if checksum == sha256(text.encode()).hexdigest():
            return {
                Symbol(*_pair(symbol)): Reached(
                    [_pair(one) for one in pieces], [Symbol(*one) for one in uses], set(libraries)
                )
                for symbol, pieces, uses, libraries in json.loads(text)
            }
    return {}


def keep(folder: Path, state: str, known: Mapping[Symbol, Reached]) -> None:
    """Keep what the code of a state comes to, if the folder takes it."""
    said = [
        [
            (symbol.module, symbol.name),
            one.pieces,
            [(used.module, used.name) for used in one.uses],
            sorted(one.libraries),
        ]
        for symbol, one in known.items()
    ]
    text = json.dumps(said, separators=(",", ":"))
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        replaced(_file(folder, state), f"{sha256(text.encode()).hexdigest()}\n{text}")
        for old in sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime)[:-MOST]:
            old.unlink()


def _file(folder: Path, state: str) -> Path:
    return folder / f"{state}.json"


def _pair(said: Sequence[str]) -> tuple[str, str]:
    first, second = said
    return first, second
