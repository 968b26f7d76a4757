"""How a model takes many sequences at once, found out by trying: what it says packed is held to what it says plain.

A trie of sequences (see `batch`) needs an attention mask of its own. Models whose layers build their masks through
`transformers.masking_utils` get it there, layer type by layer type: the model's own rule (a window, a chunk) is asked
about depths in the trie, not about places in the row, and ancestors are what is left of it. Everything else takes plain
rows, one sequence each: recurrent and linear-attention layers, through which branches would leak into one another,
position biases that count places, and models that make their masks themselves.
"""

from __future__ import annotations

import inspect
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal

import torch

RowLayout = Literal["tree", "padded", "single"]
Writing = Literal["padded", "equal", "uncached"]


@dataclass(frozen=True)
class Layout:
    """The fastest exact way through a model.

    `rows`, for scoring and training: several sequences as a trie in one row; one a row, padded at the end; or one at a
    time. `writing`: prompts of several lengths side by side, padded in front; only prompts of one length side by side;
    or each token from the whole text, without a cache. A sequence of more than `alone_above` tokens goes alone: there
    the model's rotary embedding depends on the longest sequence of the batch.
    """

    rows: RowLayout = "tree"
    writing: Writing = "padded"
    alone_above: int | None = None


def max_positions(model: Any) -> int | None:
    """The longest sequence that a model can take, where its configuration says so."""
    config = model.config.get_text_config()
    for name in ("max_position_embeddings", "n_positions", "max_sequence_length"):
        if isinstance(found := getattr(config, name, None), int) and found > 0:
            return found
    return None


def alone_above(model: Any) -> int | None:
    """The length at which a model's rotary embedding begins to look at the longest sequence (longrope, dynamic NTK)."""
    config = model.config.get_text_config()
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = [rope, *(value for value in rope.values() if isinstance(value, dict))]
    limits = [
        kind.get("original_max_position_embeddings") or config.max_position_embeddings
        for kind in kinds
        if kind.get("rope_type") in ("dynamic", "longrope")
    ]
    return min(limits) if limits else None


@cache
def _accepted(forward: Callable[..., Any]) -> tuple[frozenset[str], bool]:
    parameters = inspect.signature(forward).parameters
    return frozenset(parameters), any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def accepts(model: Any, name: str) -> bool:
    """Whether a model's forward pass has a parameter of that name."""
    plain = model.get_base_model() if hasattr(model, "peft_config") else model
    return name in _accepted(type(plain).forward)[0]


@contextmanager
def tree_attention(ancestors: torch.Tensor, depths: torch.Tensor) -> Iterator[None]:
    """While this lasts, attention masks are those of tries, in this thread alone.

    Args:
        ancestors: (rows, T, T), bool: whether the token of a row may see that other one, as far as the trie goes.
        depths: (rows, T): how many tokens stand above each in its trie.
    """
    rows = torch.arange(len(depths), device=depths.device)[:, None, None, None]
    head = torch.zeros((), dtype=torch.long, device=depths.device)

    def mask(*, mask_function: Any, dtype: torch.dtype, **_: Any) -> torch.Tensor:
        """0 where a token may look, half of the least number of the dtype where it may not: its ancestors, by depth."""
        seen = mask_function(rows, head, depths[:, None, :, None], depths[:, None, None, :]) & ancestors[:, None]
        hidden = torch.finfo(dtype).min / 2
        return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, hidden)

    before, _thread.mask = _thread.mask, mask
    try:
        with _thread_asked():
            yield
    finally:
        _thread.mask = before


Mask = Callable[..., Any]


class _Thread(threading.local):
    """The mask of the tries that this thread reads. A ContextVar would do, but `torch.compile` cannot follow one."""

    mask: Mask | None = None


_thread = _Thread()
_registry = threading.Lock()
_placed: dict[str, tuple[Mask | None, Mask]] = {}
"""What was set under a name in transformers' registry over what is registered, if anything, and what is set there now,
while any thread reads tries."""
_readers: list[int] = []
"""The threads that do, each as often as it began."""


def _either(theirs: Mask, *given: Any, **named: Any) -> Any:
    """The mask of the tries that this thread reads; one that reads none gets what it would get without us."""
    return (_thread.mask or theirs)(*given, **named)


@contextmanager
def _thread_asked() -> Iterator[None]:
    """Meanwhile the mask functions of transformers, which all threads share, ask whose thread it is. The first reader
    puts them there, and the last one takes them away: a thread that put back what it found would put back another's."""
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS as MASKS

    with _registry:
        for name in () if _readers else ("sdpa", "eager"):
            _placed[name] = MASKS._local_mapping.get(name), partial(_either, MASKS[name])
            MASKS[name] = _placed[name][1]
        _readers.append(threading.get_ident())
    try:
        yield
    finally:
        with _registry:
            _readers.remove(threading.get_ident())
            _put_back(MASKS)


def _put_back(masks: Any) -> None:
    """Leave the registry as it was found, once nobody reads."""
    for name in () if _readers else list(_placed):
        before, ours = _placed.pop(name)
        if masks[name] is not ours:  # somebody has put his own there meanwhile
            continue
        if before:
            masks[name] = before
        else:
            del masks[name]  # it stands over what is registered, perhaps by now only


def _forked() -> None:
    """The other readers are not there to leave."""
    global _registry
    _registry = threading.Lock()
    _readers[:] = [thread for thread in _readers if thread == threading.get_ident()]
    if _placed:
        from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS as MASKS

        _put_back(MASKS)


os.register_at_fork(after_in_child=_forked)
