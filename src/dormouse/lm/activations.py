"""What goes on inside a model while it reads: the residual stream, and the inputs of its linear layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from dormouse.errors import UserError
from dormouse.lm.latent import blocks
from dormouse.lm.model import LM
from dormouse.lm.surgery import experts, linears
from dormouse.lm.trie import Tokens


@torch.no_grad()
def last_stream(lm: LM, prompts: Sequence[tuple[int, ...]], layer: int) -> torch.Tensor:
    """The residual stream at the last token of each prompt, after so many layers (1 or more): (prompts, d), float32."""
    return torch.stack([stream[-1] for stream in prompt_streams(lm, prompts, layer)])


@torch.no_grad()
def prompt_streams(lm: LM, prompts: Sequence[tuple[int, ...]], layer: int) -> list[torch.Tensor]:
    """The residual stream at every token of each prompt, after so many layers: (tokens, d) each, float32."""
    found: list[torch.Tensor] = []

    def look(_: Any, given: Any, out: Any) -> None:
        stream = out[0] if isinstance(out, tuple) else out
        found.append(stream[0].float())

    hook = blocks(lm)[layer - 1].register_forward_hook(look)
    try:
        for prompt in prompts:
            lm.model(input_ids=torch.tensor([prompt], device=lm.device), use_cache=False)
    finally:
        hook.remove()
    return found


def of_one_width(states: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The residual stream after the embeddings and after each layer, as a forward pass shows it (`hidden_states`). A
    last one that the model has brought to another width for its output layer (OPT-350m) is none, and left out."""
    return [state for state in states if state.shape[-1] == states[0].shape[-1]]


@torch.no_grad()
def logit_lens(lm: LM, direction: torch.Tensor) -> torch.Tensor:
    """What the end of the model, its last norm and its output layer, makes of a direction (d,) of the residual stream:
    logits (V,) with it in the place of what the last layer gives, less those with nothing there (nostalgebraist 2020).
    """
    logits: list[torch.Tensor] = []
    for vector in (direction, torch.zeros_like(direction)):

        def instead(_: Any, given: Any, out: Any, vector: torch.Tensor = vector) -> Any:
            stream = out[0] if isinstance(out, tuple) else out
            changed = vector.to(stream).expand_as(stream)
            return (changed, *out[1:]) if isinstance(out, tuple) else changed

        hook = blocks(lm)[-1].register_forward_hook(instead)
        try:
            token = torch.zeros(1, 1, dtype=torch.long, device=lm.device)
            logits.append(lm.model(input_ids=token, use_cache=False).logits[0, -1].float().cpu())
        finally:
            hook.remove()
    return logits[0] - logits[1]


@torch.no_grad()
def input_norms(lm: LM, sequences: Sequence[Tokens]) -> dict[str, torch.Tensor]:
    """The L2 norm of every input of every linear layer in the blocks, over all tokens of the sequences: (in,), by the
    name of the weight. An expert that no token reached has zeros.

    Raises:
        UserError: the model has no linear layers, or its experts are one weight in each layer: which tokens one of them
            reads cannot be seen from outside.
    """
    layers = linears(lm)
    if fused := experts(lm):
        raise UserError(
            f"what the experts of {type(lm.model).__name__} read is not known: they are fused into one weight "
            f"({next(iter(fused))}), so that fine_pruning would leave them alone",
            "use rounding, noise or truncate, or another model",
        )
    squares = {name: torch.zeros(1, device=lm.device) for name in layers}
    names = {id(module): name for name, module in layers.items()}

    def look(module: Any, given: tuple[Any, ...]) -> None:
        flat = given[0].reshape(-1, given[0].shape[-1]).float()
        squares[names[id(module)]] = squares[names[id(module)]] + flat.square().sum(dim=0)

    hooks = [module.register_forward_pre_hook(look) for module in layers.values()]
    try:
        for sequence in sequences:
            ids = torch.tensor([sequence.prompt + sequence.response], device=lm.device)
            lm.model(input_ids=ids, use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: square.sqrt() for name, square in squares.items()}
