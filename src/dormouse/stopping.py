"""Ctrl-C, SIGTERM (Slurm, systemd) and SIGHUP (a terminal that closes) stop what runs, each in the same way.

The first signal raises `Stopped` in the main thread, or waits until work that may not be cut in its middle lets go
(`held`): a training finishes its step and writes a resume point. A second one does not wait. Those that come while
everything is put away change nothing, unless that takes longer than PATIENCE.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CTRL_C = 128 + signal.SIGINT
"""The exit code of a process that Ctrl-C ended."""
PATIENCE = 20.0
"""Seconds after which one more signal ends the process at once."""


class Stopped(KeyboardInterrupt):
    """A signal came."""

    def __init__(self, number: int) -> None:
        super().__init__("Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name)
        self.code = 128 + number
        """How the process is to exit."""


class _Asked:  # no dataclass: these take longer to import than all else here, and until then Ctrl-C is a traceback
    number = 0
    since = 0.0
    raised = False
    held = 0


_asked = _Asked()


def _stop(number: int, _: FrameType | None) -> None:
    if _asked.raised:
        if time.monotonic() - _asked.since > PATIENCE:
            os._exit(128 + number)
        return
    first = not asked()
    if first:
        _asked.number, _asked.since = number, time.monotonic()
    if not (first and _asked.held):
        check()


def asked() -> bool:
    """Whether a signal has come."""
    return _asked.number != 0


def check() -> None:
    """
    Raises:
        Stopped: a signal has come. A library may have swallowed it before.
    """
    if asked():
        _asked.raised = True
        raise Stopped(_asked.number)


@contextmanager
def held() -> Iterator[None]:
    """Something that a first signal does not cut: it is raised at the end."""
    _asked.held += 1
    try:
        yield
    finally:
        _asked.held -= 1
    check()


def _unraisable(otherwise: Callable[[sys.UnraisableHookArgs], object], args: sys.UnraisableHookArgs) -> None:
    """A signal that comes while an object is put away is raised where Python lets nothing through: it would print a
    traceback and go on. It is asked for again by the next `check`, or raised by the next signal."""
    if isinstance(args.exc_value, Stopped):
        _asked.raised = False
    else:
        otherwise(args)


def _half_closed(otherwise: Callable[[sys.UnraisableHookArgs], object], args: sys.UnraisableHookArgs) -> None:
    """A connection whose closing was cut by a signal is closed again when it is put away, which may be after the last
    word."""
    if not (isinstance(args.exc_value, OSError) and args.exc_value.errno == errno.EBADF):
        otherwise(args)


def _leave(number: int, _: FrameType | None) -> None:
    os._exit(128 + number)


def leave_at_once() -> None:
    """A signal ends this process without a word until `listening` begins, and after it: nothing is in hand. One that
    somebody else handles, or ignores, stays theirs."""
    for number in SIGNALS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _leave)


@contextmanager
def listening() -> Iterator[None]:
    """Signals stop what is done inside. One that somebody else handles, or ignores (`nohup`), stays theirs."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    ours = [number for number, does in before.items() if does in (signal.SIG_DFL, signal.default_int_handler, _leave)]
    for number in ours:
        signal.signal(number, _stop)
    hook = sys.unraisablehook
    sys.unraisablehook = partial(_unraisable, hook)
    try:
        yield
    finally:
        sys.unraisablehook = partial(_half_closed, hook) if asked() else hook
        for number in ours:
            if signal.getsignal(number) is _stop:  # else they are ignored by now
                signal.signal(number, before[number])
        if ours:
            _asked.number, _asked.raised, _asked.held = 0, False, 0


def ignore() -> None:
    """No signal matters any more: the process is about to end."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
