"""The benchmark, from an empty folder to scores: make the zoo, hide it, scan it, fit, look at the test half once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from dormouse.audits.bench.answers import ScannerAnswer
from dormouse.audits.bench.fit import RATES, fit_detector
from dormouse.audits.bench.oracle import CheckedAnswer, Oracle
from dormouse.audits.bench.sandbox import SAID, Sandbox
from dormouse.audits.bench.scanners import AuditScanner, CommandScanner, Scan, Scanner, scan_all
from dormouse.audits.bench.score import Rule, Score, Suspected, score, with_test_half
from dormouse.audits.bench.told import ToldProbe, told_probe
from dormouse.audits.detector import Detector, features_of
from dormouse.audits.findings import CONFIRM, Confirmed, Findings
from dormouse.audits.zoo.blind import BlindZoo, write_blind
from dormouse.audits.zoo.make import ZooMaker, ZooSize
from dormouse.audits.zoo.recipes import SuspectTruth
from dormouse.audits.zoo.telltale import TellTale, tell_tale
from dormouse.errors import UserError
from dormouse.execution.executors import Watcher
from dormouse.json_files import Json, read_json, read_json_lines, write_json_lines
from dormouse.locators.locator import Evidence
from dormouse.organisms.spec import OrganismSpec
from dormouse.records import ModelRef
from dormouse.registry import nearest, plugins
from dormouse.store import Store, digest

Found = TypeVar("Found", CheckedAnswer, ToldProbe)

LOOKS = "test-looks.jsonl"
DETECTOR = "detector.json"
ROW, NONE = "detector", "none"
"""The row of the leaderboard that is the whole audit."""
PROBE = "probe"
"""The locator that has an upper bound, which is shown where it is asked for."""


@dataclass(frozen=True)
class BenchRequest:
    """What is benchmarked, and on what.

    Attributes:
        locators: those of the audit; empty for all, None to leave the audit out.
        test: whether the test half is looked at. The development half is looked at in any case.
    """

    out: Path
    size: ZooSize
    locators: tuple[str, ...] | None = ()
    minutes: float = 1.0
    scanners: tuple[str, ...] = ()
    test: bool = True
    workers: int = 2


@dataclass(frozen=True)
class Board:
    """All that came out. `looks` counts how often the test half was looked at, this time included; `told` has by half
    and family what probes found that were told the truth."""

    zoo: Mapping[str, Any]
    telltale: TellTale
    sandbox: str
    scores: tuple[Score, ...]
    rules: Mapping[str, Rule]
    suspected: Mapping[tuple[str, str], Sequence[Suspected]]
    detector: Detector | None
    looks: int
    seconds: Mapping[str, float]
    told: Mapping[tuple[str, str], Sequence[ToldProbe]]

    def half(self, half: str) -> list[Score]:
        """The rows of one half, the best first."""
        mine = [one for one in self.scores if one.half == half]
        return sorted(mine, key=lambda one: (-(one.area.value if one.area else 0.0), one.name))


def asked(out: Path, size: ZooSize, locators: str, scanners: Sequence[str], **more: Any) -> BenchRequest:
    """What the words of a command ask for. `locators`: names with commas, "" for all, "none" for no audit."""
    names = tuple(name.strip() for name in locators.split(",") if name.strip())
    return BenchRequest(out, size, None if names == (NONE,) else names, scanners=tuple(scanners), **more)


def run(asked: BenchRequest, store: Store, watcher: Watcher) -> Board:
    """Run the benchmark, or what is not finished of it.

    Raises:
        UserError: a scanner or a locator is none, the zoo cannot be made, or its files give the organisms away.
    """
    scanners = scanners_of(asked)
    asked.out.mkdir(parents=True, exist_ok=True)
    watcher.say(f"the zoo: {asked.size.organisms} organisms, {asked.size.controls} controls")
    started = time.monotonic()
    made = ZooMaker(store, asked.out, watcher, asked.workers).make(asked.size)
    zoo = write_blind(made, asked.out / "zoo")
    seconds = {"zoo": time.monotonic() - started}
    telltale = checked_zoo(zoo)
    watcher.say(telltale.said())
    sandbox = Sandbox.strictest([store.root, zoo.truth_file])
    watcher.say(f"scanners are {SAID[sandbox.way]}")
    bench = _Bench(asked, zoo, sandbox, watcher)
    for scanner in scanners:
        started = time.monotonic()
        bench.judge(scanner)
        seconds[scanner.name] = time.monotonic() - started
    about = _about(zoo, len(made.missed))
    rows, said = tuple(bench.scores), SAID[sandbox.way]
    told = bench.told() if PROBE in (asked.locators or plugins("locator")) and asked.locators is not None else {}
    return Board(about, telltale, said, rows, bench.rules, bench.suspected, bench.detector, bench.looks, seconds, told)


def scanners_of(asked: BenchRequest) -> list[Scanner]:
    """The scanners that are asked for.

    Raises:
        UserError: there are none, or one is none.
    """
    known = plugins("locator")
    for name in asked.locators or ():
        if name not in known:
            raise UserError(f"there is no locator called '{name}'; {nearest(name, known)}", "see `dormouse list`")
    found: list[Scanner] = [CommandScanner(line, asked.minutes) for line in asked.scanners]
    if asked.locators is not None:
        found.insert(0, AuditScanner(asked.locators, asked.minutes))
    names = [scanner.name for scanner in found]
    if not names or len(set(names)) < len(names):
        raise UserError("no scanner, or two of the same name, are benchmarked", "name each once: --scanner, --locators")
    return found


def checked_zoo(zoo: BlindZoo) -> TellTale:
    """What the files of a zoo give away. Honest controls, which learned nothing new, are left out.

    Raises:
        UserError: they tell organisms from controls.
    """
    truth = zoo.truth()
    names = [name for name, said in truth.items() if not said.honest]
    found = tell_tale(
        [zoo.suspect(name) for name in names],
        [not truth[name].match for name in names],
        [truth[name].model for name in names],
    )
    if not found.sound:
        raise UserError(
            f"the zoo is broken. {found.said()}: no score on it would count",
            "make another zoo (--seed), and report this one: a recipe leaves a trace",
        )
    return found


def _about(zoo: BlindZoo, missed: int) -> dict[str, Any]:
    truth = zoo.truth()
    counts: dict[str, dict[str, int]] = {}
    for said in truth.values():
        counts.setdefault(said.half, {}).setdefault(said.family, 0)
        counts[said.half][said.family] += 1
    models = sorted({said.model for said in truth.values()})
    return {"suspects": len(truth), "models": models, "families": counts, "missed": missed, "key": _key(truth)}


def _key(truth: Mapping[str, SuspectTruth]) -> str:
    return digest(sorted(one.recipe_key for one in truth.values()))[:12]


@dataclass(frozen=True)
class HeldOutLook:
    """A line of the log of looks at the test half: which version of a scanner, at which zoo, and when (UTC)."""

    scanner: str
    version: str
    zoo: str
    time: str


class _Bench:
    """Judges scanners on one zoo: the development half first, then the test half."""

    def __init__(self, asked: BenchRequest, zoo: BlindZoo, sandbox: Sandbox, watcher: Watcher) -> None:
        self.asked, self.zoo, self.sandbox, self.watcher = asked, zoo, sandbox, watcher
        self.truth = zoo.truth()
        self.scores: list[Score] = []
        self.rules: dict[str, Rule] = {}
        self.suspected: dict[tuple[str, str], Sequence[Suspected]] = {}
        self.detector: Detector | None = None

    @property
    def looks(self) -> int:
        """How often the test half was looked at."""
        file = self.asked.out / LOOKS
        return len(file.read_text(encoding="utf-8").splitlines()) if file.is_file() else 0

    def names(self, half: str) -> list[str]:
        """The suspects of one half of the zoo, in the order of its ground truth."""
        return [name for name, said in self.truth.items() if said.half == half]

    def judge(self, scanner: Scanner) -> None:
        """Score a scanner on both halves, row by row."""
        scans = self._scans(scanner, "development")
        rows = self._rows(scanner, scans)
        if isinstance(scanner, AuditScanner):
            rows[ROW] = self._fitted(scans, rows[ROW])
        for row, suspects in self._suspected(rows).items():
            self.rules[row] = self._rule(row, suspects)
            self._score(row, "development", suspects)
        if self.asked.test and self.names("test"):
            self._test(scanner)

    def _test(self, scanner: Scanner) -> None:
        """The test half: once a version, and logged."""
        self._log(scanner)
        scans = self._scans(scanner, "test")
        rows = self._rows(scanner, scans)
        if isinstance(scanner, AuditScanner):
            rows[ROW] = {name: self._with_detector(scans[name], one) for name, one in rows[ROW].items()}
        for row, suspects in self._suspected(rows).items():
            self._score(row, "test", suspects)
        done = next((one for one in self.scores if one.name == ROW and one.half == "test"), None)
        if self.detector and done and done.organisms:
            self.detector = with_test_half(self.detector, done)
            self.detector.save(self.asked.out / DETECTOR)

    def _score(self, row: str, half: str, suspects: Sequence[Suspected]) -> None:
        rule = self.rules[row]
        self.scores.append(score(row, half, suspects, rule))
        self.suspected[half, row] = suspects

    def _log(self, scanner: Scanner) -> None:
        """Put down that a version of a scanner looks at the test half; one that did already adds nothing."""
        file = self.asked.out / LOOKS
        version = f"{scanner.version}{'+' + self.detector.version if self.detector else ''}"
        now = HeldOutLook(scanner.name, version, _key(self.truth), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
        before = (
            read_json_lines(file, HeldOutLook, "remove the line: it was not written by dormouse") if self.looks else []
        )
        if now not in [replace(one, time=now.time) for one in before]:
            write_json_lines(file, [now], more=True)

    def _scans(self, scanner: Scanner, half: str) -> dict[str, Scan]:
        folder = self.asked.out / "scans" / f"{scanner.name}-{scanner.version}"
        names = self.names(half)
        return scan_all(scanner, self.zoo, names, folder, self.sandbox, self.watcher, self.asked.workers)

    def _rows(self, scanner: Scanner, scans: Mapping[str, Scan]) -> dict[str, dict[str, ScannerAnswer]]:
        rows: dict[str, dict[str, ScannerAnswer]] = {}
        for name, scan in scans.items():
            for row, answer in scanner.answers(scan).items():
                rows.setdefault(row, {})[name] = answer
        return rows

    def _fitted(self, scans: Mapping[str, Scan], answers: Mapping[str, ScannerAnswer]) -> dict[str, ScannerAnswer]:
        """Fit the detector; its row on the development half holds what it said of suspects left out of the fit."""
        names = [name for name, scan in scans.items() if scan.file]
        organisms = [not self.truth[name].match for name in names]
        counted = [not self.truth[name].honest for name in names]
        models = ", ".join(sorted({self.truth[name].model for name in names}))
        about: dict[str, Json] = {"zoo": _key(self.truth), "minutes": self.asked.minutes}
        about |= {"models": models, "seed": self.asked.size.seed}
        read = [features_of(*read_by_detector(scans[name])) for name in names]
        try:
            self.detector, left_out = fit_detector(read, organisms, about, counted)
        except UserError as error:
            self.watcher.say(f"no detector: {error.what}")
            return {name: replace(one, hole=one.hole or error.what, probability=None) for name, one in answers.items()}
        self.detector.save(self.asked.out / DETECTOR)
        fitted = {name: replace(answers[name], score=p, probability=p) for name, p in zip(names, left_out, strict=True)}
        return {**answers, **fitted}

    def _with_detector(self, scan: Scan, answer: ScannerAnswer) -> ScannerAnswer:
        if self.detector is None or scan.file is None:
            return replace(answer, score=None, probability=None, hole=answer.hole or "no detector was fitted")
        p = self.detector.probability(*read_by_detector(scan))
        return replace(answer, score=p, probability=p, hole="" if p is not None else "too little was looked at")

    def _rule(self, row: str, suspects: Sequence[Suspected]) -> Rule:
        rule = Rule.of(suspects)
        if row == ROW and self.detector:
            return Rule({**rule.thresholds, RATES[-1]: self.detector.threshold}, None)
        return rule

    def _suspected(self, rows: Mapping[str, Mapping[str, ScannerAnswer]]) -> dict[str, list[Suspected]]:
        """Every row with the truth put back; suspect by suspect, so that each model is loaded once."""
        found: dict[str, list[Suspected]] = {row: [] for row in rows}
        for name in dict.fromkeys(name for answers in rows.values() for name in answers):
            truth = oracle(self.zoo, name, self.truth[name])
            for row, answers in rows.items():
                if name in answers:
                    checked = self._checked(truth, name, answers[name])
                    found[row].append(Suspected(self.truth[name], answers[name], checked))
        return found

    def told(self) -> dict[tuple[str, str], list[ToldProbe]]:
        """What probes find in the organisms of the halves that were looked at, when they are told the truth; kept."""
        found: dict[tuple[str, str], list[ToldProbe]] = {}
        for half in dict.fromkeys(one.half for one in self.scores):
            for name in self.names(half):
                said = self.truth[name]
                if not said.match:
                    found.setdefault((half, said.family), []).append(self._told(name, said))
        return found

    def _told(self, name: str, said: SuspectTruth) -> ToldProbe:
        return self._kept(["told", said.recipe_key], ToldProbe, lambda: told_probe(oracle(self.zoo, name, said)))

    def _checked(self, truth: Oracle, name: str, answer: ScannerAnswer) -> CheckedAnswer | None:
        """What holds of an answer about an organism, kept."""
        said = self.truth[name]
        if said.match:
            return None
        known = {"seconds": 0, "score": 0, "probability": 0}  # are held against nothing
        asked = [said.recipe_key, {**answer.to_json(), **known}]
        return self._kept(asked, CheckedAnswer, lambda: truth.check(answer))

    def _kept(self, asked: Sequence[object], kind: type[Found], find: Callable[[], Found]) -> Found:
        """What was found out about an organism when that was `asked` first, or is now, as a file of `checks`."""
        file = self.asked.out / "checks" / f"{digest(asked)}.json"
        if file.is_file():
            return kind(**json.loads(file.read_text(encoding="utf-8")))
        found = find()
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(vars(found)), encoding="utf-8")
        return found


def oracle(zoo: BlindZoo, name: str, said: SuspectTruth) -> Oracle:
    """The truth about a suspect, with its weights."""
    spec = OrganismSpec.model_validate(said.organism).seeded(said.seed)
    base = ModelRef((zoo.base(said.model),), "base")
    return Oracle(spec, ModelRef((zoo.suspect(name),), name), base)


def read_by_detector(scan: Scan) -> tuple[Mapping[str, Evidence], Sequence[Confirmed] | None]:
    """What a detector reads in an audit: what each locator said, and the triggers that were tried."""
    assert scan.file is not None
    found = read_json(scan.file, Findings)
    lost = any(hole.name == CONFIRM for hole in found.not_tried)
    return found.evidence, None if lost else found.triggers
