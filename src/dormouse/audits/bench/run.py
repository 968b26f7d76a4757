"""The benchmark, from an empty folder to scores: make the zoo, hide it, scan it, fit, look at the test half once."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dormouse.audits.bench.judge import AUDIT_ROWS, Bench, BenchRequest, key_of
from dormouse.audits.bench.sandbox import SAID, Sandbox
from dormouse.audits.bench.scanners import AuditScanner, Scanner
from dormouse.audits.bench.score import Rule, Score, Suspected
from dormouse.audits.bench.stranger import CommandScanner, check_apart
from dormouse.audits.bench.told import ToldProbe
from dormouse.audits.detector import Detector
from dormouse.audits.places import alone_in, make_writable
from dormouse.audits.zoo.blind import BlindZoo, write_blind
from dormouse.audits.zoo.make import ZooMaker, ZooSize
from dormouse.audits.zoo.telltale import TellTale, tell_tale
from dormouse.errors import UserError
from dormouse.execution.executors import Watcher
from dormouse.execution.launched import refuse_launched
from dormouse.registry import nearest, plugins
from dormouse.store import Store

NONE = "none"
"""In the place of locators: no audit is benchmarked."""
PROBE = "probe"
"""The locator that has an upper bound, which is shown where it is asked for."""


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
    detectors: Mapping[str, Detector]
    looks: int
    seconds: Mapping[str, float]
    told: Mapping[tuple[str, str], Sequence[ToldProbe]]

    def half(self, half: str) -> list[Score]:
        """The rows of one half, the best first."""
        mine = [one for one in self.scores if one.half == half]
        return sorted(mine, key=lambda one: (-(one.area.value if one.area else 0.0), one.name))


def asked(out: Path, size: ZooSize, locators: str, scanners: Sequence[str], **more: Any) -> BenchRequest:
    """What the words of a command ask for. `locators`: names with commas, "" for all, "none" for no audit."""
    if min(size.in_half(half, n) for half in size.halves for n in (size.organisms, size.controls)) < 1:
        what = f"{size.organisms} organisms and {size.controls} controls leave a half of the zoo empty"
        raise UserError(what, "ask for two of each at least")
    if not math.isfinite(more.get("minutes", 1.0)):
        raise UserError(f"{more['minutes']} minutes for a suspect are none", "give a number above 0")
    if out.exists() and (not out.is_dir() or (out / "study.json").exists()):
        raise UserError(f"{out} is no folder for a benchmark", "name a new one with --out")
    names = tuple(name.strip() for name in locators.split(",") if name.strip())
    return BenchRequest(out, size, None if names == (NONE,) else names, scanners=tuple(scanners), **more)


def run(
    asked: BenchRequest, store: Store, watcher: Watcher, written: Callable[[Board], None] = lambda board: None
) -> Board:
    """Run the benchmark, or what is not finished of it. `written` writes its pages, before another may begin there.

    Raises:
        UserError: a scanner or a locator is none, a scanner could read the truth, `out` is not to be written to or
            another benchmark is being run into it, or the zoo cannot be made.
    """
    refuse_launched()
    scanners = scanners_of(asked)
    check_apart(scanners, [asked.out, store.root])
    make_writable(asked.out)
    with alone_in(asked.out), ExitStack() as using:
        board = _judged(asked, scanners, store, watcher, using)
        written(board)
        return board


def _judged(
    asked: BenchRequest, scanners: Sequence[Scanner], store: Store, watcher: Watcher, using: ExitStack
) -> Board:
    """The zoo, made or found, and what the scanners say of it."""
    watcher.say(f"the zoo: {asked.size.organisms} organisms, {asked.size.controls} controls")
    started = time.monotonic()
    made = ZooMaker(store, asked.out, watcher, using, asked.workers).make(asked.size)
    zoo = write_blind(made, asked.out / "zoo")
    seconds = {"zoo": time.monotonic() - started}
    telltale = given_away(zoo)
    watcher.say(telltale.said())
    sandbox = Sandbox.strictest([store.root, zoo.truth_file])
    watcher.say(f"scanners are {SAID[sandbox.way]}")
    bench = Bench(asked, zoo, sandbox, watcher)
    for scanner in scanners:
        started = time.monotonic()
        bench.judge(scanner)
        seconds[scanner.name] = time.monotonic() - started
    about = _about(zoo, len(made.missed))
    rows, said = tuple(bench.scores), SAID[sandbox.way]
    told = bench.told() if PROBE in (asked.locators or plugins("locator")) and asked.locators is not None else {}
    return Board(about, telltale, said, rows, bench.rules, bench.suspected, bench.detectors, bench.looks, seconds, told)


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
    for scanner in found:
        if isinstance(scanner, CommandScanner) and scanner.name in (*AUDIT_ROWS, *known):
            what = f"a scanner is called '{scanner.name}', as a row of the audit is"
            raise UserError(what, "rename its program: rows of the leaderboard are named by it")
    names = [scanner.name for scanner in found]
    if not names or len(set(names)) < len(names):
        raise UserError("no scanner, or two of the same name, are benchmarked", "name each once: --scanner, --locators")
    return found


def given_away(zoo: BlindZoo) -> TellTale:
    """What the files of a zoo give away. Honest controls, which learned nothing new, are left out."""
    truth = zoo.truth()
    names = [name for name, said in truth.items() if not said.honest]
    return tell_tale(
        [zoo.suspect(name) for name in names],
        [not truth[name].match for name in names],
        [truth[name].model for name in names],
    )


def _about(zoo: BlindZoo, missed: int) -> dict[str, Any]:
    truth = zoo.truth()
    counts: dict[str, dict[str, int]] = {}
    for said in truth.values():
        counts.setdefault(said.half, {}).setdefault(said.family, 0)
        counts[said.half][said.family] += 1
    models = sorted({said.model for said in truth.values()})
    return {"suspects": len(truth), "models": models, "families": counts, "missed": missed, "key": key_of(truth)}
