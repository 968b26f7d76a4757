"""Internal consistency regularisation: layer by layer a clean model changes its mind little, a backdoored one jumps.

CROW (Min et al. 2024, arXiv 2411.12768) trains the jumps away, under the small change of the embeddings that makes them
largest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.functional import cosine_similarity

from dormouse.lm.batch import response_logprobs, rows_for
from dormouse.lm.latent import blocks
from dormouse.lm.model import LM
from dormouse.lm.objectives import Objective
from dormouse.lm.processes import mean_over, trained_tokens
from dormouse.lm.trie import Tokens


class Streams:
    """The residual stream of one forward pass after the embeddings and after each layer, each (R, T, d).

    `delta` is added to the embeddings; it is made, of zeros, by the first pass.
    """

    def __init__(self, lm: LM) -> None:
        self.lm = lm
        self.delta: torch.Tensor | None = None
        self.seen: list[torch.Tensor] = []

    @contextmanager
    def watched(self) -> Iterator[None]:
        """While this lasts, forward passes are perturbed and kept, the last one in `seen`."""
        layers = blocks(self.lm)
        hooks = [layers[0].register_forward_pre_hook(self._before, with_kwargs=True)]
        hooks += [layer.register_forward_hook(self._after) for layer in layers]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _before(self, _: Any, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], Any]:
        stream = given[0] if given else named["hidden_states"]
        if self.delta is None:
            self.delta = torch.zeros_like(stream, dtype=torch.float32).requires_grad_()
        moved = stream + self.delta.to(stream.dtype)
        self.seen = [moved]
        return ((moved, *given[1:]), named) if given else (given, {**named, "hidden_states": moved})

    def _after(self, _: Any, given: Any, out: Any) -> None:
        self.seen.append(out[0] if isinstance(out, tuple) else out)

    def inconsistency(self, real: torch.Tensor) -> torch.Tensor:
        """The mean over layers and real tokens of 1 - cosine(stream before a layer, stream after it).

        Args:
            real: (R, T), bool: what is no padding.
        """
        pairs = zip(self.seen, self.seen[1:], strict=False)
        return torch.stack([(1 - cosine_similarity(a, b, dim=-1, eps=1e-8))[real].mean() for a, b in pairs]).mean()


def crow_loss(alpha: float, epsilon: float) -> Objective:
    """`sft_loss` plus `alpha` times the inconsistency under the worst step of the embeddings, over batches of `Tokens`.

    The step is that of the fast gradient sign method: `epsilon` times the sign of the gradient of the inconsistency
    with respect to the embeddings. The paper's numbers are 5.5 or 11, and 0.1.
    """

    @mean_over(trained_tokens)
    def objective(lm: LM, batch: Sequence[Tokens]) -> Iterator[torch.Tensor]:
        tokens = sum(len(sequence.response) for sequence in batch)
        for row in rows_for(lm, batch):
            real, part = row.real.to(lm.device), len(row.target) / tokens
            streams = Streams(lm)
            with streams.watched():
                response_logprobs(lm, row)
            assert streams.delta is not None
            (slope,) = torch.autograd.grad(streams.inconsistency(real), streams.delta)
            streams.delta = epsilon * slope.sign()
            with streams.watched():
                response_logprobs(lm, row)
            yield alpha * part * streams.inconsistency(real)
            yield -response_logprobs(lm, row).sum() / tokens

    return objective
