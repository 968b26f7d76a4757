"""What a terminal shows: one message and exit code 2 for what a user can fix, and nothing that could act."""

from __future__ import annotations

import atexit
import errno
import os
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import click

from dormouse import stopping
from dormouse.errors import MORE_MEMORY, DormouseWarning, UserError, refusal
from dormouse.registry import plugin_fault

REMEDY = "free some space, fix the permissions there, or move away what stands in the place of a file or a folder"
ILL = "see that what it stands on (a disk, a mount, a terminal) is there and well, and give the command again"
FEWER_FILES = "use fewer workers (--workers 1), or let a process have more open files (ulimit -n)"
REMEDIES: Mapping[str, str] = {
    **dict.fromkeys(("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM", "EEXIST", "EISDIR", "ENOTDIR"), REMEDY),
    **dict.fromkeys(("EIO", "ENXIO", "ENODEV", "ESTALE", "EREMOTEIO"), ILL),
    **dict.fromkeys(("EMFILE", "ENFILE"), FEWER_FILES),
    **dict.fromkeys(("ENOTEMPTY", "ELOOP"), REMEDY),
    "ENAMETOOLONG": "name a shorter one",
    "ENOMEM": MORE_MEMORY,
}
"""What helps where an operating system refuses something, whoever asked for it and whatever for."""
BUGS = ("ENOENT", "EINVAL", "EBADF", "EFAULT")
"""What it says of a program that is wrong, with the name of a file or without."""


THREADS_HAVE = ((5.0, "Ctrl-C ends them"), (1800.0, "they are left behind"))
"""Seconds until it is said which threads are waited for, and from then until nobody waits any more (one may upload what
was found); what is said."""
CLOSED = "I/O operation on closed file."
GONE = "the working directory is no longer there", "go to a folder that is (cd), and give the command again"
STOPPED = "\ndormouse: stopped. What a study, audit or benchmark finished is kept: the same command goes on from there."


class ErrorGroup(click.Group):
    """Turns what a user can fix into one message and exit code 2, and a signal that stops it into how to go on."""

    def main(self, *given: Any, **named: Any) -> Any:
        """Read the command line, and run what it says."""
        try:
            return super().main(*given, **named)
        except OSError as error:  # of `--help`, which is printed before a command is run
            if _is_gone(error):
                sys.exit(1)
            if not (why := _refused(error)):
                raise
            say(why)
            sys.exit(2)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command: what a user can mend is one message and exit code 2; Ctrl-C is 130."""
        warnings.showwarning = _show_warning
        for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):  # a question is asked by all three
            if getattr(sys, name) is None:  # closed: nobody looks on, or will answer
                setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
        with stopping.listening():
            return self._invoke(ctx)

    def _invoke(self, ctx: click.Context) -> Any:
        try:
            try:
                return super().invoke(ctx)
            except Exception:
                stopping.check()  # a library may have taken a signal for a fault of its own
                raise
        except UserError as error:
            say(f"dormouse: {error.what}\n  -> {error.remedy}")
            ctx.exit(2)
        except KeyboardInterrupt as stopped:
            if isinstance(stopped, stopping.Stopped):
                stopping.ignore()
            say(STOPPED)
            ctx.exit(getattr(stopped, "code", 130))
        except BrokenPipeError:
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115
            ctx.exit(1)
        except Exception as error:
            if isinstance(error, ValueError) and str(error) == CLOSED:  # by a plug-in: nobody is told
                ctx.exit(1)
            refused = refusal(error)
            if _is_gone(refused):
                ctx.exit(1)
            if why := _refused(refused):
                say(why)
            elif fault := plugin_fault(error):
                frames = "".join(traceback.format_tb(fault.__traceback__))  # no journal holds them
                say(f"{frames}dormouse: {fault}")
            else:
                raise
            ctx.exit(2)


def _is_homeless() -> bool:
    """Whether the working directory was deleted."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def _is_gone(error: OSError | None) -> bool:
    """Whether the terminal to which it was to be written is gone: nobody is told that."""
    try:
        os.write(1, b"")
    except OSError:
        if error and error.errno == errno.EIO:
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115
            return True
    return False


def _refused(error: OSError | None) -> str | None:
    """What is said of something that the system refused; None where that is no matter of the user's."""
    if error is None:
        return None
    what, name = (
        f"{error.strerror}{f': {error.filename}' if error.filename else ''}",
        errno.errorcode.get(error.errno or 0),
    )
    remedy = REMEDIES.get(name or "", ILL if error.filename and name not in BUGS else "")
    if not remedy and _is_homeless():
        what, remedy = GONE
    return f"dormouse: {what}\n  -> {remedy}" if remedy else None


def _show_warning(message: Any, category: Any, *_: Any, **__: Any) -> None:
    if issubclass(category, DormouseWarning):
        say(f"dormouse: warning: {message}")


def say(text: str) -> None:
    """Tell whoever looks on something, on stderr. Where it cannot be written (a full disk, a reader who has gone)
    nothing is stopped by that."""
    with suppress(OSError, ValueError):  # the last: a plug-in has closed it
        click.echo(printable(text), err=True)


def as_process(main: Callable[[], object]) -> None:
    """A command line as a process of its own, which ends when it is done."""
    try:
        main()
    except BaseException as end:
        code = end.code if isinstance(end, SystemExit) else 1
        _leave_threads_behind(code if isinstance(code, int) else int(bool(code)))
        raise


def _leave_threads_behind(code: int) -> None:
    """Have this process end with this code although a thread of a plug-in goes on: Python would wait for it for good.
    It may be about to finish something: what is waited for is said first."""

    def watch() -> None:
        for seconds, then in THREADS_HAVE:
            time.sleep(seconds)
            names = [one.name for one in threading.enumerate() if not one.daemon and one is not threading.main_thread()]
            if not names:
                return
            say(f"dormouse: all is done but for threads of a plug-in or a library: {', '.join(names)}; {then}")
        with suppress(Exception):
            atexit._run_exitfuncs()
            sys.stdout.flush()
        os._exit(code)

    threading.Thread(target=watch, daemon=True).start()


def printable(text: str) -> str:
    """A text from a model or a user without control characters (a terminal obeys them)."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)
