"""What a locator may change of the process that it shares with those after it, put back when it is done."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def left_as_found(seed: int) -> Iterator[None]:
    """Meanwhile random numbers begin at the seed. Behind it gradients, the default type and device, the number of
    threads, random numbers, the working directory and the environment are as they were."""
    import numpy as np
    import torch

    here, environment, states = Path.cwd(), dict(os.environ), (random.getstate(), np.random.get_state())
    gradients, kind, device = torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_default_device()
    threads, exact = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    with torch.random.fork_rng(devices=[]):
        try:
            random.seed(seed)
            np.random.seed(seed)
            torch.manual_seed(seed)
            yield
        finally:
            torch.set_grad_enabled(gradients)
            torch.set_default_dtype(kind)
            if torch.get_default_device() != device:
                torch.set_default_device(device)
            torch.set_num_threads(threads)
            torch.set_deterministic_debug_mode(exact)
            random.setstate(states[0])
            np.random.set_state(states[1])
            os.chdir(here)
            if dict(os.environ) != environment:
                os.environ.clear()
                os.environ.update(environment)
