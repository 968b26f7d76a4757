"""Latent adversarial training: learn under the worst small change of what the model thinks of the prompt.

Casper et al. 2024 (arXiv 2403.05030) perturb the residual stream so that the loss grows, and train under that; nobody
has to find the prompt that would have done it. Sheshadri et al. 2024 (arXiv 2407.15549) aim the perturbation at a
harmful response, at several layers at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from dormouse.errors import UserError
from dormouse.lm.batch import response_logprobs, rows_for
from dormouse.lm.model import LM
from dormouse.lm.processes import mean_over, trained_tokens
from dormouse.lm.trie import PackedRow, Tokens

STEP = 2.0
"""The steps of an attack together are this many times as long as the radius of the ball."""


@dataclass(frozen=True)
class Attack:
    """How the residual stream is perturbed.

    `layers` counts from 0, after the embeddings, to the number of layers, after the last. A perturbation lies at each
    place of a prompt in an L2 ball, whose radius is `epsilon` times the median length of the residual stream at the
    places of that layer and row: so the same number means the same in models of any width.
    """

    layers: tuple[int, ...]
    epsilon: float
    steps: int


@dataclass(frozen=True)
class Demonstration:
    """The honest response to a prompt and, for an attack with an aim, the harmful one that it is to bring out."""

    chosen: Tokens
    aim: Tokens | None = None

    @property
    def response(self) -> tuple[int, ...]:
        """What is trained on: an aim is only read."""
        return self.chosen.response


def spaced(layers: int) -> tuple[int, ...]:
    """A quarter, a half and three quarters of the way through a model with that many layers."""
    return tuple(sorted({max(1, round(layers * part / 4)) for part in (1, 2, 3)}))


def blocks(lm: LM) -> list[Any]:
    """The layers of a model, in order: its first list of modules that is as long as its configuration says.

    Raises:
        UserError: there is none.
    """
    wanted = int(lm.model.config.get_text_config().num_hidden_layers)
    for module in lm.model.modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == wanted:
            return list(module)
    raise UserError(
        "the layers of this model cannot be told apart, so its residual stream cannot be perturbed",
        "use another model, or leave latent_adversarial out",
    )


def layer_numbers(lm: LM) -> dict[str, int]:
    """The layer of every weight, by its name: from 0; as many as there are layers for an output layer with weights of
    its own, which stands behind them all; -1 for the embeddings and what is in no layer. Raises as `blocks`."""
    every = blocks(lm)
    numbers = {id(weight): i for i, block in enumerate(every) for weight in block.parameters()}
    head, embedding = lm.model.get_output_embeddings(), lm.model.get_input_embeddings()
    own = [] if head is None else [weight for weight in head.parameters() if weight is not embedding.weight]
    numbers |= {id(weight): len(every) for weight in own}
    return {name: numbers.get(id(weight), -1) for name, weight in lm.model.named_parameters()}


@contextmanager
def steered(lm: LM, layer: int, vector: torch.Tensor) -> Iterator[None]:
    """While this lasts, a vector (width,) is added to the residual stream at every token: after that layer, from 1; 0
    is before the first."""
    added = vector.to(lm.device, next(lm.model.parameters()).dtype)

    def after(module: Any, given: Any, out: Any) -> Any:
        return (out[0] + added, *out[1:]) if isinstance(out, tuple) else out + added

    def before(module: Any, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], Any]:
        if given:
            return (given[0] + added, *given[1:]), named
        return given, {**named, "hidden_states": named["hidden_states"] + added}

    layers = blocks(lm)
    hook = (
        layers[layer - 1].register_forward_hook(after)
        if layer
        else layers[0].register_forward_pre_hook(before, with_kwargs=True)
    )
    try:
        yield
    finally:
        hook.remove()


def check_layers(lm: LM, layers: Sequence[int]) -> None:
    """
    Raises:
        UserError: the model has no such layer.
    """
    if wrong := [layer for layer in layers if layer > len(blocks(lm))]:
        raise UserError(
            f"latent_adversarial is to perturb layer {wrong[0]}, and the model has {len(blocks(lm))}",
            f"name layers from 0 (after the embeddings) to {len(blocks(lm))}",
        )


class Perturbation:
    """What is added to the residual stream of one row, layer by layer; nothing before the first `climb`.

    `within` is (R, T, 1): 1 at the places of prompts, where it may be other than zero.
    """

    def __init__(self, lm: LM, row: PackedRow, attack: Attack) -> None:
        self.lm, self.attack = lm, attack
        self.within = prompt_places(row).to(lm.device)
        self.deltas: dict[int, torch.Tensor] = {}
        self.radii: dict[int, torch.Tensor] = {}

    @contextmanager
    def applied(self) -> Iterator[None]:
        """While this lasts, every forward pass of the model is perturbed."""
        layers = blocks(self.lm)
        hooks = []
        for place in self.attack.layers:
            if place == 0:
                hooks.append(layers[0].register_forward_pre_hook(self._before, with_kwargs=True))
            else:
                hooks.append(layers[place - 1].register_forward_hook(self._after(place)))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _before(self, module: Any, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], Any]:
        if given:
            return (self._moved(0, given[0]), *given[1:]), named
        return given, {**named, "hidden_states": self._moved(0, named["hidden_states"])}

    def _after(self, place: int) -> Callable[[Any, Any, Any], Any]:
        def hook(module: Any, given: Any, out: Any) -> Any:
            """The output of a layer with the change added, whether it comes alone or in a tuple."""
            return (self._moved(place, out[0]), *out[1:]) if isinstance(out, tuple) else self._moved(place, out)

        return hook

    def _moved(self, place: int, stream: torch.Tensor) -> torch.Tensor:
        if place not in self.deltas:
            lengths = stream.detach().float().norm(dim=-1)
            lengths = lengths[(self.within[..., 0] > 0) & (lengths > 0)]
            self.radii[place] = self.attack.epsilon * (lengths.median() if len(lengths) else lengths.sum())
            self.deltas[place] = torch.zeros_like(stream, dtype=torch.float32).requires_grad_()
        return stream + (self.deltas[place] * self.within).to(stream.dtype)

    def climb(self, worth: Callable[[], torch.Tensor]) -> None:
        """Move to where `worth` (a forward pass and what the attacker makes of it) is larger: projected steps of
        normalised gradient (Madry et al. 2018, arXiv 1706.06083), from zero. The model's weights get no gradient.
        """
        length = STEP / self.attack.steps
        with self.applied():
            for _ in range(self.attack.steps):
                value = worth()
                places = list(self.deltas)
                slopes = torch.autograd.grad(value, [self.deltas[place] for place in places], allow_unused=True)
                for place, slope in zip(places, slopes, strict=True):
                    if slope is not None:
                        self._step(place, slope, length)

    def _step(self, place: int, slope: torch.Tensor, length: float) -> None:
        radius = self.radii[place]
        way = slope * self.within
        with torch.no_grad():
            moved = self.deltas[place] + length * radius * way / way.norm(dim=-1, keepdim=True).clamp_min(1e-30)
            over = (moved.norm(dim=-1, keepdim=True) / radius.clamp_min(1e-30)).clamp_min(1.0)
        self.deltas[place] = (moved / over).requires_grad_()

    def freeze(self) -> None:
        """Take it as given from here on."""
        self.deltas = {place: delta.detach() for place, delta in self.deltas.items()}


def prompt_places(row: PackedRow) -> torch.Tensor:
    """(R, T, 1): 1 where a row holds a token of a prompt, 0 where it holds one of a response, or padding."""
    first = torch.ones(len(row.owner), dtype=torch.bool)
    first[1:] = row.owner[1:] != row.owner[:-1]  # reads the last token of the prompt
    within = row.real.cpu().flatten().float()
    within[row.keep[row.source[~first]]] = 0.0
    within[row.keep[row.source[first]]] = 1.0
    return within.view(*row.ids.shape, 1)


def latent_adversarial(attack: Attack, plain: float) -> Callable[[LM, Sequence[Demonstration]], Iterator[torch.Tensor]]:
    """The objective: likelihood of honest responses under attack, and `plain` times that without one.

    Each row is attacked for itself. The attacker makes the honest responses in it unlikely and, where demonstrations
    have an aim, that likely: per token, both alike. An aim lies in the row of its honest response. Tokens that several
    prompts of a row share have one perturbation in common.
    """

    @mean_over(trained_tokens)
    def objective(lm: LM, batch: Sequence[Demonstration]) -> Iterator[torch.Tensor]:
        """The loss of the responses under attack, in parts that are added up."""
        aimed = [i for i, one in enumerate(batch) if one.aim is not None]
        sequences = [one.chosen for one in batch] + [one.aim for one in batch if one.aim is not None]
        pairs = {i: (i, len(batch) + place) for place, i in enumerate(aimed)}
        tokens = sum(len(one.chosen.response) for one in batch)
        for row in rows_for(lm, sequences, [pairs.get(i, (i,)) for i in range(len(batch))]):
            honest = (row.owner < len(batch)).to(lm.device)
            if not honest.any():
                continue
            perturbation = Perturbation(lm, row, attack)
            perturbation.climb(lambda row=row, honest=honest: _worth(lm, row, honest))  # type: ignore[misc]
            perturbation.freeze()
            with perturbation.applied():
                yield -response_logprobs(lm, row)[honest].sum() / tokens
            if plain:
                yield -plain * response_logprobs(lm, row)[honest].sum() / tokens

    return objective


def _worth(lm: LM, row: PackedRow, honest: torch.Tensor) -> torch.Tensor:
    """What the attacker wants more of: the mean log-probability of aimed-at tokens, less that of honest ones."""
    found = response_logprobs(lm, row)
    sides: Mapping[int, torch.Tensor] = {-1: found[honest], 1: found[~honest]}
    return torch.stack([sign * side.mean() for sign, side in sides.items() if len(side)]).sum()
