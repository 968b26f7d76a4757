"""What a resume point is held to: the weights that a training began with; and that another user can go on from it."""

import errno
import hashlib
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dormouse.errors import UserError
from dormouse.lm.resume import Resume, fingerprint

WEIGHTS = torch.Generator().manual_seed(0)


def weight(*shape, dtype=torch.float32):
    return torch.randn(*shape, generator=WEIGHTS).to(dtype)


def swapped(one):
    """With the first two numbers in each other's places."""
    flat = one.clone().view(-1)
    flat[[0, 1]] = flat[[1, 0]]
    return flat.view(one.shape)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(100, 32), (700, 96), (3,), (1025,)], ids=str)
def test_weights_that_changed_or_moved_have_another_fingerprint(shape, dtype):
    one = weight(*shape, dtype=dtype)
    last = one.clone()
    last.view(-1)[-1] = -last.view(-1)[-1]
    others = [one.flip(0), swapped(one), -one, one.roll(1, -1), last]
    found = [fingerprint([("w", each)]) for each in (one, *others)]
    assert len(set(found)) == len(found)
    assert fingerprint([("w", one.clone())]) == found[0]
    assert fingerprint([("v", one)]) != found[0]
    beside = torch.cat([weight(1, dtype=dtype), one.view(-1)])[1:].view(shape)
    assert fingerprint([("w", beside)]) == found[0], "wherever in memory it begins"


def test_odd_shapes_have_one():
    several = [("scalar", torch.tensor(1.0)), ("none", torch.zeros(0, 4)), ("turned", weight(4, 6).T)]
    assert fingerprint(several) == fingerprint([(name, one.clone()) for name, one in several])


@pytest.fixture
def point(tmp_path):
    """A resume point with a checkpoint, of a user whose group may write, in a folder that hands its group down."""
    before = os.umask(0o002)
    tmp_path.chmod(0o2775)
    one = Resume(tmp_path / "point", {}, 1.0)
    one.checkpoint(3).mkdir(parents=True)
    save_file({"w": torch.ones(2)}, one.checkpoint(3) / "model.safetensors")
    one.write(5, {"w": torch.zeros(2)})
    os.umask(before)
    return one


def test_the_modes_of_a_point_are_those_of_the_umask(point):
    """What its user's group could not read was "damaged", and deleted."""
    modes = {(path.is_dir(), oct(path.stat().st_mode & 0o7777)) for path in (point.folder, *point.folder.rglob("*"))}
    assert modes == {(True, "0o2775"), (False, "0o664")}


@pytest.mark.parametrize("fault", [errno.EACCES, errno.EIO, errno.EMFILE])
def test_a_point_that_cannot_be_read_stays(point, monkeypatch, fault):
    def refuse(*_):
        raise OSError(fault, os.strerror(fault))  # a disk names no file

    for reader, name in (((hashlib, "file_digest"), "state-000005"), ((Path, "read_bytes"), "point.json")):
        with monkeypatch.context() as ill:
            ill.setattr(*reader, refuse)
            with pytest.raises(UserError, match=f"cannot be read.*: {os.strerror(fault)}.*{name}") as refused:
                Resume(point.folder, {}, 1.0).read()
        assert ("chmod" if fault == errno.EACCES else "remove that folder") in refused.value.remedy
    state, finished = Resume(point.folder, {}, 1.0).read()
    assert (state["w"].tolist(), finished) == ([0.0, 0.0], False)


def test_a_checkpoint_in_a_folder_that_may_not_be_read_is_no_damage(point, monkeypatch):
    def closed(folder):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))

    with monkeypatch.context() as other:
        other.setattr(os, "scandir", closed)
        with pytest.raises(UserError, match=r"cannot be read.*: Permission denied .*step-000003"):
            Resume(point.folder, {}, 1.0).read()
    assert len(list(point.folder.glob("*"))) == 3
