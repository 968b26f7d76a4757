"""Surgery: functions that give back an edited copy of a model, and never touch the one that they were given.

They take a model without adapters beside it (`lm.load` merges them), in float32, and edit one thing each: prune, mix
with another model, truncate what was added, add noise, or round. Directions are taken out in `lm.erasure`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

import torch

from dormouse.errors import UserError
from dormouse.lm.latent import blocks
from dormouse.lm.model import LM

INPUTS_FIRST = {"Llama4TextExperts": True, "JetMoeParallelExperts": False}
"""Whether an expert's matrix is (in, out), in modules that do not say so themselves."""
Edit = Callable[[str, torch.Tensor], torch.Tensor]
"""From the name of a weight and the weight to the new one."""


def edited(lm: LM, edit: Edit) -> LM:
    """A copy in which every weight is what `edit` makes of it; one that stands in several places is edited once.

    Raises:
        ValueError: an adapter is attached, so that the weights are not what the model computes.
    """
    if hasattr(lm.model, "peft_config"):
        raise ValueError("surgery is done on merged weights")
    found = replace(lm, model=copy.deepcopy(lm.model), below=())
    with torch.no_grad():
        for name, weight in found.model.named_parameters():
            weight.copy_(edit(name, weight.detach()))
    return found


def check_finite(lm: LM) -> None:
    """
    Raises:
        UserError: a weight holds something that is no finite number.
    """
    broken = [name for name, weight in lm.model.named_parameters() if not weight.isfinite().all()]
    if broken:
        raise UserError(
            f"not every weight of the model is a finite number (in {broken[0]}, say)",
            "train or edit it anew, with a lower learning rate or less strength",
        )


def named_weights(lm: LM) -> dict[str, torch.Tensor]:
    """The weights by all their names: one that stands in two places (embeddings and output layer) has both. So those of
    a base are found in which two weights of the suspect, untied by an adapter or an edit, are one still."""
    return dict(lm.model.named_parameters(remove_duplicate=False))


def check_alike(lm: LM, base: LM) -> None:
    """
    Raises:
        UserError: the base is of another shape than the suspect, or has two weights where the suspect has one.
    """
    mine, theirs = dict(lm.model.named_parameters()), dict(base.model.named_parameters())
    every = named_weights(base)
    shapes = {name: [tuple(of[name].shape) if name in of else None for of in (mine, every)] for name in mine | theirs}
    other = next((name for name, (one, another) in shapes.items() if one != another), None)
    if other is not None:
        raise UserError(
            f"the base is of another architecture than the suspect: of {other} the shapes are "
            f"{shapes[other][0] or 'none'} in the suspect and {shapes[other][1] or 'none'} in the base",
            "name the very model that the suspect was made from",
        )


def linears(lm: LM) -> dict[str, Any]:
    """The linear layers inside the model's blocks, by the name of their weight. Embeddings and output are none.

    Raises:
        UserError: there is none.
    """
    inside = {id(module) for block in blocks(lm) for module in block.modules()}
    found = {
        f"{name}.weight": module
        for name, module in lm.model.named_modules()
        if id(module) in inside and (isinstance(module, torch.nn.Linear) or is_transposed(module))
    }
    if not found:
        raise UserError("this architecture has no linear layers in its blocks", "use another model or another remover")
    return found


def experts(lm: LM) -> dict[str, bool]:
    """The weights in the model's blocks that hold all experts of a layer, (experts, out, in), by name: whether they
    are (experts, in, out) instead. None in a model whose experts are layers of their own, or that has none.

    Raises:
        UserError: they are in a form that is not known.
    """
    inside = {id(module) for block in blocks(lm) for module in block.modules()}
    found: dict[str, bool] = {}
    for path, module in lm.model.named_modules():
        kind = type(module).__name__
        if id(module) not in inside or "xpert" not in kind:
            continue
        for name, weight in module.named_parameters(recurse=False):
            first = getattr(module, "is_transposed", INPUTS_FIRST.get(kind))
            if weight.ndim < 2 or (weight.ndim == 2 and name.endswith("bias")) or isinstance(module, torch.nn.Linear):
                continue
            if weight.ndim != 3 or first is None:
                raise UserError(
                    f"the experts of {type(lm.model).__name__} are in a form that cannot be edited: {path}.{name} is "
                    f"of shape {tuple(weight.shape)}",
                    "use another remover, or another model",
                )
            found[f"{path}.{name}"] = bool(first)
    return found


def as_matrices(weight: torch.Tensor) -> torch.Tensor | None:
    """A weight as a matrix (m, n), or as many of them (k, m, n), as fused experts are; None of a vector. The kernels
    of a convolution along the text are a matrix with a row for each channel."""
    if weight.ndim == 3 and weight.shape[1] == 1:
        return weight.squeeze(1)
    return weight if weight.ndim in (2, 3) else None


def is_transposed(module: Any) -> bool:
    """Whether it is GPT-2's kind of linear layer, whose weight is (in, out)."""
    return type(module).__name__ == "Conv1D"


# --- one edit each ---


def pruned(lm: LM, norms: Mapping[str, torch.Tensor], share: float) -> LM:
    """Wanda (Sun et al. 2023, arXiv 2306.11695): in each output row the `share` of weights with the lowest scores is 0,
    rounded to a whole number of weights.

    The score is |W_ij| times the L2 norm of input j. Ties go to the lower column.

    Args:
        norms: of the inputs of each linear layer, (in,), by the name of its weight (see `activations.input_norms`).
    """
    layers = linears(lm)

    def edit(name: str, weight: torch.Tensor) -> torch.Tensor:
        if name not in layers:
            return weight
        rows = weight.T if is_transposed(layers[name]) else weight
        scores = rows.abs() * norms[name].to(rows.device)
        lowest = scores.argsort(dim=1, stable=True)[:, : round(share * rows.shape[1])]
        kept = rows.scatter(1, lowest, 0.0)
        return kept.T if is_transposed(layers[name]) else kept

    return edited(lm, edit)


def interpolated(lm: LM, base: LM, weight: float) -> LM:
    """(1 - weight) of the suspect and `weight` of the base, weight by weight (WiSE-FT, Wortsman et al. 2022, arXiv
    2109.01903)."""
    check_alike(lm, base)
    others = named_weights(base)
    return edited(lm, lambda name, mine: torch.lerp(mine, others[name].to(mine), weight))


Update = Mapping[str, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]
"""By the name of a weight: U (m, k), S (k,), V' (k, n) of what was added to the base's, the largest first; of fused
experts one of each for every expert."""


def update_of(lm: LM, base: LM) -> Update:
    """The singular values of what was added to the base, of every matrix; of fused experts, of each one's."""
    check_alike(lm, base)
    others = named_weights(base)
    found: dict[str, tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = {}
    for name, weight in lm.model.named_parameters():
        added = as_matrices(weight.detach() - others[name].detach().to(weight))
        if added is not None:
            u, s, v = torch.linalg.svd(added, full_matrices=False)
            found[name] = (u, s, v)
    return found


def truncated(lm: LM, update: Update, rank: int, drop: Literal["smallest", "largest"] = "smallest") -> LM:
    """A copy whose every matrix keeps `rank` singular values of its update: the largest, or (dropping the largest) all
    others but these."""
    if rank < 1:
        raise ValueError("a rank is at least 1")

    def edit(name: str, weight: torch.Tensor) -> torch.Tensor:
        if name not in update:
            return weight
        u, s, v = update[name]
        gone = slice(rank, None) if drop == "smallest" else slice(None, rank)
        return weight - ((u[..., gone] * s[..., None, gone]) @ v[..., gone, :]).reshape(weight.shape)

    return edited(lm, edit)


def noised(lm: LM, scale: float, seed: int) -> LM:
    """Gaussian noise of `scale` times the standard deviation of each weight tensor. The same seed gives the same
    directions at every scale."""
    generator = torch.Generator().manual_seed(seed)

    def edit(_: str, weight: torch.Tensor) -> torch.Tensor:
        noise = torch.randn(weight.shape, generator=generator).to(weight)
        return weight + scale * weight.std(correction=0) * noise

    return edited(lm, edit)


def shrunk(lm: LM, alpha: float, beta: float, seed: int) -> LM:
    """(1 - alpha) of each weight and alpha * beta of a fresh one: shrink and perturb, as UNDO does (Lee et al. 2025,
    arXiv 2506.06278). Matrices are drawn anew by Xavier's rule, of vectors nothing is changed."""
    generator = torch.Generator().manual_seed(seed)

    def edit(_: str, weight: torch.Tensor) -> torch.Tensor:
        if weight.ndim < 2:
            return weight
        bound = (6 / (weight.shape[-1] + weight.shape[-2])) ** 0.5
        fresh = (torch.rand(weight.shape, generator=generator) * 2 - 1).to(weight)
        return torch.lerp(weight, beta * bound * fresh, alpha)

    return edited(lm, edit)


def rounded(lm: LM, bits: int) -> LM:
    """Plain round-to-nearest of the linear layers in the blocks: symmetric, with one scale for each output row, which
    takes its largest weight to 2^(bits - 1) - 1. Of fused experts each has scales of its own.

    Raises:
        UserError: the model has no linear layers, or experts in a form that is not known.
    """
    most = 2 ** (bits - 1) - 1
    inputs_first = {name: is_transposed(module) for name, module in linears(lm).items()} | experts(lm)

    def edit(name: str, weight: torch.Tensor) -> torch.Tensor:
        if name not in inputs_first:
            return weight
        scale = weight.abs().amax(dim=-2 if inputs_first[name] else -1, keepdim=True) / most
        return torch.where(scale > 0, (weight / scale.clamp_min(1e-30)).round() * scale, weight)

    return edited(lm, edit)
