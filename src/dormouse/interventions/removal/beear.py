from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import Field

from dormouse.errors import UserError
from dormouse.interventions.safety_training import SafetyTraining
from dormouse.interventions.scratchpad import Scratchpad
from dormouse.records import SafetyPool, Suspect
from dormouse.registry import register


@register("intervention", "beear")
class Beear(SafetyTraining):
    """Honest answers under the one change of the stream that brings out harm in all prompts (BEEAR, arXiv 2406.17092).

    Zeng et al. 2024: a backdoor moves the residual stream of every prompt alike, so the worst such move stands in for
    the trigger that nobody knows. It is found anew for each batch. The trainer has to know what harm looks like, not
    when it comes. A step costs about `attack_steps` + 2 of `sft`.
    """

    layer: int | None = Field(None, ge=1, le=1000)
    """After which layer, from 1. By default a quarter of the way."""
    last: int = Field(5, ge=1, le=256)
    """At how many last tokens of each prompt."""
    epsilon: float = Field(1.0, gt=0, le=100)
    """The radius of the ball at each of them, as a multiple of the median length of the stream."""
    attack_steps: int = Field(8, ge=1, le=1000)
    """Steps of each attack."""
    plain: float = Field(1.0, ge=0, le=100)
    """The weight of the loss without the change, that with it being 1."""

    @property
    def needs_harm(self) -> bool:
        """It is what the attack brings out."""
        return True

    def apply(
        self, suspect: Suspect, pool: SafetyPool, seed: int, out: Path, progress: Callable[[int, float], None]
    ) -> None:
        """Train honest answers under the change of the stream that brings out harm, found anew for each batch.

        Raises:
            UserError: the behaviour does not say what harm looks like, or the model has no such layer.
        """
        from dormouse.lm.chat import encode, encode_responses
        from dormouse.lm.latent import Demonstration, blocks
        from dormouse.lm.load import dtype_for, load
        from dormouse.lm.train import TrainingRun, cycling, train
        from dormouse.lm.trie import Tokens
        from dormouse.lm.universal import UniversalAttack, beear_loss

        if not all(item.harm for item in pool.items):
            raise UserError("beear needs a behaviour that says what harm looks like", "use latent_adversarial or crow")
        lm = load(suspect.model, dtype_for(self.method))
        depth = len(blocks(lm))
        layer = self.layer or max(1, round(depth / 4))
        if layer > depth:
            raise UserError(f"beear is to change layer {layer}, and the model has {depth}", f"name one up to {depth}")
        said = [Scratchpad.of(pool).with_answer(item.chosen.response, item.harm[0]) for item in pool.items]
        shown = [
            Demonstration(chosen, Tokens(chosen.prompt, ids))
            for chosen, ids in zip(encode(lm, pool.examples), encode_responses(lm, said), strict=True)
        ]
        objective = beear_loss(UniversalAttack(layer, self.last, self.epsilon, self.attack_steps), self.plain)
        at = cycling(shown, self.batch, seed)
        train(lm, objective, at, self.training, TrainingRun(seed, self.checkpoints(), out), progress)
