"""Stages as jobs of submitit: in this process (its debug executor), as processes of this machine; what it is told."""

from __future__ import annotations

import errno
import json
import os
import signal
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import pytest
from test_scheduler import diamonds, names, through
from watching import Told
from works import die, refuse

from dormouse.errors import UserError
from dormouse.execution.executors import Failure
from dormouse.execution.journal import NO_JOURNAL
from dormouse.execution.scheduler import slots
from dormouse.execution.stage import Stage
from dormouse.store import Store

pytest.importorskip("submitit")
STRESS = pytest.mark.skipif(not os.environ.get("DORMOUSE_STRESS"), reason="processes that import torch")


@pytest.fixture
def debug(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs are done in this process, by the thread that looks at them."""
    monkeypatch.setattr("dormouse.execution.on_slurm.OFTEN", 0.02)
    monkeypatch.setenv("DORMOUSE_SUBMITIT", "debug")


def test_it_does_what_one_process_does(tmp_path: Path, debug: None) -> None:
    told, there, here = Told(), Store(tmp_path / "slurm"), Store(tmp_path / "local")
    assert not through(diamonds(there, 2), there, kind="slurm", told=told)
    assert not through(diamonds(here, 2), here, workers=1)
    assert [names(there, i) for i in range(2)] == [names(here, i) for i in range(2)]
    assert len(told.done_) == 8
    assert not list((tmp_path / "slurm" / "slurm").iterdir()), "what jobs wrote is cleared up"


def test_a_stage_that_fails_stops_only_what_stands_on_it(tmp_path: Path, debug: None) -> None:
    store, told = Store(tmp_path), Told()
    lost = through(diamonds(store, 2, top=refuse), store, kind="slurm", told=told)
    assert set(lost) == {"a0", "b0", "c0", "d0"}
    assert lost["a0"].what == "it cannot be done"
    assert told.failed_ == ["a0"]
    assert store.find("part", "d1")


def test_a_machine_that_does_not_see_the_store_says_so(tmp_path: Path) -> None:
    from dormouse.execution.on_slurm import Work

    stage = Stage("part", "a", "a", {}, (), partial(refuse))
    (failure,) = Work([stage], tmp_path / "gone", 1, NO_JOURNAL, tmp_path / "reports")()
    assert isinstance(failure, Failure)
    assert failure.fatal
    assert "--store" in failure.error.remedy


def test_a_job_that_slurm_ends_is_the_same_once_more(tmp_path: Path) -> None:
    from dormouse.execution.on_slurm import Work

    work = Work([], tmp_path, 1, NO_JOURNAL, tmp_path / "reports")
    assert work.checkpoint().function == work


def test_reports_are_read_line_by_line_as_they_come(tmp_path: Path) -> None:
    from dormouse.execution.on_slurm import _Running

    running = _Running([], None, tmp_path / "reports")
    assert running.news() == []
    (tmp_path / "reports").write_text('["stage", "a"]\n["tick", "a", 0.5, "ha')
    assert running.news() == [["stage", "a"]]
    with (tmp_path / "reports").open("a") as file:
        file.write('lf"]\n')
    assert running.news() == [["tick", "a", 0.5, "half"]]


def test_what_jobs_ask_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from dormouse.execution.on_slurm import settings

    monkeypatch.setenv("DORMOUSE_SLURM", "partition=gpu, gpus_per_node=1,timeout_min=240")
    assert settings() == {"slurm_partition": "gpu", "gpus_per_node": 1, "timeout_min": 240}
    monkeypatch.setenv("DORMOUSE_SLURM", "exclude=node[1,2-4],rack[7,8], timeout_min=9")
    with pytest.raises(UserError, match=r"no list of settings at 'rack\[7,8\]'"):
        settings()
    monkeypatch.setenv("DORMOUSE_SLURM", "exclude=node[1,2-4], timeout_min=9")
    assert settings() == {"slurm_exclude": "node[1,2-4]", "timeout_min": 9}
    monkeypatch.setenv("DORMOUSE_SLURM", "--partition gpu")
    with pytest.raises(UserError, match="no list of settings at '--partition gpu'"):
        settings()
    assert slots("slurm", []) == 16


def test_what_submitit_does_not_know_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DORMOUSE_SUBMITIT", "local")
    monkeypatch.setenv("DORMOUSE_SLURM", "partitoin=gpu")
    with pytest.raises(UserError, match="the cluster does not take a job"):
        through(diamonds(Store(tmp_path), 1), Store(tmp_path), kind="slurm")


def test_a_job_that_cannot_be_looked_at_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dormouse.execution.on_slurm import OnSlurm, _Running

    class Stale:
        def done(self) -> bool:
            raise OSError(errno.ESTALE, "Stale file handle")

        def cancel(self, check: bool) -> None:
            pass

    monkeypatch.setattr("dormouse.execution.on_slurm.OFTEN", 0.02)
    monkeypatch.setenv("DORMOUSE_SUBMITIT", "debug")
    executor, future = OnSlurm(tmp_path, 1, 1, Told(), NO_JOURNAL), Future[list[Failure]]()
    executor.running[future] = _Running([], Stale(), tmp_path)  # reports that are a folder: no news
    with pytest.raises(OSError, match="Stale"):
        future.result(timeout=20)
    executor.close()


def test_a_job_whose_time_ends_is_put_into_the_queue_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With submitit's own 3 times a long training came to no end; after the last it says what to do."""
    from submitit.core.utils import UncompletedJobError

    from dormouse.execution import on_slurm

    asked: list[dict[str, int]] = []
    monkeypatch.setattr(on_slurm.submitit, "AutoExecutor", lambda *_, cluster, **more: asked.append(more))
    for said in ("", "max_num_timeout=7"):
        monkeypatch.setenv("DORMOUSE_SLURM", said)
        on_slurm.OnSlurm(tmp_path, 1, 1, Told(), NO_JOURNAL).close()
    assert asked == [{"slurm_max_num_timeout": on_slurm.OFTEN_ENOUGH}, {"slurm_max_num_timeout": 7}]

    def ended(*_: object) -> None:
        raise UncompletedJobError("Job not requeued because: timed-out too many times.")

    before = signal.signal(signal.SIGUSR2, ended)
    try:
        on_slurm._leave_when_requeued()
        with pytest.raises(UserError, match="timed-out too many times") as caught:
            signal.raise_signal(signal.SIGUSR2)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert "timeout_min" in caught.value.remedy


@STRESS
def test_processes_of_this_machine_and_one_that_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Path(__file__).parent
    path = os.pathsep.join(filter(None, [str(here), str(here.parent), os.environ.get("PYTHONPATH")]))
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("DORMOUSE_SUBMITIT", "local")
    store, told = Store(tmp_path), Told()
    stage = Stage("part", "a", "a", {}, (), partial(die, 1, tmp_path / "counter"))
    assert not through([stage], store, kind="slurm", told=told)
    found = store.find("part", "a")
    assert found
    assert json.loads((found / "names").read_text()) == "lives"
    assert list((tmp_path / "slurm").iterdir()), "the logs of a job that died are kept"
