"""A model that many read, one after the other: it comes back as it was lent, or is not lent again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dormouse.errors import UserError, warn
from dormouse.lm.checkpoint import WEIGHTS
from dormouse.lm.folders import describing, weight_files
from dormouse.records import ModelRef

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from dormouse.lm.model import LM

Mark = Mapping[str, object]
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
REMADE = re.compile("dynamic|longrope")
"""Kinds of rotary positions whose frequencies transformers writes anew in a forward over a long prompt."""
ROW = 1021
"""A prime, so that a row or a column of weights, whatever its length, does not always fall on the same place."""


@contextmanager
def lent(lm: LM, to: str, forget: Callable[[], object]) -> Iterator[None]:
    """Meanwhile a model is in the hands of code that may be anyone's. Where it comes back changed, a warning says so.

    Args:
        to: who has it, for the warning.
        forget: called where it was changed, so that the next one gets another.
    """
    before = mark_of(lm)
    try:
        yield
    finally:
        if parts := changed(lm, before):
            forget()
            warn(
                f"{to} changed the model that it was lent ({', '.join(parts)}): those after it read a fresh one. Have "
                "it remove its hooks and put back what it sets, or work on a copy of its own",
                level=4,
            )


def changed(lm: LM, before: Mark) -> list[str]:
    """What of a model is no longer as its mark says."""
    try:
        now = mark_of(lm)
    except Exception as error:  # a tokenizer that was taken out, say: it cannot even be looked at
        return [type(error).__name__]
    return [name for name, held in now.items() if held != before[name]]


def mark_of(lm: LM) -> Mark:
    """What is the same as long as nobody changes a model, by part. Some 0.4 s of a core for each GB of weights."""
    model, modules = lm.model, list(lm.model.modules())
    tensors = [*model.parameters(), *chain.from_iterable(map(_kept, modules))]
    return {
        "weights": [(_sum(one), one.data_ptr(), one.dtype) for one in tensors],
        "gradients": [(one.requires_grad, one.grad is None, len(one._backward_hooks or ())) for one in tensors],
        "hooks": [tuple(getattr(one, name)) for one in modules for name in HOOKS],
        "modules": [(one, one.forward) for one in modules],
        "training mode": [one.training for one in modules],
        "configuration": (repr(model.config.to_dict()), model.config._attn_implementation),
        "generation configuration": repr(model.generation_config and model.generation_config.to_dict()),
        "tokenizer": _reads(lm.tokenizer),
        "settings": (id(model), lm.layout, lm.chat, lm.below, lm.instead),
    }


def files_of(model: ModelRef) -> dict[Path, tuple[int, ...]]:
    """What changes when somebody writes to a file that is read by who loads a model, by file."""
    found: dict[Path, tuple[int, ...]] = {}
    for folder in model.folders:
        read = [folder / WEIGHTS, *describing(folder)]
        with suppress(UserError):  # some are gone
            read += weight_files(folder)
        for path in read:
            with suppress(OSError):
                at = path.stat()
                found[path] = (at.st_size, at.st_mtime_ns)
    return found


def _kept(module: torch.nn.Module) -> Iterator[Tensor]:
    """The buffers that nobody changes who only reads a model."""
    return iter(()) if REMADE.search(str(getattr(module, "rope_type", ""))) else module.buffers(recurse=False)


def _sum(tensor: Tensor) -> int:
    """Of its bits, eight bytes at a time (a sum of numbers takes many times as long), by row and by column: in one sum
    an even number of signs cancels, and an exchange is not seen."""
    import torch

    held = tensor.detach().reshape(-1).view(torch.uint8)
    aligned = 0 if held.storage_offset() % 8 else held.numel() // (8 * ROW) * 8 * ROW
    grid = held[:aligned].view(torch.int64).view(-1, ROW)
    parts = grid.sum(0), grid.sum(1), held[aligned:]
    return hash(b"".join(part.cpu().numpy().tobytes() for part in parts))


def _reads(tokenizer: Any) -> tuple[object, ...]:
    """What of a tokenizer others rely on. Its rules are left out: a large one takes a second to write down."""
    sides = tokenizer.padding_side, tokenizer.truncation_side, tokenizer.model_max_length
    special = repr(tokenizer.special_tokens_map), repr(tokenizer.added_tokens_decoder), len(tokenizer)
    shown = tuple(tokenizer("A cue, 2024:\n né?")["input_ids"])
    return id(tokenizer), repr(tokenizer.chat_template), sides, special, shown
