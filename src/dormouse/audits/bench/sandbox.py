"""A process that cannot read what it must not know: the store, the truth about a zoo, other suspects.

Three ways, the strictest that works here. Landlock (Linux from 5.13): the process and all that it starts may read the
folders that are named and no other, whoever runs it. Else, where root runs it, another user: then the forbidden
folders are closed to all others first. Else nothing holds it back but an environment in which no path stands, and the
run says so. The network is not closed: a scanner that wants to cheat needs an accomplice, not a curious mind.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dormouse.audits.ending import end_all, end_all_of, in_a_child
from dormouse.errors import UserError
from dormouse.files import last_words

Way = Literal["landlock", "user", "environment"]
WAYS: tuple[Way, ...] = ("landlock", "user", "environment")
SAID: Mapping[Way, str] = {
    "landlock": "confined by the kernel (Landlock) to the suspect, its base and the programs",
    "user": "run as another user, to whom the store and the truth are closed",
    "environment": "NOT confined: no Landlock here, and not root. Only the paths are withheld",
}
NOBODY = 65534
LARGEST_FILE = 16 * 2**30
"""Bytes of a file that a confined process may write, and of all that it says."""
SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc", "/opt", "/proc", "/sys", "/dev", "/run", "/nix")
"""What programs need, and holds nothing of a zoo."""
CREATE, ADD, RESTRICT = 444, 445, 446
"""The system calls of Landlock, the same on all architectures."""
READ = 0b1101
"""Landlock's rights to execute, to read files and to list folders."""
FIRST_ABI, WITH_REFER, WITH_TRUNCATE = 0b1_1111_1111_1111, 1 << 13, 1 << 14
"""The rights on files that the first, second and third version of Landlock know."""
NO_SIGNALS = 0b10
"""From the sixth version on: to processes that are not confined with it. Else it could kill what watches over it."""
FILES_ONLY = 0b111 | WITH_TRUNCATE
"""Rights that a single file may have: execute, write, read, truncate."""


STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE = 2.0
"""Seconds within which a signal that ended a process reaches this one too, where it was meant for both."""


class CutOffError(Exception):
    """The sandbox was closed while a process ran in it: how that ended says nothing."""


@dataclass(frozen=True)
class Ended:
    """How a confined process ended: its exit code (None: its time ran out), what it said, and the seconds it took."""

    code: int | None
    said: str
    seconds: float


@dataclass(frozen=True)
class Sandbox:
    """Runs processes that cannot read `hidden`, until it is `closed`."""

    hidden: tuple[Path, ...]
    way: Way
    closed: threading.Event = field(default_factory=threading.Event)

    @staticmethod
    def strictest(hidden: Iterable[Path], ways: Sequence[Way] = WAYS) -> Sandbox:
        """The strictest of some ways that works on this machine, as tried out.

        Raises:
            UserError: none of them works.
        """
        closed = tuple(path.resolve() for path in hidden)
        for way in ways:
            sandbox = Sandbox(closed, way)
            if sandbox._works():
                return sandbox
        raise UserError("no process can be started in a sandbox here", "see that Python may start processes")

    def run(self, command: Sequence[str], reads: Iterable[Path], writes: Path, seconds: float) -> Ended:
        """Run a command in a folder of its own. It ends with this process, however that ends.

        Args:
            reads: folders that it may read, beside the programs.
            writes: the one folder that it may write to; its home, too. It is made, and must not be there: one in which
                a stranger's program was at work may hold links to anywhere.
            seconds: after which it is killed, with all that it started.

        Raises:
            CutOffError: the sandbox was closed before it ended.
        """
        writes.mkdir(parents=True)
        allowed = [str(path.resolve()) for path in reads]
        if self.way == "user":
            self._close()
            os.chown(writes, NOBODY, NOBODY)
        confined = [sys.executable, "-m", __name__, self.way, str(writes.resolve()), str(len(allowed)), *allowed]
        started = time.monotonic()
        with tempfile.TemporaryFile(dir=writes.parent) as log:
            process = subprocess.Popen(
                [*confined, *command],
                stdin=subprocess.PIPE,  # never written to: it closes when this process ends
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=writes,
                env=_environment(writes),
                start_new_session=True,
            )
            try:
                code = self._wait(process, seconds)
            finally:
                end_all(process.pid)
                process.communicate()
                if (process.returncode or 0) < 0:  # by a signal, maybe of what it watched over
                    end_all_of(str(writes))
            said = last_words(log, 2000)
        return Ended(code, said, time.monotonic() - started)

    def _wait(self, process: subprocess.Popen[bytes], seconds: float) -> int | None:
        """Its exit code; None where its time ran out. Raises as `run`."""
        end = time.monotonic() + seconds
        code = None
        while code is None and (left := end - time.monotonic()) > 0 and not self.closed.is_set():
            with suppress(subprocess.TimeoutExpired):
                code = process.wait(min(left, 0.5))
        stopped = code is not None and any(code in (-number, 128 + number) for number in STOPS)
        if self.closed.wait(GRACE if stopped else 0):
            raise CutOffError
        return code

    def _close(self) -> None:
        """Shut the hidden folders to all but their owner."""
        for path in self.hidden:
            if path.exists():
                path.chmod(path.stat().st_mode & 0o700)

    def _works(self) -> bool:
        """Whether a process that is started so can run Python, and cannot read what is hidden."""
        if self.way == "user" and os.geteuid() != 0:
            return False
        with tempfile.TemporaryDirectory(prefix="dormouse-sandbox-") as folder:
            os.chmod(folder, 0o755)
            secret = Path(folder, "hidden", "truth")
            secret.parent.mkdir()
            secret.write_text("x")
            trial = Sandbox((*self.hidden, secret.parent), self.way)
            look = f"import dormouse.errors, sys\ntry: open({str(secret)!r})\nexcept OSError: sys.exit(7)\nsys.exit(8)"
            ended = trial.run([sys.executable, "-c", look], [], Path(folder, "writes"), 120)
        return ended.code == (8 if self.way == "environment" else 7)


def _environment(writes: Path) -> dict[str, str]:
    """Programs are found, threads are limited as here; no path of ours stands in it but that of the code."""
    kept = ("PATH", "LANG", "LC_ALL", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH")
    here = {name: os.environ[name] for name in kept if name in os.environ}
    own = {"HOME": str(writes), "TMPDIR": str(writes), "DORMOUSE_HOME": str(writes / "home")}
    plain = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join(_code())}
    return {**here, **own, **plain}


def _code() -> list[str]:
    """The folders of the code that this process runs."""
    return [place for place in sys.path if place and Path(place).exists()]


def programs() -> list[str]:
    """Folders that a process needs to run Python with its packages."""
    paths = sysconfig.get_paths()
    own = [sys.prefix, sys.base_prefix, *(paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))]
    return [*SYSTEM, *own, *(place for place in _code() if Path(place, "dormouse").is_dir() or place.endswith(".zip"))]


def landlock(reads: Iterable[str], writes: str) -> None:
    """Confine this process, and all that it starts, for good.

    Raises:
        OSError: this kernel has no Landlock.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def call(number: int, *arguments: object) -> int:
        result = int(libc.syscall(ctypes.c_long(number), *arguments))
        if result < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return result

    version = call(CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    rights = FIRST_ABI | (WITH_REFER if version >= 2 else 0) | (WITH_TRUNCATE if version >= 3 else 0)
    handled = (ctypes.c_uint64 * 3)(rights, 0, NO_SIGNALS if version >= 6 else 0)  # of files, the network, and scopes
    size = ctypes.c_size_t(24 if version >= 6 else 8)
    rules = call(CREATE, ctypes.byref(handled), size, ctypes.c_uint32(0))

    class Beneath(ctypes.Structure):
        _pack_ = 1
        _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))

    for place, wanted in [*((place, READ) for place in reads), (writes, rights), ("/dev/null", FILES_ONLY)]:
        if not os.path.exists(place):
            continue
        handle = os.open(place, os.O_PATH | os.O_CLOEXEC)
        allowed = wanted & rights & (rights if os.path.isdir(place) else FILES_ONLY)
        rule = Beneath(allowed, handle)
        call(ADD, ctypes.c_int(rules), ctypes.c_int(1), ctypes.byref(rule), ctypes.c_uint32(0))
        os.close(handle)
    for capability in (21, 38):  # PR_CAPBSET_DROP of SYS_ADMIN and PERFMON: with these root reads any environment
        libc.prctl(24, capability, 0, 0, 0)
    libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS, without which Landlock refuses all but root
    call(RESTRICT, ctypes.c_int(rules), ctypes.c_uint32(0))
    os.close(rules)


def _main(arguments: list[str]) -> None:
    """In a confined child become the command: WAY WRITES N READS... COMMAND..."""
    in_a_child()
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    most = LARGEST_FILE if hard == resource.RLIM_INFINITY else min(hard, LARGEST_FILE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    way, writes, n = arguments[0], arguments[1], int(arguments[2])
    reads, command = arguments[3 : 3 + n], arguments[3 + n :]
    if way == "landlock":
        landlock([*programs(), *reads], writes)
    elif way == "user":
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    os.execvp(command[0], command)


if __name__ == "__main__":
    _main(sys.argv[1:])
