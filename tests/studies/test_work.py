"""Several workers do what one does, and a killed one is said."""

import json
import os
import signal
from functools import partial
from pathlib import Path

import pytest

from dormouse.errors import UserError
from dormouse.store import Store
from dormouse.studies.plan import Stage
from dormouse.studies.work import _jobs, work_through


class Told:
    """A watcher that remembers."""

    def __init__(self):
        self.done_, self.ticks = [], 0

    def say(self, text): ...
    def start(self, stages): ...
    def stage(self, name): ...
    def tick(self, name, share, text):
        self.ticks += 1

    def done(self, name, seconds):
        self.done_.append(name)


def join(parents: tuple[Path, ...], name: str, out: Path, tick) -> None:
    """Write one's own name after those of one's parents: fails where a parent is not there yet."""
    tick(0.5, "half")
    (out / "names").write_text(json.dumps([*(json.loads((p / "names").read_text()) for p in parents), name]))


def die(out: Path, tick) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def refuse(out: Path, tick) -> None:
    raise UserError("it cannot be done", "do something else")


def diamonds(store: Store, n: int) -> list[Stage]:
    """n independent diamonds of four stages, parents first."""
    stages = []
    for i in range(n):
        made: dict[str, Stage] = {}
        for name, parents in (("a", ()), ("b", ("a",)), ("c", ("a",)), ("d", ("b", "c"))):
            above = tuple(made[p] for p in parents)
            work = partial(join, tuple(p.folder(store) for p in above), f"{name}{i}")
            made[name] = Stage("part", f"{name}{i}", f"{name}{i}", {}, above, work)
        stages += made.values()
    return stages


@pytest.mark.parametrize("workers", [1, 2])
def test_parents_come_first_whatever_the_number_of_workers(tmp_path, workers):
    store, told = Store(tmp_path), Told()
    todo = diamonds(store, 3)
    work_through(todo, store, workers, told)
    assert sorted(told.done_) == sorted(stage.name for stage in todo)
    assert told.ticks == len(todo)
    for i in range(3):
        entry = store.find("part", f"d{i}")
        assert json.loads((entry / "names").read_text()) == [[[f"a{i}"], f"b{i}"], [[f"a{i}"], f"c{i}"], f"d{i}"]


def test_a_killed_worker_is_said_and_what_was_finished_is_kept(tmp_path):
    store = Store(tmp_path)
    first = diamonds(store, 1)
    killer = Stage("part", "killer", "killer", {}, (first[-1],), die)
    with pytest.raises(UserError, match="worker process was killed"):
        work_through([*first, killer], store, 2, Told())
    assert Store(tmp_path).find("part", "d0")
    assert Store(tmp_path).find("part", "killer") is None


def test_what_a_stage_refuses_reaches_the_user(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(UserError, match="cannot be done"):
        work_through([Stage("part", "no", "no", {}, (), refuse)], store, 2, Told())


def test_stages_that_read_one_model_share_a_job_but_not_with_its_maker():
    maker = Stage("organism", "o", "key", {}, (), refuse)
    readers = [Stage("measure", f"m{i}", f"m{i}", {"state": "key"}, (maker,), refuse) for i in range(3)]
    other = Stage("measure", "x", "x", {"state": "other"}, (), refuse)
    assert [[stage.name for stage in job] for job in _jobs([maker, *readers, other])] == [
        ["o"],
        ["m0", "m1", "m2"],
        ["x"],
    ]
