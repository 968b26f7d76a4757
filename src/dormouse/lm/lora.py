"""LoRA adapters (Hu et al. 2021, arXiv 2106.09685) by peft, with a forward and backward that do less work.

peft computes `base(x) + (dropout(x) A') B' * scale` as five separate operations on full-size tensors. On a CPU these
cost as much as a third of the layer itself. Here the low-rank part is added in place, and the backward is written out.
The mathematics, the initial values and the saved files are peft's own; a test compares the two.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch.nn.functional import linear

from dormouse.errors import UserError, reason


class _LoraLinear(torch.autograd.Function):
    """Inputs and outputs are flat, (tokens, width): a view made in here could not be changed in place by the model."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any, a: Any, b: Any, scale: float) -> torch.Tensor:
        """x W' + bias + scale (x A') B', in one pass; x is (rows, in), A (rank, in), B (out, rank)."""
        a, b = a.to(x.dtype), b.to(x.dtype)
        low = x @ a.t()
        y = linear(x, weight, bias).addmm_(low, b.t(), alpha=scale)
        ctx.save_for_backward(x, low, weight, a, b)
        ctx.scale = scale
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Gradients of x, A and B. The frozen weight and bias get none."""
        (grad,) = grads
        x, low, weight, a, b = ctx.saved_tensors
        grad_low = grad @ b
        grad_x = (grad @ weight).addmm_(grad_low, a, alpha=ctx.scale) if ctx.needs_input_grad[0] else None
        grad_a, grad_b = (grad_low.t() @ x).float(), (grad.t() @ low).float()
        return grad_x, None, None, grad_a.mul_(ctx.scale), grad_b.mul_(ctx.scale), None


def trained_adapter(model: Any, rank: int) -> Any:
    """The model with an adapter whose weights alone are trainable: that which it has, else a fresh one."""
    if not hasattr(model, "peft_config"):
        return add_adapter(model, rank)
    for name, weight in model.named_parameters():
        weight.requires_grad = "lora_" in name
    return model


def add_adapter(model: Any, rank: int) -> Any:
    """The model with a fresh adapter on all its linear layers; only the adapter's weights are trainable.

    Initial values come from torch's global generator.

    Raises:
        UserError: peft puts none on it (Mamba), or no layer can take one.
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=0.0,
        target_modules="all-linear",
        exclude_modules=_unfit(model) or None,
        task_type="CAUSAL_LM",
    )
    try:
        wrapped = get_peft_model(model, config)
    except ValueError as error:
        raise UserError(f"no adapter fits {type(model).__name__}: {reason(error)}", "use `method: full`") from error
    for module in wrapped.modules():
        _lighten(module)
    return wrapped


def fit_layers(model: Any) -> set[str]:
    """The layers that `add_adapter` puts an adapter on, by name: all linear ones but the output's and the unfit."""
    from transformers.pytorch_utils import Conv1D

    linear = {name: m for name, m in model.named_modules() if isinstance(m, torch.nn.Linear | Conv1D)}
    head, unfit = model.get_output_embeddings(), set(_unfit(model))
    return {name for name, module in linear.items() if module is not head and name not in unfit}


def _unfit(model: Any) -> list[str]:
    """Linear layers that no adapter can be merged into: those whose weight stands in several places (Zamba's shared
    blocks), and a model's own kinds that only build on a linear layer and give back something else (Llama 4's router;
    Falcon's layers give back the same).
    """
    layers = [(name, m) for name, m in model.named_modules() if isinstance(m, torch.nn.Linear)]
    uses = Counter(module.weight.data_ptr() for _, module in layers)
    return [
        name
        for name, module in layers
        if uses[module.weight.data_ptr()] > 1
        or (type(module).__module__.startswith("transformers.models.") and not _is_plain(module))
    ]


@torch.no_grad()
def _is_plain(module: Any) -> bool:
    """Whether a layer gives back x W' + bias, found out by trying."""
    weight = module.weight
    x = torch.linspace(-1, 1, 6 * weight.shape[1]).view(2, 3, -1).to(weight)
    try:
        found = module(x)
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError):  # it takes something else
        return False
    plain = linear(x, weight, module.bias)
    return isinstance(found, torch.Tensor) and found.shape == plain.shape and torch.allclose(found, plain, 1e-2, 1e-3)


def _lighten(module: Any) -> None:
    """Give one peft layer the cheaper forward. The adapter is float32; the products are of the base weights' type."""
    from peft.tuners.lora import Linear

    if not isinstance(module, Linear) or type(module.get_base_layer()) is not torch.nn.Linear:
        return
    base, (name,) = module.get_base_layer(), module.active_adapters
    a, b, scale = module.lora_A[name].weight, module.lora_B[name].weight, module.scaling[name]

    def forward(x: torch.Tensor) -> Any:
        """The base layer and its adapter in one function; the base alone where adapters are off."""
        if module.disable_adapters:
            return base(x)
        flat = _LoraLinear.apply(x.reshape(-1, x.shape[-1]), base.weight, base.bias, a, b, scale)
        return flat.view(*x.shape[:-1], -1)

    setattr(module, "forward", forward)  # noqa: B010 (a plain assignment to a method does not type-check)
