from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import forked
import pytest
from forked import Forked
from hypothesis import given, settings
from hypothesis import strategies as st
from sweeps import examples

from dormouse import entry
from dormouse import store as module
from dormouse.entry import examine
from dormouse.errors import DivergedError, DormouseWarning, UserError
from dormouse.json_files import digest
from dormouse.store import Store

LEAF = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
JSON = st.recursive(LEAF, lambda x: st.lists(x, max_size=4) | st.dictionaries(st.text(), x, max_size=4), max_leaves=12)


def shuffled(value: Any, draw: Any) -> Any:
    """The same JSON data with the keys of every mapping in another order."""
    if isinstance(value, dict):
        return {key: shuffled(value[key], draw) for key in draw(st.permutations(list(value)))}
    return [shuffled(item, draw) for item in value] if isinstance(value, list) else value


@settings(max_examples=examples(30, 100))
@given(JSON, st.data())
def test_digest_is_of_the_data_and_not_of_its_layout(value: Any, data: Any) -> None:
    assert digest(value) == digest(json.loads(json.dumps(value))) == digest(shuffled(value, data.draw))
    assert len(digest(value)) == 32
    assert set(digest(value)) <= set("0123456789abcdef")


@given(JSON, JSON)
def test_digest_tells_different_data_apart(one: Any, other: Any) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (digest(one) == digest(other)) == same


def test_digest_is_the_same_on_every_machine() -> None:
    assert digest({"b": [1, 2.5, None, True], "a": "é"}) == "0b8cc543e984d4d7398f5f603a4b91d3"


def fill(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "weights").write_bytes(bytes(range(256)) * 40)
    (folder / "text").write_text("hello")


def refuse(folder: Path) -> None:
    raise AssertionError("this entry was there already")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def again(store: Store) -> Store:
    """The store as the next process sees it."""
    return Store(store.root)


def leftovers(store: Store) -> list[Path]:
    return [path for room in ("entries", "scratch") for path in (store.root / room).rglob("*") if path.is_file()]


def test_a_stage_is_built_once(store: Store) -> None:
    entry, built = store.get("kind", "k1", {"seed": 1}, fill)
    assert built
    assert (entry / "text").read_text() == "hello"
    for later in (store, again(store)):
        entry, built = later.get("kind", "k1", {"seed": 1}, refuse)
        assert not built
        assert entry.manifest.about == {"seed": 1}
        assert set(entry.manifest.files) == {"text", "deep/weights"}
        assert entry.manifest.seconds >= 0


def test_keys_and_kinds_do_not_mix(store: Store) -> None:
    store.get("kind", "k1", {}, fill)
    assert store.find("other", "k1") is None
    assert store.find("kind", "k2") is None


def test_looking_writes_nothing(tmp_path: Path) -> None:
    assert Store(tmp_path / "store").find("kind", "k1") is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error", [ValueError("no"), KeyboardInterrupt(), UserError("no", "mend it"), OSError("no number")]
)
def test_a_build_that_fails_leaves_nothing(store: Store, error: BaseException) -> None:
    def half(folder: Path) -> None:
        fill(folder)
        raise error

    with pytest.raises(type(error)) as caught:
        store.get("kind", "k1", {}, half)
    assert caught.value is error
    assert leftovers(store) == []
    assert store.get("kind", "k1", {}, fill)[1]


def test_an_entry_is_not_there_before_it_is_whole(store: Store) -> None:
    def look(folder: Path) -> None:
        fill(folder)
        assert again(store).find("kind", "k1") is None

    store.get("kind", "k1", {}, look)
    assert again(store).find("kind", "k1") is not None


def test_an_entry_is_on_the_disk_and_then_renamed_whole(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    final, synced, made = store.root / "entries" / "kind" / "k1", [], []
    sync = module.settle

    def spy(path: Path) -> None:
        sync(path)
        if not final.exists():
            synced.append(path.name)

    def build(folder: Path) -> None:
        fill(folder)
        made.append(folder.stat().st_ino)

    monkeypatch.setattr(module, "settle", spy)
    store.get("kind", "k1", {}, build)
    assert {"weights", "text", "deep", "manifest.json"} <= set(synced)
    assert [final.stat().st_ino] == made, "it was copied, file by file"


def test_a_file_and_the_names_in_a_folder_reach_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: seen.append(os.fstat(descriptor).st_ino))
    (tmp_path / "weights").write_text("w")
    module.fsync(tmp_path / "weights")
    module.fsync(tmp_path)
    assert seen == [(tmp_path / "weights").stat().st_ino, tmp_path.stat().st_ino]


def test_what_is_not_of_an_entry_is_a_fault(store: Store) -> None:
    """A chat template that was laid beside the weights changed all later numbers, and nobody saw it."""
    folder = store.get("kind", "k1", {}, fill)[0].folder
    (folder / "deep" / "chat_template.jinja").write_text("{{ messages }}")
    assert again(store).find("kind", "k1") is None
    assert [(one.file, one.why) for one in examine(folder, "kind", "k1")[1]] == [
        ("deep/chat_template.jinja", "is not of this entry")
    ]


@pytest.mark.parametrize("name", ["text", "manifest.json"])
def test_a_pipe_in_an_entry_is_not_waited_for(store: Store, name: str) -> None:
    folder = store.get("kind", "k1", {}, fill)[0].folder
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert [(one.file, one.why) for one in examine(folder, "kind", "k1")[1]] == [(name, "is no file")]


def truncate(folder: Path) -> None:
    with (folder / "deep" / "weights").open("r+b") as file:
        file.truncate(100)


def flip(folder: Path) -> None:
    raw = bytearray((folder / "deep" / "weights").read_bytes())
    raw[777] ^= 1
    (folder / "deep" / "weights").write_bytes(raw)


def replace_by_folder(folder: Path) -> None:
    (folder / "text").unlink()
    (folder / "text").mkdir()


DAMAGES = {
    "truncated": truncate,
    "a bit flipped": flip,
    "a file deleted": lambda folder: (folder / "text").unlink(),
    "a folder deleted": lambda folder: shutil.rmtree(folder / "deep"),
    "a folder in place of a file": replace_by_folder,
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "an empty manifest": lambda folder: (folder / "manifest.json").write_text(""),
    "a manifest of null": lambda folder: (folder / "manifest.json").write_text("null"),
    "a manifest of a list": lambda folder: (folder / "manifest.json").write_text("[1]"),
    "a manifest without files": lambda folder: (folder / "manifest.json").write_text('{"files": {}}'),
    "a manifest of bytes": lambda folder: (folder / "manifest.json").write_bytes(b"\xff\x00"),
    "everything deleted": lambda folder: [shutil.rmtree(folder), folder.mkdir()],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_set_aside_and_built_again(store: Store, damage: str) -> None:
    folder = store.get("kind", "k1", {}, fill)[0].folder
    DAMAGES[damage](folder)
    assert again(store).find("kind", "k1") is None
    with pytest.warns(DormouseWarning, match="damaged"):
        entry, built = again(store).get("kind", "k1", {}, fill)
    assert built
    assert (entry / "deep" / "weights").stat().st_size == 256 * 40
    assert len(list((store.root / "damaged").iterdir())) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not again(store).get("kind", "k1", {}, refuse)[1]


def test_any_bit_of_the_manifest(store: Store) -> None:
    """A flipped bit is found, or changes nothing in what the manifest says."""
    entry = store.get("kind", "k1", {"seed": 3}, fill)[0]
    path = entry / "manifest.json"
    raw = path.read_bytes()
    for at in range(len(raw)):
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 1 << at % 8]) + raw[at + 1 :])
        found = again(store).find("kind", "k1")
        assert found is None or found.manifest == entry.manifest


def test_an_entry_under_another_name_is_not_believed(store: Store) -> None:
    folder = store.get("kind", "k1", {}, fill)[0].folder
    shutil.copytree(folder, folder.with_name("k2"))
    assert store.find("kind", "k2") is None


def test_a_whole_entry_is_never_set_aside_by_one_who_looked_too_early(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes see the same damage; the slower one comes when the faster one has mended it."""
    slow = again(store)
    folder = store.get("kind", "k1", {}, fill)[0].folder
    truncate(folder)
    look = slow.find

    def look_then_lag(kind: str, key: str) -> Any:
        found = look(kind, key)
        if found is None:
            monkeypatch.setattr(slow, "find", look)
            with pytest.warns(DormouseWarning):
                again(store).get("kind", "k1", {}, fill)
        return found

    monkeypatch.setattr(slow, "find", look_then_lag)
    assert not slow.get("kind", "k1", {}, refuse)[1]
    assert len(list((store.root / "damaged").iterdir())) == 1


KILLED = """
import sys, time
from pathlib import Path
from dormouse.store import Store
def build(folder):
    (folder / "weights").write_bytes(b"x" * 5000)
    print("building", flush=True)
    time.sleep(60)
Store(Path(sys.argv[1])).get("kind", "k1", {}, build)
"""


def test_kill_9_while_building(store: Store) -> None:
    child = Forked([sys.executable, "-c", KILLED, str(store.root)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "building\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert list((store.root / "scratch").iterdir())  # it did leave something half-made
    assert store.find("kind", "k1") is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert store.get("kind", "k1", {}, fill)[1]  # at once: the lock died with its holder
    assert list((store.root / "scratch").iterdir()) == []


KILLED_WITH_A_POINT = KILLED.replace("weights", "resume/point")


def point_in(folder: Path) -> str | None:
    return (folder / "resume" / "point").read_text() if (folder / "resume" / "point").exists() else None


def test_a_stage_finds_again_what_it_left_to_go_on_from(store: Store) -> None:
    child = Forked([sys.executable, "-c", KILLED_WITH_A_POINT, str(store.root)], stdout=subprocess.PIPE, text=True)
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "building\n"
        child.kill()
    seen = []

    def stop(error: BaseException) -> None:
        def build(folder: Path) -> None:
            seen.append(point_in(folder))
            (folder / "resume" / "point").write_text(type(error).__name__)
            raise error

        with pytest.raises(BaseException, match="no"):
            store.get("kind", "k1", {}, build)

    passing = (KeyboardInterrupt("no"), MemoryError("no"), OSError(errno.ENOSPC, "no space"), UserError("no", ""))
    for error in (*passing, DivergedError("no", "")):
        stop(error)

    def last(folder: Path) -> None:
        seen.append(point_in(folder))
        (folder / "resume" / "point").write_text("finished")
        fill(folder)

    entry = store.get("kind", "k1", {}, last)[0]
    assert seen == ["x" * 5000, "KeyboardInterrupt", "MemoryError", "OSError", "UserError", None]
    assert set(entry.manifest.files) == {"text", "deep/weights"}
    assert not (entry / "resume").exists()
    assert list((store.root / "resume").iterdir()) == []


def test_what_a_stage_went_on_from_is_deleted_once_its_entry_is_there(store: Store) -> None:
    """Its process may die between the two."""
    store.get("kind", "k1", {}, fill)
    (store.root / "resume" / "k1").mkdir()
    (store.root / "resume" / "k3").mkdir()
    store.get("kind", "k2", {}, fill)
    assert [path.name for path in (store.root / "resume").iterdir()] == ["k3"]


def _one_of_many(root: Path, start: Any, built: Any) -> None:
    def build(folder: Path) -> None:
        with (root.parent / "builds").open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(0.2)  # time for the others to come to the lock
        fill(folder)

    start.wait()
    entry, now = Store(root).get("kind", "k1", {}, build)
    built.put((now, (entry / "text").read_text()))


@pytest.mark.parametrize("processes", [2, 4])
def test_many_processes_build_once(store: Store, processes: int) -> None:
    context = multiprocessing.get_context("fork")
    start, built = context.Barrier(processes), context.Queue()
    children = [context.Process(target=_one_of_many, args=(store.root, start, built)) for _ in range(processes)]
    for child in children:
        child.start()
    results = [built.get(timeout=60) for _ in children]
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0] * processes
    assert len((store.root.parent / "builds").read_text().splitlines()) == 1
    assert sorted(results) == [(False, "hello")] * (processes - 1) + [(True, "hello")]


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EACCES])
def test_a_disk_that_refuses_while_building(store: Store, number: int, wrapped: bool) -> None:
    """`shutil.copytree`, which hands checkpoints over, has an error of its own for it."""

    def build(folder: Path) -> None:
        fill(folder)
        refused = OSError(number, os.strerror(number), *([str(folder / "a")] if number == errno.EACCES else []))
        raise shutil.Error([("elsewhere", "a", str(refused))]) if wrapped else refused

    with pytest.raises(UserError) as caught:
        store.get("kind", "k1", {}, build)
    assert os.strerror(number) in caught.value.what
    assert str(store.root) in caught.value.what
    assert "DORMOUSE_HOME" in caught.value.remedy
    assert leftovers(store) == []


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file or directory", "/nonexistent/words.txt"),
        ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
        PermissionError(errno.EACCES, "Permission denied", "/root/teacher.jsonl"),
        OSError(errno.ENOSPC, "No space left on device", "/dev/shm/semaphore"),
        RuntimeError("No such file or directory (os error 2)"),
    ],
)
def test_what_is_refused_to_a_stage_is_not_refused_to_the_store(store: Store, error: Exception) -> None:
    def build(folder: Path) -> None:
        fill(folder)
        raise error

    with pytest.raises(type(error)) as caught:
        store.get("kind", "k1", {}, build)
    assert caught.value is error
    assert leftovers(store) == []


@pytest.mark.parametrize("refused", ["settle", "sha256"])
def test_a_disk_that_is_full_when_the_entry_is_sealed(
    store: Store, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    def full(_: Path) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module if refused == "settle" else entry, refused, full)
    with pytest.raises(UserError, match="No space left on device"):
        store.get("kind", "k1", {}, fill)
    monkeypatch.undo()
    assert leftovers(store) == []
    assert store.get("kind", "k1", {}, fill)[1]


FULL = """
import resource, signal, sys
from pathlib import Path
from dormouse.errors import UserError
from dormouse.store import Store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
def build(folder):
    import numpy
    from safetensors.numpy import save_file
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    save_file({"a": numpy.zeros(100_000)}, folder / "model.safetensors")
try:
    Store(Path(sys.argv[1])).get("kind", "k1", {}, build)
except UserError as error:
    print(error.what)
"""


def test_safetensors_on_a_full_disk(store: Store) -> None:
    """safetensors has an error of its own, which is no OSError."""
    done = forked.run([sys.executable, "-c", FULL, str(store.root)], capture_output=True, text=True, check=True)
    assert "File too large" in done.stdout
    assert leftovers(store) == []


def test_a_library_may_say_what_it_likes(store: Store) -> None:
    def build(folder: Path) -> None:
        raise RuntimeError("the operating system (os error) is fine")

    with pytest.raises(RuntimeError):
        store.get("kind", "k1", {}, build)


@pytest.mark.parametrize("place", ["a-file", "a-file/store", "x" * 300])
def test_a_place_that_cannot_hold_a_store(tmp_path: Path, place: str) -> None:
    (tmp_path / "a-file").write_text("")
    with pytest.raises(UserError, match="cannot be used"):
        Store(tmp_path / place).get("kind", "k1", {}, refuse)


# --- several users ---------------------------------------------------------------------------------------------------


@pytest.fixture
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store that everybody may write to."""
    if os.getuid():
        pytest.skip("only root can be somebody else")
    with tempfile.TemporaryDirectory(prefix="shared-store-") as folder:
        os.chmod(folder, 0o777)
        before = os.umask(0)
        yield Store(Path(folder) / "store")
        os.umask(before)


@contextmanager
def somebody_else() -> Iterator[None]:
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def private(folder: Path) -> None:
    """As some libraries write weights, whatever the umask says."""
    fill(folder)
    (folder / "deep" / "weights").chmod(0o600)
    (folder / "deep").chmod(0o700)


@pytest.mark.parametrize(
    ("umask", "files", "folders"), [(0o022, 0o644, 0o755), (0o007, 0o660, 0o770), (0, 0o666, 0o777)]
)
def test_modes_follow_the_umask(store: Store, umask: int, files: int, folders: int) -> None:
    before = os.umask(umask)
    try:
        entry, _ = store.get("kind", "k1", {}, private)
    finally:
        os.umask(before)
    for path in [entry.folder, *entry.folder.rglob("*")]:
        assert path.stat().st_mode & 0o777 == (folders if path.is_dir() else files), path


def test_two_users_share_a_store(shared: Store) -> None:
    shared.get("kind", "k1", {}, private)
    with somebody_else():
        assert not again(shared).get("kind", "k1", {}, refuse)[1]
        assert again(shared).get("kind", "k2", {}, private)[1]
    assert not again(shared).get("kind", "k2", {}, refuse)[1]
    assert (shared.place("kind", "k2") / "text").stat().st_uid == 65534


@pytest.mark.parametrize("umask", [0, 0o022])
def test_an_entry_may_link_what_another_user_made(shared: Store, umask: int) -> None:
    """The checkpoints of his that a training went on from: nobody else may give them a mode."""
    his = shared.root.parent / "checkpoint"
    his.touch()
    with somebody_else():
        os.umask(umask)
        entry, made = shared.get("kind", "k1", {}, lambda folder: os.link(his, folder / "weights"))
    assert made
    assert (entry / "weights").stat().st_mode & 0o777 == 0o666


@pytest.mark.parametrize("closed", ["text", "deep", "manifest.json", "."])
def test_what_may_not_be_read_is_not_damaged(shared: Store, closed: str) -> None:
    entry, _ = shared.get("kind", "k1", {}, fill)
    (entry.folder / closed).chmod(0)
    with somebody_else(), pytest.raises(UserError, match="cannot be read: Permission denied") as caught:
        again(shared).get("kind", "k1", {}, refuse)
    assert "chmod" in caught.value.remedy
    (entry.folder / closed).chmod(0o777)
    assert not again(shared).get("kind", "k1", {}, refuse)[1], "it is where it was"
    assert not list((shared.root / "damaged").iterdir())
    assert not (shared.root / "audit.jsonl").exists()


@pytest.mark.parametrize("fault", [errno.EIO, errno.EMFILE, errno.ESTALE])
def test_what_an_ill_disk_does_not_give_is_not_damaged(
    store: Store, monkeypatch: pytest.MonkeyPatch, fault: int
) -> None:
    def refused(path: Path) -> str:
        raise OSError(fault, os.strerror(fault), str(path))

    store.get("kind", "k1", {}, fill)
    with monkeypatch.context() as ill:
        ill.setattr("dormouse.entry.sha256", refused)
        with pytest.raises(UserError, match="cannot be read") as caught:
            again(store).get("kind", "k1", {}, refuse)
    assert "chmod" not in caught.value.remedy
    assert not again(store).get("kind", "k1", {}, refuse)[1], "it is where it was"


def test_what_is_set_aside_is_put_down(store: Store) -> None:
    for key, spoil in (("k1", flip), ("k2", truncate)):
        entry, _ = store.get("kind", key, {}, fill)
        spoil(entry.folder)
        with pytest.warns(DormouseWarning, match=r"is damaged \(deep/weights: .*\); it was set aside"):
            again(store).get("kind", key, {}, fill)
    lines = [json.loads(line) for line in (store.root / "audit.jsonl").read_text().splitlines()]
    assert [(line["what"], line["kind"], line["key"], line["why"]) for line in lines] == [
        ("set aside", "kind", "k1", "deep/weights: its checksum fails"),
        ("set aside", "kind", "k2", "deep/weights: has 100 bytes, not 10240"),
    ]
    assert all((store.root / "damaged" / line["to"] / "deep").is_dir() for line in lines)
    assert all(time.time() - 600 < line["time"] <= time.time() and line["user"] == os.getuid() for line in lines)


def test_a_clock_that_goes_back_changes_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.time, "time", iter(range(10_000, 0, -100)).__next__)
    entry, _ = store.get("kind", "k1", {}, fill)
    assert 0 <= entry.manifest.seconds < 60, "estimates are made of it"
    assert not again(store).get("kind", "k1", {}, refuse)[1]


def test_another_version_of_dormouse_on_the_same_store(store: Store) -> None:
    """What it may write beside ours is left alone: kinds and rooms of its own."""
    store.get("kind", "k1", {}, fill)
    (store.root / "novelty").mkdir()
    (store.root / "entries" / "later").mkdir()
    (store.root / "entries" / "later" / "x").write_text("not a folder")
    assert not again(store).get("kind", "k1", {}, refuse)[1]
    assert again(store).get("kind", "k2", {}, fill)[1]
    assert again(store).find("later", "x") is None
    assert (store.root / "novelty").is_dir()
    assert (store.root / "entries" / "later" / "x").is_file()


@pytest.mark.skipif(not os.environ.get("DORMOUSE_STRESS"), reason="long: make stress")
def test_a_soak(store: Store) -> None:
    """2,000 stages in one process: files that are open, threads and memory stay as they were."""
    import psutil

    process, seen = psutil.Process(), []
    for i in range(2000):
        store.get("kind", f"k{i}", {}, fill)
        again(store).find("kind", f"k{i}")
        if i % 500 == 499:
            seen.append((process.num_fds(), process.num_threads(), process.memory_info().rss))
    assert {(fds, threads) for fds, threads, _ in seen} == {seen[0][:2]}
    assert seen[-1][2] - seen[0][2] < 50e6, seen


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(file: Any, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(module.locks, "flock", none)
    with pytest.raises(UserError, match="has no file locks") as error:
        Store(tmp_path).get("part", "a", {}, lambda folder: None)
    assert "NFS: version 4" in error.value.remedy
