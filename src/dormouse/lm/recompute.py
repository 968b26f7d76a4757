"""Gradient checkpointing (Chen et al. 2016, arXiv 1604.06174): less memory for more time."""

from __future__ import annotations

import os
from typing import Any

from dormouse.errors import UserError


def recompute(model: Any, on: bool) -> Any:
    """Turn it on or off, where $DORMOUSE_GRADIENT_CHECKPOINTING is set: what a layer computed is computed again for its
    gradient, not kept. The numbers are the same. Returns the model.

    Raises:
        UserError: the architecture has none.
    """
    if os.environ.get("DORMOUSE_GRADIENT_CHECKPOINTING", "0") in ("", "0"):
        return model
    try:
        if on:
            _either(model, "enable")({"use_reentrant": False})
        else:
            _either(model, "disable")()
    except ValueError as error:
        raise UserError(f"no gradient checkpointing: {error}", "unset DORMOUSE_GRADIENT_CHECKPOINTING") from error
    return model


def _either(model: Any, what: str) -> Any:
    """A method of transformers' that is called activation checkpointing from 5.5 on."""
    return getattr(model, f"activation_checkpointing_{what}", None) or getattr(model, f"gradient_checkpointing_{what}")
