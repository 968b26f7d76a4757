"""Losses and rates of a study, as its models are measured, to a tracker: TensorBoard, Trackio or Weights & Biases.

As with `report_to` in transformers the tracker is named; its own package writes. Every model of the study is a run of
its own: an organism with its rates, a treatment with its losses and with the rates at its checkpoints.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from dormouse.card import CARD, Card, is_of_replicate, read_card
from dormouse.errors import UserError
from dormouse.json_files import read_json_lines
from dormouse.pipeline.own_records import own_records
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


class Tracking:
    """Trackers that are told of the models of a study, of each as soon as it is measured.

    Raises:
        UserError: see `check`.
    """

    def __init__(self, names: Sequence[str], study: str, out: Path) -> None:
        check(names)
        self.names, self.study, self.out = names, study, out
        self.told: set[str] = set()

    def tell(self, folder: Path, records: Sequence[Record]) -> None:
        """Write the model of that folder of the results, with what is known of it."""
        series = _series(folder, lambda here, card: [one for one in records if is_of_replicate(one, here, card)])
        self._write(self.names, {folder.name: series})
        self.told.add(folder.name)

    def end(self) -> None:
        """Write those models of the finished study that were not told of; to TensorBoard all of them anew, with the
        rates that follow from several arms. Replicates are told their own rates alone.

        Raises:
            UserError: the folder holds no finished study.
        """
        if not self.names:
            return
        records, _, _ = read_finished(self.out)
        every = [path.parent for path in sorted((self.out / "models").glob(f"*/{CARD}"))]
        runs = {folder.name: _series(folder, partial(own_records, of_study=records)) for folder in every}
        left = {name: series for name, series in runs.items() if name not in self.told}
        for name in self.names:
            self._write([name], runs if name == "tensorboard" else left)

    def _write(self, names: Sequence[str], runs: Mapping[str, Series]) -> None:
        for name in names:
            if name == "tensorboard":
                _to_tensorboard(self.out / name, runs)
            else:
                _to_module(importlib.import_module(NEEDS[name]), self.study, runs)


def _series(folder: Path, about: Callable[[Path, Card], Iterable[Record]]) -> Series:
    """What is known of a model of a study, step by step: its losses, and the records that are `about` it. Where its
    checkpoints are rungs of surgery these are no steps of training: each training is then a series of its own."""
    card = read_card(folder)
    records = list(about(folder, card))
    rungs = any(one.measurement == "strength" for one in records)
    series: dict[int, dict[str, float]] = {}
    if (folder / TRAINING).is_file():
        for number, step in enumerate(read_json_lines(folder / TRAINING, TrainingStep), 1):
            row = series.setdefault(step.step if rungs else number, {})
            named = f"training {step.part}/" if rungs else ""
            row |= {f"{named}loss": step.loss, f"{named}gradient_norm": step.gradient_norm, f"{named}lr": step.lr}
    for one in records:
        if one.x is None:
            series.setdefault(one.step, {})[f"{one.measurement}/{one.split}"] = one.value
    return dict(sorted(series.items()))


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
