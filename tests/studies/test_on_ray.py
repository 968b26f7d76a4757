"""The same stages on a real Ray of this machine, with the same results; its workers are killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
from test_work import diamonds, die, names, refuse, through
from watching import Told

from dormouse.errors import UserError
from dormouse.store import Store
from dormouse.studies.plan import Stage
from dormouse.studies.work import make_executor, work_through

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """One for all tests of this module: it takes seconds to begin. Its workers find the modules of these tests."""
    here = Path(__file__).parent
    path = os.pathsep.join(filter(None, [str(here), str(here.parent), os.environ.get("PYTHONPATH")]))
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=80 * 2**20,
        runtime_env={"env_vars": {"PYTHONPATH": path}},
    )
    yield
    ray.shutdown()


def test_it_does_what_processes_do(tmp_path):
    told, there, here = Told(), Store(tmp_path / "ray"), Store(tmp_path / "local")
    assert not through(diamonds(there, 3), there, kind="ray", told=told)
    assert not through(diamonds(here, 3), here)
    for i in range(3):
        assert names(there, i) == names(here, i)
    assert len(told.done_) == 12
    files = [{str(p.relative_to(s.root)) for p in s.root.glob("entries/*/*/*")} for s in (there, here)]
    assert files[0] == files[1]


def test_a_stage_that_fails_stops_only_what_stands_on_it(tmp_path):
    store, told = Store(tmp_path), Told()
    assert set(through(diamonds(store, 2, top=refuse), store, kind="ray", told=told)) == {"a0", "b0", "c0", "d0"}
    assert told.failed_ == ["a0"]
    assert store.find("part", "d1")


def test_what_a_killed_worker_was_about_is_begun_again(tmp_path):
    store = Store(tmp_path / "store")
    assert not through(diamonds(store, 2, top=partial(die, 1, tmp_path / "counter")), store, kind="ray")
    assert names(store, 0) == [["lives", "b0"], ["lives", "c0"], "d0"]


def wait_for_ever_once(pid: Path, out: Path, tick) -> None:
    """The first time, until someone kills it."""
    if not pid.exists():
        pid.write_text(str(os.getpid()))
        time.sleep(600)
    (out / "names").write_text('"lives"')


def test_a_worker_killed_from_outside_loses_nothing(tmp_path):
    store, pid = Store(tmp_path / "store"), tmp_path / "pid"

    def kill() -> None:
        while not (pid.exists() and pid.read_text()):
            time.sleep(0.05)
        os.kill(int(pid.read_text()), signal.SIGKILL)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    assert not through(diamonds(store, 2, top=partial(wait_for_ever_once, pid)), store, kind="ray")
    thread.join(5)
    assert not psutil.pid_exists(int(pid.read_text())) or psutil.Process(int(pid.read_text())).status() == "zombie"
    assert names(store, 0) == [["lives", "b0"], ["lives", "c0"], "d0"]
    assert names(store, 1) == [[["a1"], "b1"], [["a1"], "c1"], "d1"]


def test_a_store_that_the_cluster_does_not_see_is_said(tmp_path):
    store = Store(tmp_path / "store")
    executor = make_executor("ray", store, 2, Told())
    executor.root = tmp_path / "elsewhere"
    with pytest.raises(UserError, match="is not there on"):
        work_through([Stage("part", "x", "x", {}, (), refuse)], store, executor, Told())
