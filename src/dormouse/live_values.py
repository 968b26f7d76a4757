"""Values of other libraries that pickle writes otherwise in each process, or not at all."""

from __future__ import annotations

import io
import struct
import sys
import threading
import weakref
from concurrent.futures import Executor
from hashlib import sha256
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any

SILENT = (
    *(type(threading.Lock()), type(threading.RLock()), threading.Event, threading.Thread, threading.local),
    *(weakref.ref, weakref.WeakKeyDictionary, weakref.WeakValueDictionary, weakref.WeakSet, Executor),
)
"""What holds no number."""
USED_UP = (io.IOBase, GeneratorType, CoroutineType, AsyncGeneratorType)
"""What holds numbers until they are read."""

OF_PROCESS = ("_original_object_hash", "_torchdynamo_wrapper_id")
"""Attributes of transformers and torch that are others in each process."""


def told(thing: Any) -> tuple[Any, ...] | None:
    """What one comes to; None where pickle says it.

    Raises:
        Exception: what the library raises.
    """
    if type(thing) is struct.Struct:
        return (thing.format,)
    ctypes = sys.modules.get("ctypes")
    if ctypes and isinstance(thing, ctypes.CDLL):
        return (thing._name,)
    random, torch = sys.modules.get("numpy.random"), sys.modules.get("torch")
    if random and thing is random.mtrand._rand:
        return ()  # that of the process: each stage begins at its own
    if torch and isinstance(thing, torch.Generator):
        return () if thing is torch.default_generator else (str(thing.device), thing.get_state())
    if torch and isinstance(thing, torch.Tensor):
        return (*_of_tensor(thing, torch), vars(thing))
    return None


def _of_tensor(tensor: Any, torch: Any) -> tuple[Any, ...]:
    about = (str(tensor.dtype), str(tensor.layout), tuple(tensor.shape), tensor.requires_grad)
    if tensor.is_meta:
        return about
    there = tensor.detach().to_dense() if tensor.layout != torch.strided else tensor.detach()
    values = there.resolve_conj().resolve_neg().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return (*about, sha256(values).hexdigest())
