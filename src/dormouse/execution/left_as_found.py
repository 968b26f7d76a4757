"""What the work of a stage, or a locator, may change of the process that it shares with those after it: put back."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dormouse.execution.torch_defaults import torch_defaults
from dormouse.files import coming_back

HOOKS = ("_global_forward_hooks", "_global_forward_pre_hooks", "_global_backward_hooks", "_global_backward_pre_hooks")
"""Of torch, on the modules of every model."""


@contextmanager
def left_as_found(seed: int) -> Iterator[None]:
    """Meanwhile random numbers begin at the seed. Behind it how torch computes (see `torch_defaults`), the number of
    threads, hooks on all modules, random numbers, the working directory and the environment are as they were."""
    import numpy as np
    import torch

    environment, states = dict(os.environ), (random.getstate(), np.random.get_state())
    threads, exact, hooks = torch.get_num_threads(), torch.get_deterministic_debug_mode(), _hooks()
    with torch.random.fork_rng(devices=[]), torch_defaults(), coming_back():
        try:
            random.seed(seed)
            np.random.seed(seed % 2**32)
            torch.manual_seed(seed)
            yield
        finally:
            torch.set_num_threads(threads)
            torch.set_deterministic_debug_mode(exact)
            for name, held in hooks.items():
                vars(torch.nn.modules.module)[name].clear()
                vars(torch.nn.modules.module)[name].update(held)
            random.setstate(states[0])
            np.random.set_state(states[1])
            if dict(os.environ) != environment:
                os.environ.clear()
                os.environ.update(environment)


def _hooks() -> dict[str, dict[Any, Any]]:
    from torch.nn.modules import module

    return {name: dict(vars(module)[name]) for name in HOOKS}
