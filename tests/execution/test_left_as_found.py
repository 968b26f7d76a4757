"""What one stage, or one locator, does to its process does not reach the next."""

import os
import random
import sys
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.optim import optimizer

from dormouse.execution.executors import build
from dormouse.execution.journal import Journal
from dormouse.execution.left_as_found import left_as_found
from dormouse.execution.local import _main_left_out
from dormouse.execution.stage import Stage


def test_a_process_is_left_as_it_was_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = random.random(), torch.get_num_threads()
    random.seed(3)
    torch.set_deterministic_debug_mode("warn")
    with left_as_found(5):
        torch.set_deterministic_debug_mode("error")
        drawn = random.random(), float(np.random.random()), float(torch.rand(()))
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
        torch.nn.modules.module.register_module_full_backward_hook(print)
        torch.nn.modules.module.register_module_parameter_registration_hook(print)
        optimizer.register_optimizer_step_pre_hook(print)
        os.chdir("/")
        os.environ["LEFT_BEHIND"] = "1"
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() == torch.float32
    assert Path.cwd() == tmp_path
    assert "LEFT_BEHIND" not in os.environ
    tables = {**vars(torch.nn.modules.module), **vars(optimizer)}
    assert not [name for name, held in tables.items() if name.startswith("_global_") and held]
    assert torch.get_deterministic_debug_mode() == 1, "it warns, as before, and does not raise"
    torch.set_deterministic_debug_mode("default")
    assert random.random() == random.Random(3).random()
    assert torch.get_num_threads() == before[1]
    with left_as_found(5):
        assert drawn == (random.random(), float(np.random.random()), float(torch.rand(())))


def draw(drawn, out, tick):
    drawn.append(random.random())
    os.environ["LEFT_BEHIND"] = "1"
    torch.set_num_threads(torch.get_num_threads() + 1)


def test_each_stage_draws_what_it_draws_alone_and_leaves_nothing_to_the_next(tmp_path):
    """A plug-in that seeds for itself, or draws without a seed, gave numbers that hung on what ran before it."""
    drawn, threads = [], torch.get_num_threads()
    stages = [Stage("part", name, name, {}, (), partial(draw, drawn)) for name in "ab"]
    for root, order in (("one", stages), ("other", stages[::-1])):
        assert build(order, tmp_path / root, lambda *said: None, Journal(None)) == []
    assert drawn == [drawn[0], drawn[1], drawn[1], drawn[0]]
    assert drawn[0] != drawn[1]
    assert torch.get_num_threads() == threads
    assert "LEFT_BEHIND" not in os.environ


@pytest.mark.parametrize("around", [lambda: left_as_found(1), _main_left_out])
def test_of_two_threads_the_second_leaves_nothing_of_the_first(around, monkeypatch):
    """It put back what the first one had put there for a while."""
    before, begins, may_leave = sys.modules["__main__"], threading.Event(), threading.Event()

    def second():
        begins.set()
        with around():
            may_leave.wait(20)

    thread = threading.Thread(target=second)
    with around():
        os.environ["LEFT_BEHIND"] = "1"
        thread.start()
        begins.wait(20)
        thread.join(0.05)
    os.environ.pop("LEFT_BEHIND", None)
    may_leave.set()
    thread.join(20)
    assert sys.modules["__main__"] is before
    assert "LEFT_BEHIND" not in os.environ
