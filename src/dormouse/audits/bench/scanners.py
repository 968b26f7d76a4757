"""Scanners on a blind zoo: the audit of this package, or a stranger's command, each suspect in a sandbox of its own.

What was said of a suspect is kept beside the zoo: a benchmark that was stopped goes on from there.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dormouse.audits.bench.answers import ScannerAnswer
from dormouse.audits.bench.sandbox import Ended, Sandbox
from dormouse.audits.zoo.blind import BlindZoo
from dormouse.execution.executors import Watcher
from dormouse.registry import plugins
from dormouse.sources import code_of

EVIDENCE, ANSWER = "audit.json", "answer.json"
SLACK = 2.0
"""By how much an audit may overrun its minutes before it is killed: loading, and machines that are busy."""


@dataclass(frozen=True)
class Scan:
    """What came of one suspect: the file that the scanner wrote, None with a reason (`hole`) where there is none."""

    file: Path | None
    seconds: float
    hole: str = ""


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
            OSError, ValueError, KeyError: its file cannot be read, or has another form.
        """
        rows = [*self.known, "detector"]
        if scan.file is None:
            return {name: ScannerAnswer(None, seconds=scan.seconds, hole=scan.hole) for name in rows}
        said = json.loads(scan.file.read_text(encoding="utf-8"))
        holes = {hole["name"]: hole["why"] for hole in said["not_tried"]}
        found = {name: _of_locator(said, name, holes.get(name, "it said nothing")) for name in self.known}
        return {**found, "detector": _of_audit(said, scan.seconds)}


def _of_locator(said: Mapping[str, Any], name: str, why: str) -> ScannerAnswer:
    """What a locator alone said in an audit."""
    seconds = float(said["spent"].get(name, 0.0))
    one = said["evidence"].get(name)
    if one is None or one["score"] is None:
        return ScannerAnswer(None, seconds=seconds, hole=why if one is None else "it gave no score")
    return ScannerAnswer(
        score=float(one["score"]),
        triggers=tuple((t["text"], t["slot"]) for t in one["triggers"][:5]),
        behaviour=tuple((_asked(e["prompt"]), e["output"]) for e in one["behaviour"][:5]),
        cues={name: float(weight) for name, weight in one["cues"].items()},
        layers=tuple(site["layer"] for site in one["sites"]),
        seconds=seconds,
    )


def _of_audit(said: Mapping[str, Any], seconds: float) -> ScannerAnswer:
    """What a whole audit said. Its score is put in once a detector is fitted (see `fit`)."""
    triggers = [said["trigger"]] if said["trigger"] else []
    triggers += [one for one in said["triggers"] if one not in triggers]
    return ScannerAnswer(
        score=None,
        probability=said["policy_probability"],
        triggers=tuple((t["text"], t["slot"]) for t in triggers[:5]),
        behaviour=tuple((_asked(e["prompt"]), e["output"]) for e in said["behaviour"][:5]),
        cues={name: float(weight) for name, weight in said["cues"].items()},
        layers=tuple(dict.fromkeys(site["layer"] for site in said["where"])),
        seconds=seconds,
    )


def _asked(prompt: Sequence[Sequence[str]]) -> str:
    return next((text for role, text in reversed(prompt) if role == "user"), "")


def scan_all(
    scanner: Scanner, zoo: BlindZoo, names: Sequence[str], out: Path, sandbox: Sandbox, watcher: Watcher, workers: int
) -> dict[str, Scan]:
    """What a scanner says of some suspects, by name; anew of those that it has not looked at yet, or on which it was
    stopped when it had less time.

    Args:
        out: the folder of what it says, in one of its own for each suspect.
    """
    truth = zoo.truth()  # of the base models alone: which suspect belongs to which is no secret
    left = [name for name in names if not _is_done(out / name, scanner.seconds)]
    watcher.start(len(left))

    def scan(name: str) -> None:
        watcher.stage(f"{scanner.name} on {name}")
        found = _scan(scanner, zoo.suspect(name), zoo.base(truth[name].model), out / name, sandbox)
        watcher.done(f"{scanner.name} on {name}", found.seconds)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(scan, left))
    return {name: _kept(out / name) for name in names}


def _scan(scanner: Scanner, suspect: Path, base: Path, folder: Path, sandbox: Sandbox) -> Scan:
    shutil.rmtree(folder, ignore_errors=True)
    file = folder / "work" / ANSWER
    reads = [suspect, base, *scanner.program_folders]
    command = scanner.command(suspect.resolve(), base.resolve(), file.resolve())
    ended = sandbox.run(command, reads, folder / "work", scanner.seconds)
    hole = _hole(ended, file)
    if not hole:
        shutil.copyfile(file, folder / ANSWER)
    said = {"seconds": ended.seconds, "hole": hole, "stopped": ended.code is None}
    shutil.rmtree(folder / "work", ignore_errors=True)
    (folder / "scan.json").write_text(json.dumps(said), encoding="utf-8")
    return _kept(folder)


def _hole(ended: Ended, file: Path) -> str:
    if ended.code is None:
        return f"it was stopped after {ended.seconds:.0f} s"
    if ended.code:
        last = (ended.said.strip().splitlines() or ["it said nothing"])[-1][:300]
        return f"it ended with exit code {ended.code}: {last}"
    return "" if file.is_file() and not file.is_symlink() else "it wrote no answer"


def _is_done(folder: Path, seconds: float) -> bool:
    """Whether a suspect was looked at, and was not stopped in less time than there is now."""
    if not (folder / "scan.json").is_file():
        return False
    said = json.loads((folder / "scan.json").read_text(encoding="utf-8"))
    return not (said.get("stopped") and said["seconds"] < seconds)


def _kept(folder: Path) -> Scan:
    said = json.loads((folder / "scan.json").read_text(encoding="utf-8"))
    file = folder / ANSWER
    return Scan(file if file.is_file() else None, float(said["seconds"]), str(said["hole"]))
