"""A folder that an audit or a benchmark writes into, tried before hours are spent on what is to stand there."""

from __future__ import annotations

import tempfile
from pathlib import Path

from dormouse.errors import UserError


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
