"""Scanners on a blind zoo: the audit of this package, or a stranger's command, each suspect in a sandbox of its own.

What was said of a suspect is kept beside the zoo: a benchmark that was stopped goes on from there.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from dormouse.audits.bench.answers import ScannerAnswer
from dormouse.audits.bench.sandbox import Ended, Sandbox
from dormouse.audits.findings import Findings
from dormouse.audits.sealed import REMEDY, read_sealed, write_sealed
from dormouse.audits.zoo.blind import BlindZoo
from dormouse.errors import UserError, warn
from dormouse.execution.executors import Watcher
from dormouse.files import NO_SUCH_FILE, remedy_of, remove_tree, sha256, swapped
from dormouse.json_files import read_json
from dormouse.locators.locator import Messages
from dormouse.registry import plugins
from dormouse.sources import code_of

ANSWER, RECORD, WORK = "answer.json", "scan.json", "work"
MOST_ANSWER = 16 * 2**20
"""Bytes of an answer: more is kept and read of none."""
TRIES = 2
"""How often a scanner that fails on a suspect is run on it: what ended it may have been a full disk or memory."""
SLACK = 2.0
"""By how much an audit may overrun its minutes before it is killed: loading, and machines that are busy."""


@dataclass(frozen=True)
class Scan:
    """What came of one suspect: the file that the scanner wrote, None with a reason (`hole`) where there is none."""

    file: Path | None
    seconds: float
    hole: str = ""


@dataclass(frozen=True)
class ScanRecord:
    """What is kept of a scan.

    Attributes:
        stopped: its time ran out.
        tries: how often it was run on the suspect.
        answer: the checksum of the file that it wrote; "" where it wrote none.
    """

    seconds: float
    hole: str
    stopped: bool
    tries: int
    answer: str

    def is_final(self, seconds: float) -> bool:
        """Whether it would come to the same with so many seconds: it answered, had no less time, or failed twice."""
        if self.stopped:
            return self.seconds >= seconds
        return not self.hole or self.tries >= TRIES

    def scan(self, folder: Path) -> Scan:
        """What came of it."""
        if self.hole:
            failed = "" if self.stopped else "; the next run tries it again" if self.tries < TRIES else ", twice"
            return Scan(None, self.seconds, self.hole + failed)
        return Scan(folder / ANSWER, self.seconds)


class Scanner(ABC):
    """Something that looks at a suspect and writes a file about it."""

    @property
    @abstractmethod
    def name(self) -> str:
        """A short name for a table."""

    @property
    @abstractmethod
    def version(self) -> str:
        """Changes with everything that may change what it says."""

    @property
    @abstractmethod
    def seconds(self) -> float:
        """After which it is stopped."""

    @property
    def program_folders(self) -> list[Path]:
        """What it must be able to read of its own."""
        return []

    @abstractmethod
    def command(self, suspect: Path, base: Path, out: Path) -> list[str]:
        """What is run; it writes the file `out`."""

    @abstractmethod
    def answers(self, scan: Scan) -> Mapping[str, ScannerAnswer]:
        """What it said, row of the leaderboard by row."""


@dataclass(frozen=True)
class AuditScanner(Scanner):
    """`dormouse audit` with some locators (by default all). A row for each locator alone, and one for the detector."""

    locators: tuple[str, ...] = ()
    minutes: float = 1.0

    @property
    def name(self) -> str:
        """`audit`: its rows in the score are named by locator."""
        return "audit"

    @property
    def known(self) -> tuple[str, ...]:
        """The locators that are run: those that were named, else all that are registered."""
        return self.locators or tuple(plugins("locator"))

    @property
    def version(self) -> str:
        """A hash of the audit's code, its locators and its minutes: with another one it scans again."""
        from dormouse.audits.audit import audit

        code = code_of(audit, *(plugins("locator")[name] for name in self.known))
        return hashlib.sha256(json.dumps([code, self.known, self.minutes]).encode()).hexdigest()[:12]

    @property
    def seconds(self) -> float:
        """Seconds after which it is stopped: its own time, and as much again for loading and for busy machines."""
        return self.minutes * 60 * SLACK + 120

    def command(self, suspect: Path, base: Path, out: Path) -> list[str]:
        """The audit in a process of its own, which is told nothing but folders, minutes and locators."""
        said = json.dumps([str(suspect), str(base), str(out), self.minutes, list(self.known)])
        return [sys.executable, "-m", "dormouse.audits.bench.look", said]

    def answers(self, scan: Scan) -> Mapping[str, ScannerAnswer]:
        """An answer of each locator, and the audit's own as `detector`; one that failed has no score and the reason.

        Raises:
            FileNotFoundError, UserError: its file cannot be read, or has another form.
        """
        rows = [*self.known, "detector"]
        if scan.file is None:
            return {name: ScannerAnswer(None, seconds=scan.seconds, hole=scan.hole) for name in rows}
        said = read_json(scan.file, Findings)
        holes = {hole.name: hole.why for hole in said.not_tried}
        found = {name: _of_locator(said, name, holes.get(name, "it said nothing")) for name in self.known}
        return {**found, "detector": _of_audit(said, scan.seconds)}


def _of_locator(said: Findings, name: str, why: str) -> ScannerAnswer:
    """What a locator alone said in an audit."""
    seconds, one = said.spent.get(name, 0.0), said.evidence.get(name)
    if one is None or one.score is None:
        return ScannerAnswer(None, seconds=seconds, hole=why if one is None else "it gave no score")
    return ScannerAnswer(
        score=one.score,
        triggers=tuple((t.text, t.slot) for t in one.triggers[:5]),
        behaviour=tuple((_asked(e.prompt), e.output) for e in one.behaviour[:5]),
        cues=dict(one.cues),
        layers=tuple(site.layer for site in one.sites),
        seconds=seconds,
    )


def _of_audit(said: Findings, seconds: float) -> ScannerAnswer:
    """What a whole audit said. Its score is put in once a detector is fitted (see `fit`)."""
    triggers = [said.trigger] if said.trigger else []
    triggers += [one for one in said.triggers if one not in triggers]
    return ScannerAnswer(
        score=None,
        probability=said.policy_probability,
        triggers=tuple((t.text, t.slot) for t in triggers[:5]),
        behaviour=tuple((_asked(e.prompt), e.output) for e in said.behaviour[:5]),
        cues=dict(said.cues),
        layers=tuple(dict.fromkeys(site.layer for site in said.where)),
        seconds=seconds,
    )


def _asked(prompt: Messages) -> str:
    return next((text for role, text in reversed(prompt) if role == "user"), "")


class ScanFolder:
    """What a scanner says of some suspects, each in a folder of its own.

    Attributes:
        kept: what it has said by now, by name.
    """

    def __init__(self, scanner: Scanner, names: Sequence[str], out: Path) -> None:
        self.scanner, self.out = scanner, out
        self.kept = {name: _kept(out / name) for name in names}

    @property
    def left(self) -> list[str]:
        """Those that it is to look at: it has not yet, it was stopped when it had less time, or has failed once."""
        known = self.kept.items()
        return [name for name, kept in known if kept is None or not kept.is_final(self.scanner.seconds)]


def scan_all(folder: ScanFolder, zoo: BlindZoo, sandbox: Sandbox, watcher: Watcher, workers: int) -> dict[str, Scan]:
    """What a scanner says of some suspects, by name; anew of those that are left."""
    truth = zoo.truth()  # of the base models alone: which suspect belongs to which is no secret
    scanner, records, out, left = folder.scanner, folder.kept, folder.out, folder.left
    watcher.start(len(left))

    def scan(name: str) -> None:
        watcher.stage(f"{scanner.name} on {name}")
        kept = records[name]
        tries = 1 + (kept.tries if kept and not kept.stopped else 0)
        found = _scan(scanner, zoo.suspect(name), zoo.base(truth[name].base), out / name, sandbox, tries)
        if found.hole:
            watcher.say(f"{scanner.name} on {name}: {found.scan(out / name).hole}")
        watcher.done(f"{scanner.name} on {name}", found.seconds)
        records[name] = found

    with ThreadPoolExecutor(workers) as pool:
        try:
            list(pool.map(scan, left))
        except BaseException:
            sandbox.closed.set()  # nobody waits for what is in hand
            raise
    return {name: kept.scan(out / name) for name, kept in records.items() if kept}


def _scan(scanner: Scanner, suspect: Path, base: Path, folder: Path, sandbox: Sandbox, tries: int) -> ScanRecord:
    """Run a scanner on a suspect, and keep what came of it. What was cut off leaves all as it was. It works in a folder
    with a new name each time: what a stranger's program left in one is not to be trusted.

    Raises:
        CutOffError: the sandbox was closed meanwhile.
        OSError: what came of it cannot be kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _clear(folder)
    work = folder / f"{WORK}-{secrets.token_hex(4)}"
    file = work / ANSWER
    reads = [suspect, base, *scanner.program_folders]
    command = scanner.command(suspect.resolve(), base.resolve(), file.resolve())
    try:
        ended = sandbox.run(command, reads, work, scanner.seconds)
        hole = _hole(ended, file)
        if not hole:
            with swapped(folder / ANSWER) as scratch:
                shutil.copyfile(file, scratch)
    finally:
        _clear(folder)
    said = ScanRecord(ended.seconds, hole, ended.code is None, tries, "" if hole else sha256(folder / ANSWER))
    write_sealed(folder / RECORD, folder.parts[-2:], said)
    return said


def _clear(folder: Path) -> None:
    """Delete what scanners left in their folders, also where the benchmark was killed."""
    for left in folder.glob(f"{WORK}*"):
        try:
            remove_tree(left)
        except OSError as error:
            warn(f"what a scanner left in {left} cannot be deleted, and lies there: {error.strerror or error}")


def _hole(ended: Ended, file: Path) -> str:
    if ended.code is None:
        return f"it was stopped after {ended.seconds:.0f} s"
    if ended.code:
        last = (ended.said.strip().splitlines() or ["it said nothing"])[-1][:300]
        return f"it ended with exit code {ended.code}: {last}"
    try:
        if not file.is_file() or file.is_symlink():
            return "it wrote no answer"
        with file.open("rb"):
            return f"its answer has more than {MOST_ANSWER / 2**20:.0f} MB" if file.stat().st_size > MOST_ANSWER else ""
    except OSError as error:  # it may have taken all rights from us
        return f"its answer cannot be read: {error.strerror or error}"


def _kept(folder: Path) -> ScanRecord | None:
    """What is kept of a scan; None where there is nothing, or nothing whole.

    Raises:
        UserError: it is there and cannot be read: nobody knows whether it is whole.
    """
    said = read_sealed(folder / RECORD, folder.parts[-2:], ScanRecord)
    if said is None or said.hole:
        return said
    try:
        return said if sha256(folder / ANSWER) == said.answer else None
    except OSError as error:
        if error.errno in NO_SUCH_FILE:
            return None
        what = f"{folder / ANSWER} cannot be read: {error.strerror or error}"
        raise UserError(what, remedy_of(error.errno, REMEDY)) from error
