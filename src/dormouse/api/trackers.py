"""Losses and rates of a finished study to a tracker of experiments: TensorBoard, Trackio or Weights & Biases.

As with `report_to` in transformers the tracker is named; its own package writes. Every model of the study is a run of
its own: an organism with its rates, a treatment with its losses and with the rates at its checkpoints.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dormouse.card import CARD, is_about, read_card
from dormouse.errors import UserError
from dormouse.json_files import read_json_lines
from dormouse.pipeline.results import read_finished
from dormouse.records import TRAINING, Record, TrainingStep
from dormouse.registry import nearest

EVENTS = "events.out.tfevents."
Series = Mapping[int, Mapping[str, float]]
"""Step -> quantity -> value."""
NEEDS = {"tensorboard": "tensorboard", "trackio": "trackio", "wandb": "wandb"}
"""Tracker -> the package that writes."""


def check(names: Sequence[str]) -> None:
    """See that trackers are there, before a study runs for hours.

    Raises:
        UserError: one is unknown, or its package is not installed.
    """
    for name in names:
        if name not in NEEDS:
            raise UserError(f"there is no tracker '{name}'; {nearest(name, NEEDS)}", f"use one of: {', '.join(NEEDS)}")
        try:
            importlib.import_module(NEEDS[name])
        except ImportError as error:
            raise UserError(f"the tracker '{name}' is not installed", f"pip install {NEEDS[name]}") from error


def report(folder: Path, names: Sequence[str]) -> None:
    """Write a finished study to trackers. What an earlier call wrote to TensorBoard is written anew.

    Raises:
        UserError: the folder holds no finished study, or a tracker is not there.
    """
    check(names)
    records, _, about = read_finished(folder)
    runs = dict(_runs(folder, records))
    for name in names:
        if name == "tensorboard":
            _to_tensorboard(folder / name, runs)
        else:
            _to_module(importlib.import_module(NEEDS[name]), about.name, runs)


def _runs(folder: Path, records: Sequence[Record]) -> Iterator[tuple[str, Series]]:
    """Every model of a study by name, with what is known of it step by step."""
    for path in sorted((folder / "models").glob(f"*/{CARD}")):
        name, card = path.parent.name, read_card(path.parent)
        series: dict[int, dict[str, float]] = {}
        if (path.parent / TRAINING).is_file():
            for number, step in enumerate(read_json_lines(path.parent / TRAINING, TrainingStep), 1):
                row = series.setdefault(number, {})
                row |= {"loss": step.loss, "gradient_norm": step.gradient_norm, "lr": step.lr}
        for one in records:
            if one.x is None and is_about(one, path.parent, card):
                series.setdefault(one.step, {})[f"{one.measurement}/{one.split}"] = one.value
        yield name, dict(sorted(series.items()))


def _to_tensorboard(folder: Path, runs: Mapping[str, Series]) -> None:
    from torch.utils.tensorboard import SummaryWriter

    for name, series in runs.items():
        for old in (folder / name).glob(f"{EVENTS}*"):
            old.unlink()
        with SummaryWriter(str(folder / name)) as writer:
            for step, row in series.items():
                for key, value in row.items():
                    writer.add_scalar(key, value, step)


def _to_module(module: Any, study: str, runs: Mapping[str, Series]) -> None:
    """Trackio has the interface of W&B."""
    log: Callable[..., None] = module.log
    for name, series in runs.items():
        module.init(project=study, name=name)
        for step, row in series.items():
            log(dict(row), step=step)
        module.finish()
