"""Gradient checkpointing (Chen et al. 2016, arXiv 1604.06174): less memory for more time."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from dormouse.errors import UserError


def recompute(model: Any, on: bool) -> Any:
    """Turn it on or off, where $DORMOUSE_GRADIENT_CHECKPOINTING is set: what a layer computed is computed again for its
    gradient, not kept. The numbers are the same. Returns the model.

    transformers' own switch works in training mode alone, in which models here never are (see `train`).

    Raises:
        UserError: the architecture has none.
    """
    if os.environ.get("DORMOUSE_GRADIENT_CHECKPOINTING", "0") in ("", "0"):
        return model
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    if not layers:
        what = f"no gradient checkpointing: {model.config.model_type} has no layers that can be computed again"
        raise UserError(what, "unset DORMOUSE_GRADIENT_CHECKPOINTING")
    for layer in layers:
        if on:
            layer.forward = partial(_twice, layer.forward)
        else:
            vars(layer).pop("forward", None)
    return model


def _twice(forward: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """A layer's forward pass, of which only the input is kept where a gradient will be asked."""
    if not torch.is_grad_enabled():
        return forward(*given, **named)
    return checkpoint(forward, *given, use_reentrant=False, preserve_rng_state=False, **named)
