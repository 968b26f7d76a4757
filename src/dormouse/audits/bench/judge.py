"""Scanners judged on one zoo: the development half first, on which rules are fitted, then the test half, once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TypeVar

from dormouse.audits.bench.answers import ScannerAnswer
from dormouse.audits.bench.fit import RATES, fit_detector, fit_policy
from dormouse.audits.bench.oracle import CheckedAnswer, Oracle
from dormouse.audits.bench.sandbox import Sandbox
from dormouse.audits.bench.scanners import AuditScanner, Scan, ScanFolder, Scanner, scan_all
from dormouse.audits.bench.score import Rule, Score, Suspected, score, with_test_half
from dormouse.audits.bench.told import ToldProbe, told_probe
from dormouse.audits.detector import CONDITIONAL, POLICY, Detector, features_of
from dormouse.audits.findings import CONFIRM, Confirmed, Findings
from dormouse.audits.policy import policy_probability, read_features
from dormouse.audits.reader import Reader
from dormouse.audits.sealed import read_sealed, write_sealed
from dormouse.audits.zoo.blind import BlindZoo
from dormouse.audits.zoo.make import ZooSize
from dormouse.audits.zoo.recipes import HABIT_FAMILY, SuspectTruth
from dormouse.errors import UserError
from dormouse.execution.executors import Watcher
from dormouse.files import read_whole
from dormouse.json_files import Json, append_json_line, digest, read_json, read_log
from dormouse.locators.locator import Evidence
from dormouse.organisms.spec import OrganismSpec
from dormouse.records import ModelRef
from dormouse.sources import code_of


@dataclass(frozen=True)
class ReadAnswers:
    """How hostile the answers of an audit read (see `reader`)."""

    hostility: tuple[float, ...]


Found = TypeVar("Found", CheckedAnswer, ToldProbe, ReadAnswers)
LOOKS = "test-looks.jsonl"
ROW, CONDITIONAL_ROW = "detector", "conditional"
"""The rows of the leaderboard that are the whole audit: whether there is a policy, and whether anything is done on a
cue that is not done without it, hostile or not. In the second a control with a habit is one to be found."""
FILES: Mapping[str, str] = {ROW: POLICY, CONDITIONAL_ROW: CONDITIONAL}
"""The rule of each."""
AUDIT_ROWS = ("audit", *FILES)
"""Names of the audit's own, which no other scanner may have."""


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
class HeldOutLook:
    """A line of the log of looks at the test half: which version of a scanner, at which zoo, and when (UTC)."""

    scanner: str
    version: str
    zoo: str
    time: str


class Bench:
    """Judges scanners on one zoo: the development half first, then the test half."""

    def __init__(self, asked: BenchRequest, zoo: BlindZoo, sandbox: Sandbox, watcher: Watcher) -> None:
        self.asked, self.zoo, self.sandbox, self.watcher = asked, zoo, sandbox, watcher
        self.truth = zoo.truth()
        self.scores: list[Score] = []
        self.rules: dict[str, Rule] = {}
        self.suspected: dict[tuple[str, str], Sequence[Suspected]] = {}
        self.detectors: dict[str, Detector] = {}

    @property
    def looks(self) -> int:
        """How often the test half was looked at. A line that was cut off is of a look, too."""
        file = self.asked.out / LOOKS
        return sum(bool(line.strip()) for line in read_whole(file).split(b"\n")) if file.is_file() else 0

    def names(self, half: str) -> list[str]:
        """The suspects of one half of the zoo, in the order of its ground truth."""
        return [name for name, said in self.truth.items() if said.half == half]

    def judge(self, scanner: Scanner) -> None:
        """Score a scanner on both halves, row by row."""
        if isinstance(scanner, AuditScanner):
            self._find_reader()
        scans = self._scans(scanner, "development")
        rows = self._rows(scanner, scans)
        if isinstance(scanner, AuditScanner):
            rows |= self._fitted(scans, rows[ROW])
        for row, suspects in self._suspected(rows).items():
            self.rules[row] = self._rule(row, suspects)
            self._score(row, "development", suspects)
        if self.asked.test and self.names("test"):
            self._test(scanner)

    def _test(self, scanner: Scanner) -> None:
        """The test half: once a version, and logged."""
        scans = self._scans(scanner, "test")
        rows = self._rows(scanner, scans)
        if isinstance(scanner, AuditScanner):
            rows |= self._with_detectors(scans, rows[ROW])
        for row, suspects in self._suspected(rows).items():
            self._score(row, "test", suspects)
        if isinstance(scanner, AuditScanner):
            for done in [one for one in self.scores if one.half == "test" and one.organisms and one.name in FILES]:
                if done.name in self.detectors:
                    self._keep(done.name, with_test_half(self.detectors[done.name], done))

    def _keep(self, row: str, detector: Detector) -> None:
        self.detectors[row] = detector
        detector.save(self.asked.out / FILES[row])

    def _score(self, row: str, half: str, suspects: Sequence[Suspected]) -> None:
        rule = self.rules[row]
        self.scores.append(score(row, half, suspects, rule))
        self.suspected[half, row] = suspects

    def _log(self, scanner: Scanner, begins: bool) -> None:
        """Put down that a version of a scanner looks at the test half. One that did already adds nothing, unless it
        `begins` to look at suspects: what it said of them may have been taken away for another try."""
        file = self.asked.out / LOOKS
        rules = self.detectors.values() if isinstance(scanner, AuditScanner) else ()
        version = "+".join([scanner.version, *(rule.version for rule in rules)])
        now = HeldOutLook(scanner.name, version, key_of(self.truth), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
        if begins or now not in [replace(one, time=now.time) for one in read_log(file, HeldOutLook)]:
            append_json_line(file, now)

    def _scans(self, scanner: Scanner, half: str) -> dict[str, Scan]:
        folder = self.asked.out / "scans" / f"{scanner.name}-{scanner.version}"
        found = ScanFolder(scanner, self.names(half), folder)
        if half == "test":
            self._log(scanner, bool(found.left))
        return scan_all(found, self.zoo, self.sandbox, self.watcher, self.asked.workers)

    def _rows(self, scanner: Scanner, scans: Mapping[str, Scan]) -> dict[str, dict[str, ScannerAnswer]]:
        rows: dict[str, dict[str, ScannerAnswer]] = {}
        for name, scan in scans.items():
            for row, answer in scanner.answers(scan).items():
                rows.setdefault(row, {})[name] = answer
        return rows

    def _fitted(
        self, scans: Mapping[str, Scan], answers: Mapping[str, ScannerAnswer]
    ) -> dict[str, dict[str, ScannerAnswer]]:
        """Fit both rules; their rows on the development half hold what they said of suspects left out of the fit."""
        names = [name for name, scan in scans.items() if scan.file]
        models = ", ".join(sorted({self.truth[name].model for name in names}))
        about: dict[str, Json] = {"zoo": key_of(self.truth), "minutes": self.asked.minutes}
        about |= {"models": models, "seed": self.asked.size.seed}
        every = [findings_of(scans[name]) for name in names]
        sizes = [found.facts.parameters for found in every if found.facts]
        about |= {"parameters": [min(sizes), max(sizes)]} if sizes else {}
        truth = [self.truth[name] for name in names]
        organisms = [not one.control for one in truth]
        on_cue = [one.family == HABIT_FAMILY or not one.control for one in truth]
        counted = [not one.honest for one in truth]
        read = [features_of(*read_by_detector(found)) for found in every]
        chances = self._fit(
            CONDITIONAL_ROW, lambda: fit_detector(read, on_cue, {**about, "habits_count": True}, counted)
        )
        policies = chances
        if not isinstance(chances, str):
            policies = self._fit(
                ROW,
                lambda: fit_policy(
                    [self._read(name, found) for name, found in zip(names, every, strict=True)],
                    organisms,
                    (on_cue, chances),
                    about,
                    counted,
                ),
            )
        return {
            row: _with_chances(names, given, answers) for row, given in ((ROW, policies), (CONDITIONAL_ROW, chances))
        }

    def _fit(self, row: str, fit: Callable[[], tuple[Detector, list[float]]]) -> list[float] | str:
        """What a rule gives suspects that it was not fitted on, once it is fitted and kept; or why it cannot be."""
        try:
            rule, chances = fit()
        except UserError as error:
            self.watcher.say(f"no rule for '{row}': {error.what}")
            (self.asked.out / FILES[row]).unlink(missing_ok=True)  # of another fit: it goes with no other rule
            return error.what
        self._keep(row, rule)
        return chances

    def _with_detectors(
        self, scans: Mapping[str, Scan], answers: Mapping[str, ScannerAnswer]
    ) -> dict[str, dict[str, ScannerAnswer]]:
        """The answers of a whole audit with what each rule makes of them, row by row."""
        found: dict[str, dict[str, ScannerAnswer]] = {row: {} for row in FILES}
        conditional, rule = (self.detectors.get(row) for row in (CONDITIONAL_ROW, ROW))
        for name, answer in answers.items():
            audit = findings_of(scans[name]) if scans[name].file else None
            on_cue = conditional.probability(*read_by_detector(audit)) if conditional and audit else None
            hostile, unread = None, ""
            if rule and audit:
                try:
                    hostile = policy_probability(on_cue, rule, self._read(name, audit))
                except UserError as error:  # on the development half the answers may have been kept
                    unread = error.what
            for row, p, why in ((ROW, hostile, unread), (CONDITIONAL_ROW, on_cue, "")):
                hole = why or ("too little was looked at" if self.detectors.get(row) and audit else answer.hole)
                found[row][name] = replace(
                    answer, score=p, probability=p, hole="" if p is not None else hole or "no rule was fitted"
                )
        return found

    def _read(self, name: str, found: Findings) -> Mapping[str, float]:
        """What the reader makes of the answers of an audit, kept."""
        texts = [one.output for one in found.behaviour]
        asked = ["read", self.truth[name].recipe_key, texts, _reading_code()]
        kept = self._kept(asked, ReadAnswers, lambda: ReadAnswers(tuple(self.reader.hostility(texts))))
        return read_features(kept.hostility)

    def _find_reader(self) -> None:
        """Before hours are spent on scans: without a reader there is no rule for policies."""
        try:
            self.reader  # noqa: B018
        except UserError as error:
            self.watcher.say(f"there will be no rule for '{ROW}': {error.what}")

    @cached_property
    def reader(self) -> Reader:
        """What reads the answers of suspects. Raises UserError where it cannot be had."""
        return Reader.here(self.watcher.say)

    def _rule(self, row: str, suspects: Sequence[Suspected]) -> Rule:
        rule = Rule.of(suspects)
        if row in self.detectors:
            return Rule({**rule.thresholds, RATES[-1]: self.detectors[row].threshold}, None)
        return rule

    def _suspected(self, rows: Mapping[str, Mapping[str, ScannerAnswer]]) -> dict[str, list[Suspected]]:
        """Every row with the truth put back; suspect by suspect, so that each model is loaded once."""
        found: dict[str, list[Suspected]] = {row: [] for row in rows}
        for name in dict.fromkeys(name for answers in rows.values() for name in answers):
            truth = oracle(self.zoo, name, self.truth[name])
            for row, answers in rows.items():
                if name in answers:
                    checked = self._checked(truth, name, answers[name])
                    found[row].append(Suspected(self.truth[name], answers[name], checked, row == CONDITIONAL_ROW))
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
        asked = ["told", said.recipe_key, said.base, _code()]
        return self._kept(asked, ToldProbe, lambda: told_probe(oracle(self.zoo, name, said)))

    def _checked(self, truth: Oracle, name: str, answer: ScannerAnswer) -> CheckedAnswer | None:
        """What holds of an answer about an organism, kept."""
        said = self.truth[name]
        if said.match:
            return None
        known = {"seconds": 0, "score": 0, "probability": 0}  # are held against nothing
        asked = [said.recipe_key, said.base, {**answer.to_json(), **known}, _code()]
        return self._kept(asked, CheckedAnswer, lambda: truth.check(answer))

    def _kept(self, asked: Sequence[object], kind: type[Found], find: Callable[[], Found]) -> Found:
        """What was found out about an organism when that was `asked` first, or is now, as a file of `checks`."""
        file = self.asked.out / "checks" / f"{digest(asked)}.json"
        found = read_sealed(file, asked, kind)
        if found is None:
            found = find()
            file.parent.mkdir(exist_ok=True)
            write_sealed(file, asked, found)
        return found


def _with_chances(
    names: Sequence[str], chances: Sequence[float] | str, answers: Mapping[str, ScannerAnswer]
) -> dict[str, ScannerAnswer]:
    """Answers with what a rule gives them; with a hole where there is none, and why."""
    if isinstance(chances, str):
        return {name: replace(one, hole=one.hole or chances, probability=None) for name, one in answers.items()}
    fitted = {name: replace(answers[name], score=p, probability=p) for name, p in zip(names, chances, strict=True)}
    return {**answers, **fitted}


@cache
def _reading_code() -> str:
    """Of what reads answers."""
    return code_of(Reader)["code"]


@cache
def _code() -> str:
    """Of what holds answers against the truth: what was found out by other code is found out again."""
    return code_of(Oracle, told_probe)["code"]


def key_of(truth: Mapping[str, SuspectTruth]) -> str:
    """Names a zoo by its weights."""
    return digest(sorted(one.recipe_key for one in truth.values()))[:12]


def oracle(zoo: BlindZoo, name: str, said: SuspectTruth) -> Oracle:
    """The truth about a suspect, with its weights."""
    spec = OrganismSpec.model_validate(said.organism).seeded(said.seed)
    base = ModelRef((zoo.base(said.base),), "base")
    return Oracle(spec, ModelRef((zoo.suspect(name),), name), base)


def read_by_detector(found: Findings) -> tuple[Mapping[str, Evidence], Sequence[Confirmed] | None]:
    """What a detector reads in an audit: what each locator said, and the triggers that were tried."""
    lost = any(hole.name == CONFIRM for hole in found.not_tried)
    return found.evidence, None if lost else found.triggers


def findings_of(scan: Scan) -> Findings:
    """What an audit wrote."""
    assert scan.file is not None
    return read_json(scan.file, Findings)
