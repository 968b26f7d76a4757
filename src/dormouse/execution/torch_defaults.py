"""How torch computes, whatever a notebook or a plug-in has set: numbers are kept by what made them, and that is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any


@contextmanager
def torch_defaults() -> Iterator[None]:
    """Meanwhile torch computes as in a new process: in float32, at full precision, on the CPU where nothing else is
    said, with gradients and without autocast. Behind it all of that is as it was, whatever was set meanwhile."""
    import torch

    kind, device, gradients = torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled()
    backends: Any = torch.backends
    products = (backends.cuda.matmul, backends.mkldnn.matmul)
    precisions = [one.fp32_precision for one in products]
    with ExitStack() as using:
        try:
            torch.set_default_dtype(torch.float32)
            for one in products:
                one.fp32_precision = "ieee"
            using.enter_context(torch.inference_mode(False))
            using.enter_context(torch.enable_grad())
            for where in ("cpu", "cuda"):
                using.enter_context(torch.autocast(where, enabled=False))
            if device.type != "cpu":
                using.enter_context(torch.device("cpu"))
            yield
        finally:
            using.close()
            torch.set_default_dtype(kind)
            torch.set_grad_enabled(gradients)
            for one, precision in zip(products, precisions, strict=True):
                one.fp32_precision = precision
            if torch.get_default_device() != device:
                torch.set_default_device(None if device.type == "cpu" else device)
