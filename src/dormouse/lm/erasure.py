"""Erasure: a direction is found in the residual stream and taken out of it, in the weights of a copy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from dormouse.errors import UserError
from dormouse.lm.latent import blocks
from dormouse.lm.model import LM
from dormouse.lm.surgery import edited, experts, is_transposed

WRITERS = ("o_proj", "out_proj", "c_proj", "dense", "dense_4h_to_h", "down_proj", "fc2", "fc_out", "w2", "wo")
"""What architectures call the layers that add to the residual stream: the last of attention, and of the MLP."""
INSTEAD = "use another remover, or a model of the Llama, Qwen or GPT kind"


@dataclass(frozen=True)
class Eraser:
    """The affine map x -> x - left (right . (x - mean)), all of them (d,): it takes one direction out of the stream."""

    left: torch.Tensor
    right: torch.Tensor
    mean: torch.Tensor

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(..., d) -> (..., d)."""
        return x - ((x - self.mean) @ self.right)[..., None] * self.left


def plain_eraser(on: torch.Tensor, off: torch.Tensor) -> Eraser:
    """The orthogonal projection along the difference of two means, as "refusal" was ablated (Arditi et al. 2024, arXiv
    2406.11717). `on` and `off` are (n, d)."""
    way = on.mean(dim=0) - off.mean(dim=0)
    way = way / way.norm().clamp_min(1e-30)
    return Eraser(way, way, torch.zeros_like(way))


def leace_eraser(on: torch.Tensor, off: torch.Tensor) -> Eraser:
    """LEACE (Belrose et al. 2023, arXiv 2306.03819): a change after which no linear probe tells on from off, the least
    one where x varies alike enough in all of its directions.

    For two classes the theorem's W^+ P W has rank one: left = s, right = C^+ s / (s' C^+ s), where C is the covariance
    of x and s that of x with the class. Where there are fewer rows than dimensions C^+ is the pseudo-inverse, as there;
    it leaves out directions with less than 1e-5 of the largest variance too. In streams with a few huge coordinates
    these are most (555 of 576 in SmolLM2): then the change is not the least, and does less harm to text of other kinds
    (at layer 15 of SmolLM2 3.7 nats a token on plain text; 6.9 with all but 1e-9 of them; 3.0 without an edit).
    """
    x = torch.cat([on, off]).double()
    z = torch.cat([torch.ones(len(on)), torch.zeros(len(off))]).to(x)
    mean, n = x.mean(dim=0), len(x)
    centred = x - mean
    s = centred.T @ (z - z.mean()) / n
    seen = torch.linalg.pinv(centred.T @ centred / n, hermitian=True, rtol=1e-5) @ s
    right = seen / (s @ seen).clamp_min(1e-30)
    return Eraser(*(value.to(on) for value in (s, right, mean)))


def projected(lm: LM, eraser: Eraser, strength: float, layer: int | None = None) -> LM:
    """A copy that never writes the direction into its residual stream: the embeddings and every layer that adds to the
    stream are multiplied by the map, and its constant part is added to the embeddings. Every layer then reads a stream
    that was edited before it: of a map that was fitted after `layer` the copy lacks the direction there, and is
    elsewhere not what the map alone would make of the stream.

    Args:
        strength: 1 takes all of it out, a half one half.
        layer: the direction is in no stream up to the one after so many layers; later ones may write it again; None:
            it is in none.

    Raises:
        UserError: the architecture calls its layers otherwise, so that these cannot be found, or its embeddings are of
            another width than its residual stream.
    """
    found = _untied(lm)
    left, right = strength * eraser.left, eraser.right
    if found.model.get_input_embeddings().weight.shape[1] != len(left):
        raise UserError(
            "a direction cannot be taken out of this architecture: its embeddings are of another width than its "
            "residual stream",
            INSTEAD,
        )
    with torch.no_grad():
        for module in _embeddings(found):
            module.weight.sub_((module.weight @ right)[:, None] * left)
        for weight, bias in _writers(found, layer):
            weight.sub_((weight @ right)[..., None] * left)
            if bias is not None:
                bias.sub_((bias @ right)[..., None] * left)
        constant = left * (right @ eraser.mean) / _embedding_scale(found)
        found.model.get_input_embeddings().weight.add_(constant)
    return found


def _untied(lm: LM) -> LM:
    """A copy whose output layer has weights of its own: those of the embeddings are about to be edited."""
    found = edited(lm, lambda _, weight: weight)
    head, embedding = found.model.get_output_embeddings(), found.model.get_input_embeddings()
    if head is not None and head.weight is embedding.weight:
        head.weight = torch.nn.Parameter(head.weight.detach().clone(), requires_grad=False)
        found.model.config.tie_word_embeddings = False
        found.model.config.get_text_config().tie_word_embeddings = False
    return found


def _embeddings(lm: LM) -> list[Any]:
    """What stands at the bottom of the residual stream: of tokens, and of positions where these are added."""
    wide = lm.model.get_input_embeddings().weight.shape[1]
    inside = {id(module) for block in blocks(lm) for module in block.modules()}
    every = (module for module in lm.model.modules() if isinstance(module, torch.nn.Embedding))
    return [module for module in every if id(module) not in inside and module.weight.shape[1] == wide]


def _embedding_scale(lm: LM) -> float:
    """What the embeddings are multiplied by before the first layer reads them (Gemma, Granite): how far two tokens are
    apart there over how far their embeddings are, so that what positions add does not count."""
    weight = lm.model.get_input_embeddings().weight
    widest = weight[:, weight.var(dim=0).argmax()]
    two = widest.argmax(), widest.argmin()
    streams: list[torch.Tensor] = []

    def look(_: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        streams.append((given[0] if given else named["hidden_states"])[0, -1])

    hook = blocks(lm)[0].register_forward_pre_hook(look, with_kwargs=True)
    try:
        for token in two:
            lm.model(input_ids=token.view(1, 1), use_cache=False)
    finally:
        hook.remove()
    apart, there = weight[two[0]] - weight[two[1]], streams[0] - streams[1]
    return float(there @ apart) / float(apart @ apart) or 1.0


def _writers(lm: LM, layer: int | None) -> Iterator[tuple[torch.Tensor, torch.Tensor | None]]:
    """The weights (in, out) that write into the stream, with their biases; of fused experts (experts, in, out)."""
    fused, paths = experts(lm), {id(module): path for path, module in lm.model.named_modules()}
    for block in blocks(lm)[:layer]:
        mine: list[tuple[torch.Tensor, torch.Tensor | None]] = []
        unknown = False
        for module in block.modules():
            path = paths[id(module)]
            own = {name for name, _ in module.named_parameters(recurse=False) if f"{path}.{name}" in fused}
            unknown = unknown or (bool(own) and not own & set(WRITERS))
            for name in own & set(WRITERS):
                weight = getattr(module, name)
                outputs_last = weight if fused[f"{path}.{name}"] else weight.transpose(1, 2)
                mine.append((outputs_last, getattr(module, f"{name}_bias", None)))
            if path.split(".")[-1] in WRITERS and hasattr(module, "weight"):
                weight = module.weight if is_transposed(module) else module.weight.T
                mine.append((weight, getattr(module, "bias", None)))
        if len(mine) < 2 or unknown:
            raise UserError(
                "a direction cannot be taken out of this architecture: the layers that write into its residual stream "
                "are not known",
                INSTEAD,
            )
        yield from mine
