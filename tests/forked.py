"""Processes in which torch is imported already: what a test starts is there in a moment.

`Forked` and `run` stand for `subprocess.Popen` and `subprocess.run` where a program is the Python of the tests with
`-c` or `-m`. It is forked from a process (multiprocessing's fork server, one for each process of pytest) that has
imported what dormouse needs and done nothing with it; it has descriptors, a folder, an environment and a `__main__` of
its own. Where it matters what is imported, or what the interpreter does, use `subprocess`.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any

from dormouse.execution import local

PRELOADED = (*local.PRELOADED, "warm")
ADDRESS = "DORMOUSE_TESTS_FORK_FROM"
"""The environment variable that names the process that all processes of pytest fork from."""
UNDRAWN = "DORMOUSE_TESTS_UNDRAWN"
"""The environment variable with which what is forked draws no figures: the fixture `undrawn` sets it."""


def collect_seldom() -> None:
    """Look for garbage in what is made from here on, and after each 20,000 objects, not 700: that was a twelfth of the
    time of a small study. A fork takes it along."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)
    gc.enable()


def undrawn(panels: Any, keys: Any) -> bytes:
    """What stands in the place of a figure."""
    return b"\x89PNG"


def begin() -> None:
    """Begin the process that what is started from here forks from, where there is none: those of a study too."""
    if ADDRESS in os.environ:
        return
    local.PRELOADED = PRELOADED
    here = Path(__file__).parent
    found = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(here), str(here / "report"), *([found] if found else [])])
    try:
        local.starts()
    finally:
        os.environ.pop("PYTHONPATH")
        if found is not None:
            os.environ["PYTHONPATH"] = found
    os.environ[ADDRESS] = str(forkserver._forkserver._forkserver_address)


def share(address: str) -> None:
    """Have what is forked fork its own workers from the same process."""
    forkserver._forkserver._forkserver_address = address
    if forkserver._forkserver._forkserver_alive_fd is None:  # by which that process would know when to end
        forkserver._forkserver._forkserver_alive_fd = os.pipe()[1]
    forkserver.ensure_running = forkserver._forkserver.ensure_running = lambda: None


class _Descriptor:
    """A descriptor that is taken along by the process whose arguments it is among."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> tuple[Callable[[Any], int], tuple[Any]]:
        return _taken, (DupFd(self.number),)


def _taken(given: Any) -> int:
    return int(given.detach())


def _become(
    words: list[str],
    descriptors: Sequence[int],
    folder: str,
    environment: Mapping[str, str],
    first: Callable[[], None] | None,
    address: str,
) -> None:
    for wanted, given in enumerate(descriptors):
        os.dup2(given, wanted)
        os.close(given)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    share(address)
    if os.environ.get(UNDRAWN):
        from dormouse.report import static

        static._drawn = undrawn  # type: ignore[assignment]
    if first:
        first()
    how, what, *rest = words
    sys.argv = [how, *rest]
    sys.path[:0] = ["", *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    try:
        if how == "-m":
            sys.modules.pop(what, None)
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            main = types.ModuleType("__main__")
            sys.modules["__main__"] = main
            exec(compile(what, "<string>", "exec"), main.__dict__)
    finally:
        try:
            sys.stderr.flush()
        except OSError:  # Python ends all the same; a process of multiprocessing would not
            sys.stderr = open(os.devnull, "w")  # noqa: SIM115


class Forked(subprocess.Popen[str]):
    """`subprocess.Popen([sys.executable, "-c" or "-m", ...])`."""

    def _execute_child(self, args: Sequence[str], *given: Any) -> None:  # type: ignore[override]
        (_, preexec, _, _, cwd, env, _, _, _, read_in, write_in, read_out, write_out, read_err, write_err, *_) = given
        program, *words = args
        assert program == sys.executable, args
        begin()
        context, address = multiprocessing.get_context("forkserver"), os.environ[ADDRESS]
        ends = [
            read_in if read_in != -1 else 0,
            write_out if write_out != -1 else 1,
            write_err if write_err != -1 else 2,
        ]
        how = (
            [_Descriptor(end) for end in ends],
            os.fspath(cwd or Path.cwd()),
            dict(os.environ if env is None else env),
            preexec,
            address,
        )
        self.forked = context.Process(target=_become, args=(list(words), *how))
        self.forked.start()
        self.pid = int(self.forked.pid or 0)
        self._child_created = self._closed_child_pipe_fds = True
        for theirs, ours in ((read_in, write_in), (write_out, read_out), (write_err, read_err)):
            if theirs != -1 and ours != -1:
                os.close(theirs)
        if hasattr(self, "_devnull"):
            os.close(self._devnull)

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:  # type: ignore[override]
        if self.returncode is None:
            pid, status = self._try_wait(os.WNOHANG)
            if pid:
                self._handle_exitstatus(status)
        return self.returncode

    def _try_wait(self, flags: int) -> tuple[int, int]:
        self.forked.join(0 if flags & os.WNOHANG else None)
        code = self.forked.exitcode
        if code is None:
            return 0, 0
        return self.pid, code << 8 if code >= 0 else -code


def run(command: Sequence[str], *, timeout: float | None = None, **how: Any) -> subprocess.CompletedProcess[str]:
    """`subprocess.run` of a `Forked`; it knows `input`, `capture_output` and `check`."""
    given, check = how.pop("input", None), how.pop("check", False)
    if how.pop("capture_output", False):
        how |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    if given is not None:
        how["stdin"] = subprocess.PIPE
    with Forked(command, **how) as process:
        try:
            out, err = process.communicate(given, timeout=timeout)
        except BaseException:
            process.kill()
            raise
    if check and process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, out, err)
    return subprocess.CompletedProcess(command, process.returncode, out, err)
