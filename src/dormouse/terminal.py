"""What a terminal shows: one message and exit code 2 for what a user can fix, and nothing that could act."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from contextlib import suppress
from typing import Any

import click

from dormouse import stopping
from dormouse.errors import DormouseWarning, UserError

REFUSALS: tuple[int, ...] = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENAMETOOLONG,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENOTDIR,
)
"""What an operating system may refuse anywhere, and a user can fix."""


REMEDY = "free some space, fix the permissions there, or move away what stands in the place of a file or a folder"


STOPPED = "\ndormouse: stopped. What was finished is kept: the same command goes on from there."


class ErrorGroup(click.Group):
    """Turns what a user can fix into one message and exit code 2, and a signal that stops it into how to go on."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command: what a user can mend is one message and exit code 2; Ctrl-C is 130."""
        warnings.showwarning = _show_warning
        with stopping.listening():
            return self._invoke(ctx)

    def _invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            click.echo(f"dormouse: {printable(error.what)}\n  -> {printable(error.remedy)}", err=True)
            ctx.exit(2)
        except KeyboardInterrupt as stopped:
            if isinstance(stopped, stopping.Stopped):
                stopping.ignore()
            with suppress(OSError):  # the terminal may have gone
                click.echo(STOPPED, err=True)
            ctx.exit(getattr(stopped, "code", 130))
        except BrokenPipeError:
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115
            ctx.exit(1)
        except OSError as error:
            if error.errno not in REFUSALS:
                raise
            what = f"{error.strerror}{f': {error.filename}' if error.filename else ''}"
            click.echo(f"dormouse: {printable(what)}\n  -> {REMEDY}", err=True)
            ctx.exit(2)


def _show_warning(message: Any, category: Any, *_: Any, **__: Any) -> None:
    if issubclass(category, DormouseWarning):
        click.echo(f"dormouse: warning: {printable(str(message))}", err=True)


def printable(text: str) -> str:
    """A text from a model or a user without control characters (a terminal obeys them)."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)
