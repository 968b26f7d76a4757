"""What the work of a stage, or a locator, may change of the process that it shares with those after it: put back."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dormouse.execution.torch_defaults import torch_defaults
from dormouse.files import coming_back


@contextmanager
def left_as_found(seed: int) -> Iterator[None]:
    """Meanwhile random numbers begin at the seed. Behind it how torch computes (see `torch_defaults`), the number of
    threads, hooks on all modules or optimizers, random numbers, the working directory and the environment are as they
    were. One thread at a time is inside."""
    import numpy as np
    import torch

    with torch_defaults(), torch.random.fork_rng(devices=[]), coming_back():
        environment, states = dict(os.environ), (random.getstate(), np.random.get_state())
        threads, exact, before = torch.get_num_threads(), torch.get_deterministic_debug_mode(), _hooks()
        is_full = torch.nn.modules.module._global_is_full_backward_hook
        try:
            random.seed(seed)
            np.random.seed(seed % 2**32)
            torch.manual_seed(seed)
            yield
        finally:
            torch.set_num_threads(threads)
            torch.set_deterministic_debug_mode(exact)
            for hooks, held in before:
                hooks.clear()
                hooks.update(held)
            torch.nn.modules.module._global_is_full_backward_hook = is_full
            random.setstate(states[0])
            np.random.set_state(states[1])
            if dict(os.environ) != environment:
                os.environ.clear()
                os.environ.update(environment)


def _hooks() -> list[tuple[dict[Any, Any], dict[Any, Any]]]:
    """Every table of torch of hooks on all modules or optimizers, and what is in it."""
    from torch.nn.modules import module
    from torch.optim import optimizer

    tables = [held for name, held in {**vars(module), **vars(optimizer)}.items() if name.startswith("_global_")]
    return [(held, dict(held)) for held in tables if isinstance(held, dict)]
