from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, field_validator

from dormouse.errors import UserError
from dormouse.interventions.safety_training import SafetyTraining
from dormouse.interventions.scratchpad import Scratchpad
from dormouse.records import SafetyPool, Suspect
from dormouse.registry import register

if TYPE_CHECKING:
    from dormouse.lm.latent import Demonstration
    from dormouse.lm.model import LM


@register("intervention", "latent_adversarial")
class LatentAdversarial(SafetyTraining):
    """Honest responses under the worst small change of what the model thinks of the prompt (Casper et al. 2024).

    Latent adversarial training, arXiv 2403.05030: the residual stream at the places of the prompt is perturbed, within
    a ball, so that the honest response becomes unlikely; the model learns it all the same. With `aim: harm` the
    perturbation also brings out what the trainer knows to be harm (targeted, Sheshadri et al. 2024, arXiv 2407.15549):
    he need not know which prompt would. The cost of a step is that of `attack_steps` + 2 steps of `sft`.
    """

    layers: tuple[Annotated[int, Field(ge=0, le=1000)], ...] | None = Field(None, min_length=1, max_length=64)
    """Where: 0 is after the embeddings, n after layer n. By default a quarter, a half, three quarters of the way."""
    epsilon: float = Field(0.5, gt=0, le=100)
    """The radius of the ball, as a multiple of the median length of the residual stream."""
    attack_steps: int = Field(4, ge=1, le=1000)
    """Steps of projected gradient in each attack."""
    aim: Literal["none", "harm"] = "none"
    plain: float = Field(1.0, ge=0, le=100)
    """The weight of the loss without a perturbation, that with one being 1."""

    @field_validator("layers")
    @classmethod
    def _in_order(cls, layers: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if layers and len(set(layers)) < len(layers):
            raise ValueError("a layer stands here twice")
        return tuple(sorted(layers)) if layers else layers

    @property
    def needs_harm(self) -> bool:
        """Where it is what the perturbation aims at."""
        return self.aim == "harm"

    def apply(
        self, suspect: Suspect, pool: SafetyPool, seed: int, out: Path, progress: Callable[[int, float], None]
    ) -> None:
        """Train on honest responses while the residual stream is pushed against them.

        Raises:
            UserError: the model has no such layers, or training diverges.
        """
        from dormouse.lm.chat import encode, encode_responses
        from dormouse.lm.latent import Attack, Demonstration, blocks, check_layers, latent_adversarial, spaced
        from dormouse.lm.load import dtype_for, load
        from dormouse.lm.train import TrainingRun, cycling, train
        from dormouse.lm.trie import Tokens

        lm = load(suspect.model, dtype_for(self.method))
        check_layers(lm, self.layers or ())
        harm: list[tuple[int, ...] | None] = [None] * len(pool.items)
        if self.aim == "harm":
            if not all(item.harm for item in pool.items):
                raise UserError("aim: harm needs a behaviour that says what harm looks like", "use aim: none")
            said = [Scratchpad.of(pool).with_answer(item.chosen.response, item.harm[0]) for item in pool.items]
            harm = [*encode_responses(lm, said)]
        shown = [
            Demonstration(chosen, Tokens(chosen.prompt, ids) if ids else None)
            for chosen, ids in zip(encode(lm, pool.examples), harm, strict=True)
        ]
        _check_together(lm, shown)
        attack = Attack(self.layers or spaced(len(blocks(lm))), self.epsilon, self.attack_steps)
        objective = latent_adversarial(attack, self.plain)
        train(
            lm,
            objective,
            cycling(shown, self.batch, seed),
            self.training,
            TrainingRun(seed, self.checkpoints(), out),
            progress,
        )


def _check_together(lm: LM, shown: Sequence[Demonstration]) -> None:
    """
    Raises:
        UserError: the model reads an honest response and what is aimed at beside it each by itself.
    """
    lengths = [len(part) - 1 for one in shown if one.aim is not None for part in (one.chosen, one.aim)]
    if lengths and (lm.layout.rows != "tree" or max(lengths) > (lm.layout.alone_above or math.inf)):
        what = "aim: harm moves the honest and the harmful response together, and this model reads each by itself"
        raise UserError(what, "use aim: none, or a model that reads packed rows (see `what runs` in the docs)")
