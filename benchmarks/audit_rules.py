"""Fit the rules of `dormouse audit` on zoos that were looked at, and test them on the test half of a new one:
`python benchmarks/audit_rules.py OUT --looked-at ZOO [--looked-at ZOO] --new ZOO --seed 1`.

ZOO is the `zoo` folder of a `dormouse bench audit`. All suspects of those that were looked at are for development, be
they of their test half: what was once seen is no test any more. Where the files of the new one give its organisms away
that is said on the leaderboard, and not refused: the rules read no weights. OUT gets the leaderboard, every answer,
and both rules (`conditional.json`, `detector.json`), which ship in `src/dormouse/audits/data`. Scans that are there are
kept.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dormouse.audits.bench.board import headline, write_board
from dormouse.audits.bench.judge import Bench, BenchRequest
from dormouse.audits.bench.run import Board, _about, given_away
from dormouse.audits.bench.sandbox import SAID, Sandbox
from dormouse.audits.bench.scanners import AuditScanner
from dormouse.audits.sealed import write_sealed
from dormouse.audits.zoo.blind import BASES, SUSPECTS, BlindZoo, ZooTruth
from dormouse.audits.zoo.make import ZooSize
from dormouse.audits.zoo.recipes import SuspectTruth
from dormouse.progress import watch
from dormouse.records import CANARY


def joined(out: Path, looked_at: Sequence[Path], new: Path) -> BlindZoo:
    """One zoo of several: the new one's test half, and all others for development."""
    suspects: dict[str, SuspectTruth] = {}
    missed: list[SuspectTruth] = []
    sums: dict[str, str] = {}
    for folder in (*looked_at, new):
        truth = BlindZoo(folder).whole_truth()
        assert truth, f"{folder} is no zoo"
        for name, said in truth.suspects.items():
            if folder == new and said.half != "test":
                continue
            suspects[name] = said if folder == new else replace(said, half="development")
            for part, one in ((SUSPECTS, name), (BASES, said.base)):
                if not (out / part / one).is_dir():
                    shutil.copytree(folder / part / one, out / part / one)
        missed += truth.missed
        sums |= truth.sums
    write_sealed(out / "truth.json", CANARY, ZooTruth(CANARY, suspects, tuple(missed), sums), mode=0o600)
    return BlindZoo(out)


def main() -> None:
    """Join, scan, fit, test and write."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("out", type=Path)
    asked.add_argument("--looked-at", type=Path, action="append", required=True)
    asked.add_argument("--new", type=Path, required=True)
    asked.add_argument(
        "--seed", type=int, required=True, help="of the zoos that were looked at; it stands in the rules"
    )
    said = asked.parse_args()
    started = time.monotonic()
    zoo = joined(said.out / "zoo", said.looked_at, said.new)
    request = BenchRequest(said.out, ZooSize(seed=said.seed), minutes=1.0)
    with watch(False) as watcher:
        bench = Bench(request, zoo, Sandbox.strictest([zoo.truth_file]), watcher)
        bench.judge(AuditScanner((), request.minutes))
        whole = zoo.whole_truth()
        assert whole
        board = Board(
            _about(zoo, len(whole.missed)),
            given_away(BlindZoo(zoo.folder, frozenset(bench.names("test")))),
            SAID[bench.sandbox.way],
            tuple(bench.scores),
            bench.rules,
            bench.suspected,
            bench.detectors,
            bench.looks,
            {"audit": time.monotonic() - started},
            bench.told(),
        )
    write_board(said.out, board)
    print("\n".join(headline(board)))


if __name__ == "__main__":
    main()
