"""A folder that an audit or a benchmark writes into, tried before hours are spent on what is to stand there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dormouse import locks
from dormouse.errors import UserError
from dormouse.outputs import refuse_in_store

LOCK = ".lock"


def make_writable(out: Path) -> None:
    """Make a folder, where it is missing, and try to write a file there.

    Raises:
        UserError: that cannot be done, or it would lie in a store.
    """
    refuse_in_store(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
    except OSError as error:
        raise UserError(
            f"{out} cannot be written to: {error.strerror or error}", "name another folder with --out"
        ) from error


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Meanwhile nobody else does this in the folder. Where the file system has no locks, nobody is held off.

    Raises:
        UserError: somebody does, or the folder is another user's.
    """
    try:
        opened = locks.opened(out / LOCK)
    except OSError as error:
        what = f"{out / LOCK} cannot be written to: {error.strerror}"
        raise UserError(what, "name another folder with --out") from error
    with opened as file:
        try:
            locks.flock(file, locks.LOCK_EX | locks.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"another audit or benchmark is being run into {out}",
                "wait for its end, or name another folder with --out",
            ) from None
        except OSError as error:
            if error.errno not in locks.ABSENT:
                raise
        yield
