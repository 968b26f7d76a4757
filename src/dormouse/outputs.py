"""What a command is asked to write: tried before any work is done, and put in its place whole."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dormouse.entry import ENTRIES
from dormouse.errors import UserError, refusal, utf8
from dormouse.files import TAKES_NOTHING, scratch_beside
from dormouse.store import LOCKS, ROOMS

THERE = (errno.EEXIST, errno.ENOTEMPTY)
"""What a system says of a name that another has taken."""


@contextmanager
def fresh(out: Path) -> Iterator[Path]:
    """A name of one's own, whose file or folder becomes `out` when all of it is written. Of two at once one is refused.

    Raises:
        UserError: `out` is there already, would lie in a store, or cannot be written.
    """
    refuse_old(out)
    scratch = out
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with scratch_beside(out) as scratch:
            yield scratch
            refuse_old(out)
            scratch.rename(out)
    except UserError:
        raise
    except Exception as error:
        refused = refusal(error)
        if refused is None or not _is_about(refused, out, scratch):
            raise
        if refused.errno in THERE and os.path.lexists(out):
            raise _is_there(out) from error
        what = f"{out} cannot be written: {refused.strerror or refused}"
        raise UserError(what, "name one in a folder with room that you may write to") from error


def _is_about(refused: OSError, *ours: Path) -> bool:
    """Whether one of our paths is what was refused, with what is in it and above it. Who writes is rarely told the name
    of the file."""
    if not isinstance(refused.filename, str | bytes | os.PathLike):
        return refused.errno in TAKES_NOTHING
    file = Path(os.path.abspath(os.fsdecode(refused.filename)))
    return any(
        file.is_relative_to(one) or one.is_relative_to(file) for one in (Path(os.path.abspath(path)) for path in ours)
    )


def refuse_old(out: Path) -> None:
    """
    Raises:
        UserError: something stands there, or it would lie in a store.
    """
    refuse_in_store(out)
    if not out.name or out.exists():
        raise _is_there(out)


def _is_there(out: Path) -> UserError:
    return UserError(f"{out} is there already", "name a new one")


def refuse_odd_name(folder: Path, remedy: str) -> None:
    """
    Raises:
        UserError: the whole path of a folder is no UTF-8: no file that names it could be read back.
    """
    if (whole := os.path.realpath(folder)) != utf8(whole):
        raise UserError(f"the name of {utf8(whole)} is no UTF-8", remedy)


def refuse_unwritable(out: Path) -> None:
    """
    Raises:
        UserError: what stands above a folder that is to be made, or is there, is no folder to write to; or its name is
            no UTF-8; or it would lie in a store.
    """
    refuse_in_store(out)
    refuse_odd_name(out, "name another one with --out")
    above = next(folder for folder in (out, *out.parents) if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise UserError(f"{out} cannot be made: {above} is not a folder to write to", "name another one with --out")


def refuse_in_store(out: Path) -> None:
    """The `weights` of a model lead into the store: a file beside them damages the entry, which is then made anew.

    Raises:
        UserError: it would lie in what a store keeps.
    """
    place = Path(os.path.realpath(out))
    for one in (place, *place.parents):
        store = one.parent
        if one.name in ROOMS and (store / ENTRIES).is_dir() and (store / LOCKS).is_dir():
            what = f"{out} would lie in the store {store}, which damages what is kept there"
            raise UserError(what, "name a place outside of the store")
