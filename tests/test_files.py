"""What is written whole or not at all."""

import errno
import os
from pathlib import Path

import pytest

from dormouse import files
from dormouse.files import (
    LONG_DEAD,
    append_line,
    coming_back,
    last_words,
    read_whole,
    remove_tree,
    sha256,
    swapped,
)
from dormouse.outputs import fresh


def test_what_a_killed_process_left_is_deleted_in_time(tmp_path):
    old, new = tmp_path / ".out[1].0a.part", tmp_path / ".out[1].0b.part"
    for folder in (old, new):
        folder.mkdir()
        (folder / "weights").touch()
    for path in (old / "weights", old, new):  # in the new one somebody wrote a moment ago
        os.utime(path, (0, path.stat().st_mtime - LONG_DEAD - 1))
    with fresh(tmp_path / "out[1]") as scratch:
        scratch.mkdir()
    assert {path.name for path in tmp_path.iterdir()} == {"out[1]", new.name}


def test_a_line_after_one_that_was_cut_off_is_a_line_of_its_own(tmp_path):
    """They were glued together, and both were lost."""
    log = tmp_path / "log"
    append_line(log, "one")
    with log.open("a") as file:
        file.write("tw")
    for line in ("three", "four"):
        append_line(log, line)
    assert log.read_text() == "one\ntw\nthree\nfour\n"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is no file but a pipe"):
        append_line(tmp_path / "pipe", "one")


@pytest.mark.parametrize("read", [sha256, read_whole])
def test_a_pipe_is_not_waited_for(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is no file but a pipe"):
        read(tmp_path / "pipe")


def test_a_full_disk_names_the_file(tmp_path):
    with pytest.raises(OSError, match=r"out\.json") as caught, swapped(tmp_path / "out.json"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(tmp_path / "out.json")
    assert list(tmp_path.iterdir()) == []


def test_a_plug_in_that_goes_elsewhere_is_brought_back(tmp_path, monkeypatch):
    """Results went where it had gone, as the folder of them was relative."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path)
    with coming_back():
        os.chdir("gone")
    assert os.getcwd() == str(tmp_path)
    os.chdir("gone")
    os.rmdir(tmp_path / "gone")
    with coming_back():
        os.chdir(tmp_path)
    assert os.getcwd() == str(tmp_path)


def test_a_folder_of_a_stranger_is_deleted_however_deep_and_shut_it_is(tmp_path, monkeypatch):
    """Of one a thousand deep `shutil.rmtree` came to no end of its recursion: a traceback of the benchmark, each time
    again; one that its owner had shut stayed, with links in it to anywhere."""
    victim, top = tmp_path / "victim", tmp_path / "top"
    victim.mkdir()
    (victim / "thesis").write_text("three years of work")
    (top / "shut").mkdir(parents=True)
    (top / "shut" / "link").symlink_to(victim)
    (top / "shut").chmod(0o500)
    monkeypatch.chdir(top)
    for _ in range(1200):
        os.mkdir("d" * 50)
        os.chdir("d" * 50)
    Path("file").write_text("x")
    os.chdir(tmp_path)
    remove_tree(top)
    (tmp_path / "other").symlink_to(victim)
    remove_tree(tmp_path / "other")
    assert [one.name for one in tmp_path.rglob("*")] == ["victim", "thesis"]
    with pytest.raises(FileNotFoundError):
        remove_tree(top)


def test_a_link_that_takes_the_place_of_a_folder_meanwhile_is_not_followed(tmp_path, monkeypatch):
    """Who deletes may be root, and who wrote the folder may live on."""
    victim, top = tmp_path / "victim", tmp_path / "top"
    victim.mkdir(0o755)
    (victim / "thesis").touch()
    (top / "a").mkdir(parents=True)
    enter = files._entered

    def late(name, parent=None):
        if name == "a":
            (top / "a").rmdir()
            (top / "a").symlink_to(victim)
        return enter(name, parent)

    monkeypatch.setattr(files, "_entered", late)
    with pytest.raises(OSError, match="a"):
        remove_tree(top)
    assert (victim / "thesis").exists()
    assert victim.stat().st_mode & 0o777 == 0o755


def test_of_a_log_the_end_is_read(tmp_path):
    """A scanner that printed 600 MB cost the benchmark twice that in memory."""
    with (tmp_path / "log").open("w+b") as log:
        assert last_words(log, 5) == ""
        log.truncate(2**33)
        log.seek(0, 2)
        log.write("no röm".encode())
        assert [last_words(log, most) for most in (4, 2)] == ["röm", "\N{REPLACEMENT CHARACTER}m"]
