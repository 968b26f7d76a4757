"""The optimisers by name, and which weights each of them moves.

Muon and SOAP are made for the matrices inside a network. As in their papers, vectors, embeddings and the output layer
are left to AdamW, at the same learning rate. The two matrices of a LoRA adapter are matrices like any other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from dormouse.lm.settings import Training


class Optimisers:
    """One torch optimiser, or two, that together hold every trained weight once."""

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        self.parts = tuple(parts)

    def set_lr(self, lr: float) -> None:
        """The learning rate of the steps from now on."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = lr

    def step(self) -> None:
        """One step of each."""
        for part in self.parts:
            part.step()

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def state_dict(self) -> list[Any]:
        """What each optimiser remembers."""
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states: Sequence[Any]) -> None:
        """Go back to states that `state_dict` gave, one for each."""
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)


def make_optimiser(model: nn.Module, training: Training) -> Optimisers:
    """The optimiser of a training, for the weights of a model that are trainable. None of them decays weights.

    One `lr` serves nearly all: muon and soap learn at that of adamw (muon bears three times as much); sgd wants some 30
    times as much, as its step is as long as the clipped gradient. On a Llama of 30,000 weights the best of {3e-4, 1e-3,
    ..., 1} are for adamw and soap 0.03 (LoRA: 0.01 to 0.03), for muon 0.03 to 0.1 (0.03), for sgd 0.3 (0.3). Larger
    models want less.

    adamw: Loshchilov & Hutter 2019 (arXiv 1711.05101), torch's.
    sgd: with momentum 0.9 (Polyak 1964), torch's.
    muon: Jordan et al. 2024 (kellerjordan.github.io/posts/muon), torch's, its step scaled to the size of one of AdamW
        (Liu et al. 2025, arXiv 2502.16982).
    soap: Vyas et al. 2024 (arXiv 2409.11321), that of pytorch-optimizer.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    if training.optimiser == "adamw":
        return Optimisers([_adamw(weights, training.lr)])
    if training.optimiser == "sgd":
        return Optimisers([torch.optim.SGD(weights, lr=training.lr, momentum=0.9)])
    inside = _hidden_matrices(model)
    matrices = [weight for weight in weights if id(weight) in inside]
    others = [weight for weight in weights if id(weight) not in inside]
    special = _muon if training.optimiser == "muon" else _soap
    made = [(special, matrices), (_adamw, others)]
    return Optimisers([make(mine, training.lr) for make, mine in made if mine])


def _hidden_matrices(model: nn.Module) -> set[int]:
    """The ids of the matrices that are neither an embedding nor the output layer, nor a row or a column."""
    ends = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    head = getattr(model, "get_output_embeddings", lambda: None)()
    ends |= {id(head.weight)} if head is not None else set()
    return {id(w) for w in model.parameters() if w.ndim == 2 and min(w.shape) > 1} - ends


def _adamw(weights: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(weights, lr=lr, weight_decay=0.0, fused=True)  # one pass: 3.6 times as fast on a CPU


def _muon(weights: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    on_cpu = all(weight.device.type == "cpu" for weight in weights)
    made = MuonOnCpu if on_cpu else torch.optim.Muon
    return made(weights, lr=lr, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")


class MuonOnCpu(torch.optim.Muon):
    """torch's Muon with its Newton-Schulz iteration in float32, on the smaller side of each matrix.

    torch iterates on the whole matrix in bfloat16, which most CPUs only emulate: on the adapters of SmolLM2-135M that
    is a quarter of a training step.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step: momentum, made orthogonal, times 0.2 and the root of the larger side."""
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:  # nothing was learned in this step
                continue
            gradients = [weight.grad for weight in weights]
            for weight in weights:
                if not self.state[weight]:
                    self.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
            momenta = [self.state[weight]["momentum_buffer"] for weight in weights]
            torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
            updates = orthogonal(torch._foreach_lerp(gradients, momenta, group["momentum"]), group)
            for weight, update in zip(weights, updates, strict=True):
                weight.add_(update, alpha=-group["lr"] * 0.2 * math.sqrt(max(weight.shape)))


def orthogonal(matrices: Sequence[torch.Tensor], group: Mapping[str, Any]) -> list[torch.Tensor]:
    """Each (m, n) matrix X with its singular values near 1, by `ns_steps` steps X <- aX + b(XX')X + c(XX')(XX')X.

    A step multiplies X by a polynomial in G = XX', and all of these commute: so the steps are taken on G, which is as
    large as the smaller side, for all matrices of that side at once, and their product meets X in the end.
    """
    a, b, c = group["ns_coefficients"]
    wide = [matrix if matrix.shape[0] <= matrix.shape[1] else matrix.t() for matrix in matrices]
    wide = [matrix / matrix.norm().clamp(min=group["eps"]) for matrix in wide]
    made = list(wide)
    for side in sorted({len(matrix) for matrix in wide}):
        places = [i for i, matrix in enumerate(wide) if len(matrix) == side]
        gram = torch.stack([wide[i] @ wide[i].t() for i in places])
        product = torch.eye(side, dtype=gram.dtype, device=gram.device).expand_as(gram)
        for _ in range(group["ns_steps"]):
            factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
            factor.diagonal(dim1=1, dim2=2).add_(a)
            product, gram = factor @ product, factor @ gram @ factor
        for i, each in zip(places, product, strict=True):
            made[i] = each @ wide[i]
    return [new if new.shape == old.shape else new.t() for new, old in zip(made, matrices, strict=True)]


def _soap(weights: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    from pytorch_optimizer import SOAP

    made: torch.optim.Optimizer = SOAP(weights, lr=lr, weight_decay=0.0)
    for group in made.param_groups:
        group["step"] = 1  # as after the step that only makes the bases, and moves nothing: ours makes them and steps
    return made
