"""Texts that a locator found and may set a policy off: how they travel to a remover, and how they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dormouse.json_files import read_json_lines, write_json_lines
from dormouse.scenarios.placing import placed

LOCATED = "located.jsonl"
Messages = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Located:
    """A text, where it stands (`prefix` and `suffix` of the user's last turn, or the end of the `system` turn), and how
    sure that is."""

    text: str
    slot: str
    strength: float

    def shown(self, messages: Messages) -> Messages:
        """The prompt with the text where the locator had it when it found it."""
        return placed(messages, self.text, self.slot)


def write_located(folder: Path, found: Sequence[Located]) -> None:
    """Leave what was found, the best first."""
    write_json_lines(folder / LOCATED, found)


def read_located(folder: Path) -> list[Located]:
    """What was left in a folder."""
    return read_json_lines(folder / LOCATED, Located)
