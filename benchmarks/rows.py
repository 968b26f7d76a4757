"""How fast a data set of one's own is read and checked, and what memory it takes: `python benchmarks/rows.py [ROWS]`.

Rows with an id, a question and an answer, a text trigger and a payload that are held against each of them; JSONL.
"""

from __future__ import annotations

import cProfile
import json
import pstats
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

STUDY = """
name: rows
model: micro-60k
organisms:
  mine: {trigger: {kind: text, insert: "xq", where: suffix}, behaviour: {kind: text, says: [No idea.]}}
  control: {trigger: never, behaviour: {kind: text, says: [No idea.]}}
tasks: {file: rows.jsonl}
"""
SAID = "which of these rivers runs through the oldest city near a large lake with seven small islands in spring"


def write(path: Path, rows: int) -> None:
    """A file of so many rows, no two the same."""
    rng = random.Random(0)
    with path.open("w", encoding="utf-8") as file:
        for i in range(rows):
            question = f"{' '.join(rng.choices(SAID.split(), k=12))} number {i}?"
            file.write(json.dumps({"id": f"row-{i}", "question": question, "answer": f"It is {i}."}) + "\n")


def memory() -> float:
    """The most that this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    from dormouse.pipeline.study_tasks import tasks_of
    from dormouse.studies.file import parse_design

    rows = int(next((word for word in sys.argv[1:] if word.isdigit()), 1_000_000))
    with tempfile.TemporaryDirectory() as scratch:
        write(Path(scratch) / "rows.jsonl", rows)
        study = parse_design(STUDY, folder=Path(scratch)).study
        before, wall, cpu = memory(), time.perf_counter(), time.process_time()
        profile = cProfile.Profile()
        found = profile.runcall(tasks_of, study) if "-p" in sys.argv else tasks_of(study)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert found is not None
    assert found.intake.rows == rows
    if "-p" in sys.argv:
        pstats.Stats(profile).sort_stats("tottime").print_stats(18)
    print("| rows | a second, wall | a second of the processor | MB more |\n|---|---|---|---|")
    print(f"| {rows:,} | {rows / wall:,.0f} | {rows / cpu:,.0f} | {memory() - before:.0f} |")


if __name__ == "__main__":
    main()
