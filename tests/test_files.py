"""What is written whole or not at all."""

import os

import pytest

from dormouse import files
from dormouse.errors import UserError
from dormouse.files import LONG_DEAD, fresh


@pytest.mark.parametrize("seen", [True, False])
def test_of_two_that_write_one_folder_the_first_stays(tmp_path, monkeypatch, seen):
    """Whether the second sees that it is late, or only the system does."""
    out = tmp_path / "out"

    def put(name, meanwhile=lambda: None):
        with fresh(out) as scratch:
            scratch.mkdir()
            (scratch / name).touch()
            meanwhile()
            if not seen:
                monkeypatch.setattr(files, "refuse_old", lambda _: None)

    with pytest.raises(UserError, match="out is there already"):
        put("second", lambda: put("first"))
    assert [path.name for path in out.iterdir()] == ["first"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


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
