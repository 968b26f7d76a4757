"""What studies, claims and arms may be called: their names become files and folders."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from dormouse.registry import NAME, in_words
from dormouse.studies.grid import LONGEST

SIGNS = "a name is letters, digits, `_`, `.` and `-`, {} at most, and begins with a letter or a digit"
Name = Annotated[str, StringConstraints(pattern=in_words(f"^{NAME.pattern}$", SIGNS.format(64)))]
ArmName = Annotated[
    str,
    StringConstraints(
        pattern=in_words(rf"^[A-Za-z0-9][A-Za-z0-9_.-]{{0,{LONGEST - 1}}}$", SIGNS.format(LONGEST)),
    ),
]
"""The name of an organism or a chain, or of an arm that a grid made of one."""
