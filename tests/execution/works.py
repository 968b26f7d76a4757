"""What stages of the tests do. Every worker imports this, and would import pytest with a module of tests."""

import errno
import json
import multiprocessing
import os
import signal
import time
import warnings
from pathlib import Path
from typing import ClassVar

from dormouse.errors import DormouseWarning, UserError
from dormouse.registry import PlugIn


def join(parents: tuple[Path, ...], name: str, out: Path, tick) -> None:
    """Write one's own name after those of one's parents: fails where a parent is not there yet."""
    tick(0.5, "half")
    (out / "names").write_text(json.dumps([*(json.loads((p / "names").read_text()) for p in parents), name]))


def die(times: int, counter: Path, out: Path, tick) -> None:
    """Is killed the first `times` times."""
    seen = int(counter.read_text()) if counter.exists() else 0
    counter.write_text(str(seen + 1))
    if seen < times:
        os.kill(os.getpid(), signal.SIGKILL)
    (out / "names").write_text('"lives"')


def refuse(out: Path, tick) -> None:
    raise UserError("it cannot be done", "do something else")


def break_down(out: Path, tick) -> None:
    raise ZeroDivisionError("a bug")


class Shaky(PlugIn):
    """Somebody else's, with a fault."""

    kind: ClassVar[str] = "shaky"

    def measure(self, subject) -> float:
        return {}["boo" * 999]


def be_shaky(out: Path, tick) -> None:
    Shaky().measure(out)


def panic(out: Path, tick) -> None:
    """What Rust's panics are in Python: no Exceptions."""
    raise type("PanicException", (BaseException,), {})("a bug in Rust")


def leave(out: Path, tick) -> None:
    raise SystemExit(0)


def fill_disk(out: Path, tick) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def read_nothing(out: Path, tick) -> None:
    Path("/nonexistent/words.txt").read_text()


def warn(out: Path, tick) -> None:
    tick(0.5, "half")
    if multiprocessing.parent_process():
        warnings.warn("take care", DormouseWarning, stacklevel=1)
    (out / "names").write_text('"warned"')


def swallow(out: Path, tick) -> None:
    """What some libraries do while they are imported."""
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
    except BaseException:
        pass
    tick(0.5, "half")
    raise AssertionError("it goes on as if nothing had been")


def wait(begun: Path, out: Path, tick) -> None:
    begun.touch()
    time.sleep(60)
