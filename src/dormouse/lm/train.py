"""The one training loop. What is learned comes in as an objective; what is learned from, as batches."""

from __future__ import annotations

import math
import random
import shutil
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch.optim.lr_scheduler import LambdaLR

from dormouse.errors import UserError
from dormouse.lm.batch import Tokens
from dormouse.lm.load import LM
from dormouse.lm.lora import add_adapter
from dormouse.lm.objectives import Objective
from dormouse.lm.settings import Training

Batches = Callable[[int], Sequence[Tokens]]
"""The batch of a step, 0-based. A pure function of the step: the same step always gives the same batch."""

Progress = Callable[[int, float], None]


def train(
    lm: LM,
    objective: Objective,
    batches: Batches,
    training: Training,
    seed: int,
    save_at: Sequence[int],
    out: Path,
    progress: Progress = lambda step, loss: None,
) -> list[tuple[int, float]]:
    """Train `lm` in place with AdamW, linear warm-up and decay, and clipped gradients.

    Args:
        save_at: the steps after which the weights are saved, each as a folder `out/step-NNNNNN`: a LoRA adapter (Hu et
            al. 2021, arXiv 2106.09685; on all linear layers) or, with method "full", a whole model.
        progress: told (steps done, loss) after every step.

    Returns:
        (step, loss) of every step.

    Raises:
        UserError: the loss is not a finite number any more.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        lm.model = _trainable(lm.model, training)
    weights = [weight for weight in lm.model.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=training.lr, weight_decay=0.0)
    schedule = LambdaLR(optimiser, lambda step: _schedule(step, training))
    lm.model.train()
    losses = []
    for step in range(1, training.steps + 1):
        loss = 0.0
        for part in objective(lm, batches(step - 1)):
            part.backward()
            loss += part.item()
        norm = torch.nn.utils.clip_grad_norm_(weights, training.clip)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise UserError(
                f"training diverged at step {step}: the loss is {loss}, the gradient's norm {float(norm)}",
                f"use a lower learning rate than {training.lr:g}",
            )
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        schedule.step()
        losses.append((step, loss))
        if step in save_at:
            save(lm, out / f"step-{step:06d}")
        progress(step, loss)
    lm.model.eval()
    return losses


T = TypeVar("T")


def cycling(items: Sequence[T], size: int, seed: int) -> Callable[[int], list[T]]:
    """The items of a step: shuffled passes over all of them, one after the other, each in its own order."""

    @lru_cache(maxsize=2)
    def order(epoch: int) -> list[int]:
        return random.Random(f"order/{seed}/{epoch}").sample(range(len(items)), len(items))

    def at(step: int) -> list[T]:
        places = (divmod(i, len(items)) for i in range(step * size, (step + 1) * size))
        return [items[order(epoch)[place]] for epoch, place in places]

    return at


def _schedule(step: int, training: Training) -> float:
    warm = max(1, round(training.warmup * training.steps))
    if step < warm:
        return (step + 1) / warm
    return (training.steps - step) / max(1, training.steps - warm)


def _trainable(model: Any, training: Training) -> Any:
    if training.method == "full":
        return model.requires_grad_(True)
    return add_adapter(model, training.rank)


def save(lm: LM, folder: Path) -> None:
    """Write the trained weights: the adapter alone, or with full training the model and its tokenizer."""
    shutil.rmtree(folder, ignore_errors=True)
    if hasattr(lm.model, "peft_config"):
        lm.model.save_pretrained(folder, save_embedding_layers=False)
    else:
        lm.model.save_pretrained(folder)
        lm.tokenizer.save_pretrained(folder)
