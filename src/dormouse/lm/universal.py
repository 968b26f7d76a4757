"""A universal perturbation: one change of the residual stream for all prompts, as a backdoor makes one.

BEEAR (Zeng et al. 2024, arXiv 2406.17092) finds the change of a layer's output at the last tokens of the prompt that
brings out harm in every prompt alike, and trains the honest answer under it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from dormouse.lm.batch import response_logprobs, rows_for
from dormouse.lm.latent import Demonstration, blocks
from dormouse.lm.model import LM
from dormouse.lm.objectives import Objective
from dormouse.lm.processes import mean_over, trained_tokens
from dormouse.lm.trie import PackedRow

REACH = 2.0
"""The steps of an attack together are this many times as long as the radius of the ball."""


@dataclass(frozen=True)
class UniversalAttack:
    """After which layer (from 1) the stream is changed, at how many last tokens of each prompt, within a ball of
    `epsilon` times the median length of the stream at the last tokens of all prompts, in how many steps."""

    layer: int
    tokens: int
    epsilon: float
    steps: int


def last_places(row: PackedRow, tokens: int) -> list[torch.Tensor]:
    """For each of the last tokens of the prompts, the last one first: the places (N, 2), (row, column), that hold it.

    Prompts that are shorter have fewer. Places that several prompts share stand there once.
    """
    first = torch.ones(len(row.owner), dtype=torch.bool)
    first[1:] = row.owner[1:] != row.owner[:-1]  # reads the last token of the prompt
    flat = row.keep[row.source[first]].unique()
    rows, columns = flat // row.ids.shape[1], flat % row.ids.shape[1]
    found = []
    for back in range(tokens):
        depths = row.positions[rows, columns] - back
        there = depths >= 0
        if row.ancestors is None:
            places = torch.stack([rows, columns - back], dim=1)
        else:
            at = row.ancestors[rows, columns] & (row.positions[rows] == depths[:, None])
            places = torch.stack([rows, at.int().argmax(dim=1)], dim=1)
        found.append(places[there].unique(dim=0))
    return found


class Universal:
    """What is added to the stream: `delta`, (tokens, d), the same for every row of a batch."""

    def __init__(self, lm: LM, rows: Sequence[PackedRow], attack: UniversalAttack) -> None:
        self.lm, self.attack = lm, attack
        self.rows = [row.to(lm.device) for row in rows]
        self.places = [[at.to(lm.device) for at in last_places(row, attack.tokens)] for row in rows]
        wide = int(lm.model.config.get_text_config().hidden_size)  # embeddings may be of another width (OPT-350m)
        self.delta = torch.zeros(attack.tokens, wide, device=lm.device).requires_grad_()
        self.lengths: list[torch.Tensor] = []
        self.radius: torch.Tensor | None = None

    @contextmanager
    def applied(self, number: int) -> Iterator[None]:
        """While this lasts, forward passes of that row are changed."""

        def after(_: Any, given: Any, out: Any) -> Any:
            stream = out[0] if isinstance(out, tuple) else out
            changed = self._moved(stream, self.places[number])
            return (changed, *out[1:]) if isinstance(out, tuple) else changed

        hook = blocks(self.lm)[self.attack.layer - 1].register_forward_hook(after)
        try:
            yield
        finally:
            hook.remove()

    def _moved(self, stream: torch.Tensor, places: Sequence[torch.Tensor]) -> torch.Tensor:
        if self.radius is None:
            last = places[0]
            self.lengths.append(stream[last[:, 0], last[:, 1]].detach().float().norm(dim=-1))
        added = torch.zeros_like(stream)
        for back, at in enumerate(places):
            added = added.index_put((at[:, 0], at[:, 1]), self.delta[back].to(stream.dtype).expand(len(at), -1))
        return stream + added

    def climb(self, honest: Sequence[torch.Tensor]) -> None:
        """Steps of normalised gradient, from zero: harm likelier and honest answers unlikelier, per token of all rows.

        Args:
            honest: of each row, which of its predictions belong to honest answers.
        """
        wanted, unwanted = (max(1, sum(int((here == side).sum()) for here in honest)) for side in (False, True))
        for _ in range(self.attack.steps):
            slope = torch.zeros_like(self.delta)
            for number, row in enumerate(self.rows):
                with self.applied(number):
                    found = response_logprobs(self.lm, row)
                worth = found[~honest[number]].sum() / wanted - found[honest[number]].sum() / unwanted
                slope = slope + torch.autograd.grad(worth, self.delta)[0]
            if self.radius is None:
                self.radius = self.attack.epsilon * torch.cat(self.lengths).median()
            with torch.no_grad():
                step = REACH / self.attack.steps * self.radius
                moved = self.delta + step * slope / slope.norm(dim=-1, keepdim=True).clamp_min(1e-30)
                over = (moved.norm(dim=-1, keepdim=True) / self.radius.clamp_min(1e-30)).clamp_min(1.0)
            self.delta = (moved / over).requires_grad_()
        self.delta = self.delta.detach()


def beear_loss(attack: UniversalAttack, plain: float) -> Objective:
    """The objective, over batches of `Demonstration` with an aim: honest answers under the universal change that was
    found for this very batch, and `plain` times those without one."""

    @mean_over(trained_tokens)
    def objective(lm: LM, batch: Sequence[Demonstration]) -> Iterator[torch.Tensor]:
        sequences = [one.chosen for one in batch] + [one.aim for one in batch if one.aim is not None]
        tokens = sum(len(one.chosen.response) for one in batch)
        rows = rows_for(lm, sequences)
        honest = [(row.owner < len(batch)).to(lm.device) for row in rows]
        universal = Universal(lm, rows, attack)
        universal.climb(honest)
        for number, row in enumerate(rows):
            if honest[number].any():
                with universal.applied(number):
                    yield -response_logprobs(lm, row)[honest[number]].sum() / tokens
                yield -plain * response_logprobs(lm, row)[honest[number]].sum() / tokens

    return objective
