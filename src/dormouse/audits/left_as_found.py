"""What a locator may change of the process that it shares with those after it, put back when it is done."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dormouse.execution.torch_defaults import torch_defaults


@contextmanager
def left_as_found(seed: int) -> Iterator[None]:
    """Meanwhile random numbers begin at the seed. Behind it how torch computes (see `torch_defaults`), the number of
    threads, random numbers, the working directory and the environment are as they were."""
    import numpy as np
    import torch

    here, environment, states = Path.cwd(), dict(os.environ), (random.getstate(), np.random.get_state())
    threads, exact = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    with torch.random.fork_rng(devices=[]), torch_defaults():
        try:
            random.seed(seed)
            np.random.seed(seed)
            torch.manual_seed(seed)
            yield
        finally:
            torch.set_num_threads(threads)
            torch.set_deterministic_debug_mode(exact)
            random.setstate(states[0])
            np.random.set_state(states[1])
            os.chdir(here)
            if dict(os.environ) != environment:
                os.environ.clear()
                os.environ.update(environment)
