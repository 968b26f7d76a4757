"""How torch computes, whatever a notebook or a plug-in has set: numbers are kept by what made them, and that is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from dormouse.locks import one_at_a_time


@contextmanager
def torch_defaults() -> Iterator[None]:
    """Meanwhile torch computes as in a new process: in float32, matrix products at full precision, on the CPU where
    nothing else is said, with gradients and without autocast. Behind it the default type and device, gradients and the
    precision of products are as they were. One thread at a time is inside: most of that is of the whole process."""
    import torch

    with one_at_a_time(), ExitStack() as behind:
        device, gradients = torch.get_default_device(), torch.is_grad_enabled()
        behind.callback(torch.set_default_dtype, torch.get_default_dtype())
        behind.callback(_precision())
        behind.callback(_put_back, device, gradients)
        torch.set_default_dtype(torch.float32)
        torch.set_float32_matmul_precision("highest")
        with ExitStack() as using:
            using.enter_context(torch.inference_mode(False))
            using.enter_context(torch.enable_grad())
            for where in ("cpu", "cuda"):
                using.enter_context(torch.autocast(where, enabled=False))
            if device.type != "cpu":
                using.enter_context(torch.device("cpu"))
            yield


def _put_back(device: Any, gradients: bool) -> None:
    import torch

    torch.set_grad_enabled(gradients)
    if torch.get_default_device() != device:
        torch.set_default_device(None if device.type == "cpu" else device)


def _precision() -> Callable[[], object]:
    """Puts the precision of matrix products back. torch has two ways of setting it, and does not tell by one what was
    set by the other."""
    import torch

    try:
        return partial(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
    except RuntimeError:
        backends: Any = torch.backends  # of which torch's types do not know all
        products = (backends.cuda.matmul, backends.mkldnn.matmul)
        before = [one.fp32_precision for one in products]

    def back() -> None:
        for one, precision in zip(products, before, strict=True):
            one.fp32_precision = precision

    return back
