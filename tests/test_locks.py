"""Threads take turns, and a fork does not wait for a thread that it has not."""

import os
import signal
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS as MASKS

from dormouse import locks, sources
from dormouse.execution import local
from dormouse.lm.layout import tree_attention
from dormouse.report import static


def reads() -> AbstractContextManager[None]:
    return tree_attention(torch.ones(1, 1, 1, dtype=torch.bool), torch.zeros(1, 1, dtype=torch.long))


PLACES = {
    "models": locks.one_at_a_time,
    "code": lambda: sources._reading.lock,
    "figures": lambda: static.DRAWING.lock,
    "workers": local._main_left_out,
    "masks": reads,
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_fork_does_not_wait_for_a_thread_that_is_not_there(place: Callable[[], AbstractContextManager[None]]) -> None:
    inside, leave, before = threading.Event(), threading.Event(), MASKS["sdpa"]

    def stay() -> None:
        with place():
            inside.set()
            leave.wait(20)

    other = threading.Thread(target=stay)
    other.start()
    assert inside.wait(20)
    if not (child := os.fork()):
        signal.alarm(5)
        try:
            with place():
                pass
            os._exit(0 if MASKS["sdpa"] is before else 1)
        finally:
            os._exit(2)
    leave.set()
    other.join()
    assert os.waitpid(child, 0)[1] == 0


def test_who_forks_while_it_is_inside_leaves_in_the_fork_too() -> None:
    made = locks.ThreadLock()
    with made.lock, reads():
        child = os.fork()
    if not child:
        other = threading.Thread(target=made.lock.acquire, daemon=True)
        other.start()
        other.join(5)
        os._exit(int(other.is_alive()))
    assert os.waitpid(child, 0)[1] == 0


def test_a_pipe_in_the_place_of_a_lock_is_not_waited_for(tmp_path: Path) -> None:
    """It was, for ever."""
    signal.alarm(5)
    os.mkfifo(pipe := tmp_path / "lock")
    for path in (pipe, tmp_path / "new"):
        with locks.opened(path) as file:
            locks.flock(file, locks.LOCK_EX | locks.LOCK_NB)
            assert locks.is_held(path)
            assert locks.is_held(path, locks.LOCK_SH)
        assert not locks.is_held(path, locks.LOCK_SH)
    signal.alarm(0)
