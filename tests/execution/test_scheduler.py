"""Every executor does what one process does; what fails stops nothing but what stands on it."""

import json
import multiprocessing
import os
import signal
import threading
import time
from functools import partial
from types import SimpleNamespace

import pytest
from watching import Told
from works import be_shaky, break_down, die, fill_disk, join, leave, panic, read_nothing, refuse, swallow, wait, warn

from dormouse.errors import UserError
from dormouse.execution import local
from dormouse.execution.journal import JOURNAL, NO_JOURNAL, Journal, JournalLine, read_journal
from dormouse.execution.scheduler import DEATHS, _jobs, make_executor, slots, work_through
from dormouse.execution.stage import Stage
from dormouse.stopping import listening
from dormouse.store import Store, StoreError


def through(todo, store, workers=2, kind="local", told=None, journal=NO_JOURNAL):
    told = told or Told()
    return work_through(todo, store, make_executor(kind, store, workers, told, journal), told, journal)


def diamonds(store: Store, n: int, top=None) -> list[Stage]:
    """n independent diamonds of four stages, parents first. `top` takes the place of the work of the first stage, of
    the first diamond or of each that it names."""
    tops = top if isinstance(top, dict) else {0: top} if top else {}
    stages = []
    for i in range(n):
        made: dict[str, Stage] = {}
        for name, parents in (("a", ()), ("b", ("a",)), ("c", ("a",)), ("d", ("b", "c"))):
            above = tuple(made[p] for p in parents)
            work = partial(join, tuple(p.folder(store) for p in above), f"{name}{i}")
            work = work if parents else tops.get(i, work)
            made[name] = Stage("part", f"{name}{i}", f"{name}{i}", {}, above, work)
        stages += made.values()
    return stages


def names(store: Store, i: int):
    return json.loads((store.find("part", f"d{i}") / "names").read_text())


@pytest.mark.parametrize("workers", [1, 2])
def test_parents_come_first_whatever_the_number_of_workers(tmp_path, workers):
    store, told = Store(tmp_path), Told()
    todo = diamonds(store, 3)
    assert not through(todo, store, workers, told=told)
    assert sorted(told.done_) == sorted(stage.name for stage in todo)
    assert told.ticks == len(todo)
    for i in range(3):
        assert names(store, i) == [[[f"a{i}"], f"b{i}"], [[f"a{i}"], f"c{i}"], f"d{i}"]


FAULTS = [refuse, break_down, panic, leave, read_nothing, be_shaky]
SAID = ["it cannot be done", "ZeroDivisionError", "PanicException", "SystemExit", "words.txt", "the plug-in 'shaky'"]
BUGS = [break_down, panic, leave]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stage_that_fails_stops_only_what_stands_on_it(tmp_path, workers):
    """In whatever way it fails."""
    store, told, journal = Store(tmp_path / "store"), Told(), Journal(tmp_path / JOURNAL)
    n = len(FAULTS)
    lost = through(diamonds(store, n + 2, top=dict(enumerate(FAULTS))), store, workers, told=told, journal=journal)
    assert set(lost) == {f"{name}{i}" for i in range(n) for name in "abcd"}
    assert sorted(told.failed_) == [f"a{i}" for i in range(n)]
    assert len(told.done_) == 8
    events = {line.name: line.event for line in read_journal(tmp_path / JOURNAL) if isinstance(line, JournalLine)}
    for i, said in enumerate(SAID):
        assert said in lost[f"a{i}"].what
        assert ("report it as a bug" in lost[f"a{i}"].remedy) == (FAULTS[i] in BUGS)
        assert len(lost[f"a{i}"].what) < 250
        assert f"depends on 'a{i}'" in lost[f"b{i}"].what
        assert (events[f"a{i}"], events[f"d{i}"]) == ("failed", "skipped")
    assert not through(diamonds(store, n + 2), store, workers), "and once it is mended, only they are missing"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_store_that_takes_nothing_stops_everything(tmp_path, workers):
    store = Store(tmp_path)
    with pytest.raises(StoreError, match="No space left"):
        through(diamonds(store, 1, top=fill_disk), store, workers)


def test_what_a_killed_worker_was_about_is_begun_again(tmp_path):
    store, told = Store(tmp_path / "store"), Told()
    todo = diamonds(store, 3, top=partial(die, DEATHS - 1, tmp_path / "counter"))
    assert not through(todo, store, told=told)
    assert names(store, 0) == [["lives", "b0"], ["lives", "c0"], "d0"]
    assert [text for text in told.said if "a0 is begun again" in text]


@pytest.mark.parametrize("busy", [False, True])
def test_the_users_own_processes_live_on(tmp_path, busy):
    """Whatever multiprocessing knew of was killed at the end of a study: data servers, other pools."""
    mine = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,), daemon=True)
    mine.start()
    before = os.environ.get("PYTHONWARNINGS")
    executor = make_executor("local", Store(tmp_path), 2, Told())
    work = partial(wait, tmp_path / "begun") if busy else partial(join, (), "a")
    future = executor.submit([Stage("part", "a", "a", {}, (), work)])
    while busy and not (tmp_path / "begun").exists():
        time.sleep(0.01)
    assert busy or future.result() == []
    ours = {child for child in multiprocessing.active_children() if child is not mine}
    executor.close()
    assert ours
    assert not ours & {*multiprocessing.active_children()}
    assert mine.is_alive()
    still = [one for one in threading.enumerate() if type(one).__name__ == "_ExecutorManagerThread"]
    assert not still, "who exits now may write into a pipe that such a thread just closes"
    assert os.environ.get("PYTHONWARNINGS") == before, "nor is the environment of the others another"
    mine.kill()
    mine.join()


@pytest.mark.parametrize("system", ["linux", "darwin"])
@pytest.mark.parametrize("mine", [None, "error"])
def test_locks_that_a_worker_leaves_behind_are_no_news(monkeypatch, system, mine):
    """The workers had the word, the tracker that warns of the locks did not: on a Mac each Ctrl-C told of a leak."""
    monkeypatch.delenv("PYTHONWARNINGS", raising=False)
    if mine:
        monkeypatch.setenv("PYTHONWARNINGS", mine)
    begun = []
    begin = SimpleNamespace(ensure_running=lambda: begun.append(os.environ.get("PYTHONWARNINGS")))
    monkeypatch.setattr(local, "resource_tracker", begin)
    monkeypatch.setattr(local, "forkserver", SimpleNamespace(ensure_running=lambda: None))
    monkeypatch.setattr(local, "sys", SimpleNamespace(platform=system))
    local.starts()
    assert begun == [f"{mine},{local.QUIET}" if mine else local.QUIET]
    assert os.environ.get("PYTHONWARNINGS") == mine


def test_a_worker_of_a_pool_does_the_stages_itself(tmp_path, monkeypatch):
    """It may begin no process: that was an AssertionError of multiprocessing."""
    monkeypatch.setattr("dormouse.execution.local.cores", lambda: 4)
    todo = diamonds(Store(tmp_path), 1)
    assert slots("local", todo) > 1
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)
    assert not through(todo, Store(tmp_path), slots("local", todo))
    with pytest.raises(UserError, match=r"multiprocessing.Pool may begin no processes"):
        through(todo, Store(tmp_path), workers=2)


def test_ctrl_c_that_a_library_swallows_stops_the_study_all_the_same(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(KeyboardInterrupt), listening():
        through(diamonds(store, 1, top=swallow), store, workers=1)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_kills_its_worker_every_time_is_given_up(tmp_path):
    store = Store(tmp_path / "store")
    lost = through(diamonds(store, 2, top=partial(die, 99, tmp_path / "counter")), store)
    assert set(lost) == {"a0", "b0", "c0", "d0"}
    assert "killed" in lost["a0"].what
    assert store.find("part", "d1")


def test_only_what_was_begun_is_blamed_for_a_death(tmp_path):
    """And what failed before it, in the same process, says why."""
    store, told = Store(tmp_path / "store"), Told()
    about = {"state": "one model"}
    works = {"fails": refuse, "kills": partial(die, 99, tmp_path / "counter"), "works": partial(join, (), "works")}
    lost = through([Stage("part", name, name, about, (), work) for name, work in works.items()], store, told=told)
    assert set(lost) == {"fails", "kills"}
    assert lost["fails"].what == "it cannot be done"
    assert f"killed {DEATHS} times" in lost["kills"].what
    assert not [text for text in told.said if "fails" in text or "works" in text]


@pytest.mark.filterwarnings("error::dormouse.errors.DormouseWarning")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_watcher_that_breaks_down_stops_nothing(tmp_path, workers, capsys):
    class Broken(Told):
        def tick(self, name, share, text):
            raise ZeroDivisionError("no bar")

    store = Store(tmp_path)
    assert not through([*diamonds(store, 1), Stage("part", "w", "w", {}, (), warn)], store, workers, told=Broken())
    assert "no bar" in capsys.readouterr().err


def test_stages_share_the_memory_there_is(tmp_path, monkeypatch):
    """Two that need all of it do not run side by side."""
    store = Store(tmp_path / "store")
    executor = make_executor("local", store, 2, Told())
    executor.memory = 10.0
    most = []

    class Counting:
        slots, memory, died = 2, 10.0, executor.died

        def submit(self, job):
            future = executor.submit(job)
            alive.append(future)
            most.append(sum(not f.done() for f in alive))
            return future

        def close(self):
            executor.close()

    alive = []
    todo = [Stage("part", f"{i}", f"{i}", {}, (), partial(join, (), f"{i}"), memory=8.0) for i in range(4)]
    assert not work_through(todo, store, Counting(), Told())
    assert max(most) == 1


def test_stages_that_read_one_model_share_a_job_but_not_with_its_maker():
    maker = Stage("organism", "o", "key", {}, (), refuse)
    readers = [Stage("measure", f"m{i}", f"m{i}", {"state": "key"}, (maker,), refuse) for i in range(3)]
    other = Stage("measure", "x", "x", {"state": "other"}, (), refuse)
    assert [[stage.name for stage in job] for job in _jobs([maker, *readers, other])] == [
        ["o"],
        ["m0", "m1", "m2"],
        ["x"],
    ]
