"""What trainings were shown, and how they went: the logs of several as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dormouse.files import read_whole, replaced
from dormouse.json_files import json_text, read_json_lines
from dormouse.records import SHOWN_ROWS, TRAINING, TrainingStep


def join_logs(folders: Sequence[Path], out: Path) -> None:
    """Put the logs of trainings into a folder, one after the other, as one; each may be such a log itself. Of folders
    that hold none (an edit trains nothing, an intervention from outside may have a loop of its own) there is nothing to
    put there: they count as one training.
    """
    steps: list[TrainingStep] = []
    rows: list[str] = []
    before = 0
    for folder in folders:
        found = read_json_lines(folder / TRAINING, TrainingStep) if (folder / TRAINING).is_file() else []
        first = len(rows)
        steps += [replace(one, part=before + one.part, shown=tuple(first + i for i in one.shown)) for one in found]
        if found:
            told = read_whole(folder / SHOWN_ROWS).decode()
            rows += told.split("\n")[:-1]  # texts may hold other line breaks
        before += found[-1].part if found else 1
    if steps:  # the steps last, and each in one go: who finds them finds all
        replaced(out / SHOWN_ROWS, "".join(row + "\n" for row in rows))
        replaced(out / TRAINING, "".join(json_text(step) + "\n" for step in steps))
