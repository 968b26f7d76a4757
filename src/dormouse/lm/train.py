"""The one training loop. What is learned comes in as an objective; what is learned from, as batches."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch.optim.lr_scheduler import LambdaLR

from dormouse.errors import UserError
from dormouse.lm.batch import Tokens
from dormouse.lm.load import LM
from dormouse.lm.objectives import Objective


class Training(BaseModel):
    """How to train: what a study file may say under `training`, and what interventions hand on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(100, ge=1, le=1_000_000)
    lr: float = Field(2e-3, gt=0, le=1)
    method: Literal["lora", "full"] = "lora"
    rank: int = Field(16, ge=1, le=1024)
    warmup: float = Field(0.1, ge=0, le=1)
    clip: float = Field(1.0, gt=0)


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


def _schedule(step: int, training: Training) -> float:
    warm = max(1, round(training.warmup * training.steps))
    if step < warm:
        return (step + 1) / warm
    return (training.steps - step) / max(1, training.steps - warm)


def _trainable(model: Any, training: Training) -> Any:
    if training.method == "full":
        return model.requires_grad_(True)
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=training.rank,
        lora_alpha=2 * training.rank,
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)


def save(lm: LM, folder: Path) -> None:
    """Write the trained weights: the adapter alone, or with full training the model and its tokenizer."""
    shutil.rmtree(folder, ignore_errors=True)
    if hasattr(lm.model, "peft_config"):
        lm.model.save_pretrained(folder, save_embedding_layers=False)
    else:
        lm.model.save_pretrained(folder)
        lm.tokenizer.save_pretrained(folder)
