"""What a resume point is held to: the weights that a training began with."""

import pytest
import torch

from dormouse.lm.resume import fingerprint

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
