"""What treatments were shown, and how their training went: from the store into the folder of the results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dormouse.files import replaced
from dormouse.json_files import json_text, read_json_lines
from dormouse.records import SHOWN_ROWS, TRAINING, TrainingStep


def copy_logs(stages: Sequence[Path], folder: Path) -> None:
    """Put the logs of a chain of trainings into a folder, one after the other, as one. Of those that kept none (an
    intervention from outside may train with a loop of its own) there is nothing to put there.
    """
    steps: list[TrainingStep] = []
    rows: list[str] = []
    for part, stage in enumerate(stages, 1):
        if not (stage / TRAINING).is_file():
            continue
        first = len(rows)
        for step in read_json_lines(stage / TRAINING, TrainingStep):
            steps.append(replace(step, part=part, shown=tuple(first + i for i in step.shown)))
        rows += (stage / SHOWN_ROWS).read_text(encoding="utf-8").split("\n")[:-1]  # texts may hold other line breaks
    if steps:  # the steps last, and each in one go: who finds them finds all
        replaced(folder / SHOWN_ROWS, "".join(row + "\n" for row in rows))
        replaced(folder / TRAINING, "".join(json_text(step) + "\n" for step in steps))
