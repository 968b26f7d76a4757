"""Which stages of a study are to be built."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from watching import Told

from dormouse.card import refuse_changed_entry
from dormouse.errors import UserError
from dormouse.execution.local import InProcessExecutor
from dormouse.execution.scheduler import make_executor, work_through
from dormouse.execution.stage import Stage
from dormouse.files import sha256
from dormouse.pipeline.plan import Plan, PlannedReading, State, _layers, missing
from dormouse.records import ModelRef
from dormouse.store import Store

CHAIN = ("base", "organism", "treatment-1", "treatment-2")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def plan(store: Store) -> Plan:
    """One model, two trainings in a row; a measurement that loads all its parts. All is there."""

    def work(reads: tuple[Stage, ...], out: Path, tick: Any) -> None:
        for part in reads:
            assert (part.folder(store) / "model" / "weights").is_file(), f"{part.key} is not there"
        (out / "model").mkdir()
        (out / "model" / "weights").write_bytes(bytes(1000))

    stages: list[Stage] = []
    for key in CHAIN:
        below = tuple(stages)
        stages.append(Stage(key.partition("-")[0], key, key, {}, below[-1:], lambda *a, b=below: work(b, *a)))
    below = tuple(stages)
    measure = Stage("measure", "measure", "measure", {}, below[-1:], lambda *a: work(below, *a))
    model = ModelRef(tuple(stage.folder(store) / "model" for stage in stages), "key")
    state = State("it", "both", 2, 0, model, False, stages[-1])
    made = Plan(None, "m", (state,), (PlannedReading(state, measure, True),))  # type: ignore[arg-type]
    build(made, store)
    for path in store.root.rglob("*"):
        if path.name == "weights":  # as in a run, where no weights are written in the moment in which they are sealed
            os.utime(path, (1e9, 1e9))
    return made


def build(plan: Plan, store: Store) -> dict[str, UserError]:
    doer = make_executor("local", store, 1, Told())
    assert isinstance(doer, InProcessExecutor)
    return work_through(missing([plan], Store(store.root), verified=True), store, doer, Told())


def rot(entry: Path) -> None:
    """As an ill disk does it: nobody wrote there."""
    weights = entry / "model" / "weights"
    weights.write_bytes(bytes(999) + b"X")
    os.utime(weights, (1e9, 1e9))


def is_refused(entry: Path) -> bool:
    try:
        refuse_changed_entry(entry / "model", Path("runs/a/models/it-seed0"))
    except UserError as error:
        return "run the study again: it makes them anew" in error.remedy
    return not (entry / "model").is_dir()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a byte": lambda entry: (entry / "model" / "weights").write_bytes(bytes(999) + b"X"),
    "a byte of an ill disk": rot,
    "more bytes": lambda entry: (entry / "model" / "weights").write_bytes(bytes(1001)),
    "a file deleted": lambda entry: (entry / "model" / "weights").unlink(),
    "a file too many": lambda entry: (entry / "model" / "chat_template.jinja").write_text("x"),
    "the manifest": lambda entry: (entry / "manifest.json").write_text("{}"),
    "all of it": shutil.rmtree,
}


@pytest.mark.filterwarnings("ignore:the store entry")
@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("part", CHAIN)
def test_weights_that_only_a_person_reads_are_made_anew(plan: Plan, store: Store, part: str, damage: str) -> None:
    """`chat` refused them, and said that a run makes them anew: a run of a finished study did not look at them."""
    assert missing([plan], store, verified=True) == []
    entry = store.place(part.partition("-")[0], part)
    DAMAGE[damage](entry)
    assert is_refused(entry) or damage == "the manifest"  # without one nobody knows that it is an entry
    assert [stage.key for stage in missing([plan], Store(store.root), verified=True)] == [part]
    assert build(plan, store) == {}
    assert not is_refused(entry)
    assert missing([plan], Store(store.root), verified=True) == []


@pytest.mark.parametrize("gone", [{"organism", "measure"}, {"treatment-1", "measure"}, {"base", "treatment-2"}])
def test_what_is_made_anew_stands_on_all_parts_of_its_model(plan: Plan, store: Store, gone: set[str]) -> None:
    """A measurement was begun on a model whose lower part had gone, as the part above was there."""
    for path in store.root.glob("entries/*/*"):
        if path.name in gone:
            shutil.rmtree(path)
    assert {stage.key for stage in missing([plan], Store(store.root), verified=False)} == gone
    assert build(plan, store) == {}
    assert missing([plan], Store(store.root), verified=True) == []


def test_weights_are_not_read_for_a_finished_study(plan: Plan, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a large one take minutes."""
    read: list[Path] = []
    monkeypatch.setattr("dormouse.entry.sha256", lambda path: read.append(path) or sha256(path))
    assert missing([plan], Store(store.root), verified=True) == []
    assert {path.parents[1].name for path in read} == {"measure"}


def test_a_copied_store_is_read_once(plan: Plan, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """After `cp -r` all weights are younger than their entry: they were read at every run, the base once an arm."""
    for path in store.root.rglob("weights"):
        os.utime(path)
    read: list[Path] = []
    monkeypatch.setattr("dormouse.entry.sha256", lambda path: read.append(path) or sha256(path))
    twice = replace(plan, states=plan.states * 2)
    assert missing([twice], Store(store.root), verified=True) == []
    assert sorted(path.parents[1].name for path in read) == sorted([*CHAIN, "measure"])
    assert missing([plan], Store(store.root), verified=True) == []
    assert [path.parents[1].name for path in read[len(CHAIN) + 1 :]] == ["measure"]


def test_damage_is_seen_by_a_clock_that_is_behind(plan: Plan, store: Store) -> None:
    entry = store.place("base", "base")
    rot(entry)
    ahead = time.time() + 3600
    os.utime(entry / "manifest.json", (ahead, ahead))
    assert is_refused(entry)
    assert [stage.key for stage in missing([plan], Store(store.root), verified=True)] == ["base"]


def test_located_treatments_one_on_another_are_soon_walked(store: Store) -> None:
    """Each names the model before it twice, by itself and by what was located in it: thirty took for ever."""
    last = Stage("organism", "o", "o", {}, (), print)
    for i in range(30):
        found = Stage("findings", f"f{i}", f"f{i}", {}, (last,), print)
        last = Stage("treatment", f"t{i}", f"t{i}", {}, (last, found, last), print)
    layers, behind = len(_layers(last)), len(last.behind())
    assert (layers, behind) == (31, 60)


def test_a_teacher_is_no_part_of_who_learned_from_it(store: Store) -> None:
    """It is not needed again where its answers are there."""
    made: dict[str, Stage] = {}
    for key, parents in {
        "base": (),
        "organism-a": ("base",),
        "taught": ("organism-a",),
        "organism-b": ("base", "taught"),
    }.items():
        kind = key.partition("-")[0]
        made[key] = Stage(kind, key, key, {}, tuple(made[one] for one in parents), lambda *_: None)
        if key != "organism-a":
            store.get(kind, key, {}, lambda folder: (folder / "file").write_text(""))
    top = made["organism-b"]
    model = ModelRef((made["base"].folder(store) / "model", top.folder(store) / "model"), "key")
    state = State("b", "", 0, 0, model, False, top)
    reading = PlannedReading(state, Stage("measure", "m", "m", {}, (top,), lambda *_: None), True)
    plan = Plan(None, "m", (state,), (reading,))  # type: ignore[arg-type]
    assert [stage.key for stage in missing([plan], store, verified=True)] == ["m"]
