"""Folders that an audit or a benchmark writes into, tried before hours are spent on what is to stand there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from dormouse.errors import UserError


def refuse_unwritable(out: Path) -> None:
    """
    Raises:
        UserError: what stands above a folder that is to be made, or is there, is no folder to write to.
    """
    above = next(folder for folder in (out, *out.parents) if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise UserError(f"{out} cannot be made: {above} is not a folder to write to", "name another one with --out")


def make_writable(out: Path) -> None:
    """Make a folder, where it is missing, and try to write a file there.

    Raises:
        UserError: that cannot be done.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
    except OSError as error:
        raise UserError(
            f"{out} cannot be written to: {error.strerror or error}", "name another folder with --out"
        ) from error
