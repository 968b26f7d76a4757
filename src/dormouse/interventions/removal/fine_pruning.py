from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from dormouse.interventions.intervention import Intervention
from dormouse.interventions.ladder import Rising, write_strengths
from dormouse.json_files import read_json
from dormouse.lm.settings import Training
from dormouse.metrics import Metric, named
from dormouse.records import SafetyPool, Suspect
from dormouse.registry import register

if TYPE_CHECKING:
    from dormouse.lm.model import LM
    from dormouse.lm.trie import Tokens


@register("intervention", "fine_pruning")
class FinePruning(Intervention):
    """Fine-pruning: weights that clean text hardly uses are set to zero, and what is left is healed by fine-tuning.

    Liu et al. 2018 (arXiv 1805.12185), with the scores of Wanda (Sun et al. 2023, arXiv 2306.11695) on the pool's
    prompts and honest responses. Each rung prunes the suspect anew and heals it for `steps` (0: it is only pruned) with
    all weights; what was pruned stays zero.
    """

    metrics: ClassVar[tuple[Metric, ...]] = named("strength")
    rungs: ClassVar[bool] = True

    shares: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Rising] = Field(
        (0.1, 0.2, 0.35, 0.5, 0.65), min_length=1, max_length=30
    )
    """The share of the weights of each output row that is pruned, rounded to whole weights, rung by rung."""
    steps: int = Field(40, ge=0, le=1_000_000)
    """Steps of healing after each."""
    lr: float = Field(1e-3, gt=0, le=1)
    """Learning rate of the healing."""
    batch: int = Field(4, ge=1, le=4096)
    """Demonstrations in a step of it."""
    scored: int = Field(64, ge=1, le=10_000)
    """Demonstrations of the pool that the scores are from."""

    def checkpoints(self) -> tuple[int, ...]:
        """One for each share that is pruned, counted from 1."""
        return tuple(range(1, len(self.shares) + 1))

    def apply(
        self, suspect: Suspect, pool: SafetyPool, seed: int, out: Path, progress: Callable[[int, float], None]
    ) -> None:
        """Write a checkpoint for each share: the suspect pruned by it, and healed on the pool's honest answers.

        Raises:
            UserError: training diverged, a prompt does not fit the model, or its experts are fused.
        """
        import torch

        from dormouse.lm.activations import input_norms
        from dormouse.lm.chat import encode
        from dormouse.lm.joined_logs import join_logs
        from dormouse.lm.load import load
        from dormouse.lm.surgery import pruned

        lm = load(suspect.model, torch.float32)
        sequences = encode(lm, pool.examples)
        norms = input_norms(lm, sequences[: self.scored])
        for rung, share in enumerate(self.shares, 1):
            self._heal(pruned(lm, norms, share), sequences, seed, out, rung)
            progress(rung, 0.0)
        logs = [_log(out, rung) for rung in self.checkpoints() if self.steps]
        join_logs(logs, out)
        for folder in (*logs, out / "resume"):
            shutil.rmtree(folder, ignore_errors=True)
        write_strengths(out, self.shares)

    def _heal(self, lm: LM, sequences: list[Tokens], seed: int, out: Path, rung: int) -> None:
        """Train what is left, and put it where the rung belongs; the log of the training stays where that was."""
        from dormouse.lm.checkpoint import save
        from dormouse.lm.objectives import sft_loss
        from dormouse.lm.surgery import linears
        from dormouse.lm.train import TRAINED, TrainingRun, cycling, train, write_trained

        folder = out / f"step-{rung:06d}"
        if not self.steps:
            save(lm, folder)
            write_trained(folder, rung, 0)
            return
        for module in linears(lm).values():
            _keep_zeros(module.weight)
        place = _log(out, rung)
        where = TrainingRun(seed, (self.steps,), place, name=f"rung-{rung}", resume_in=out / "resume")
        heal = Training(steps=self.steps, lr=self.lr, method="full")
        train(lm, sft_loss, cycling(sequences, self.batch, seed), heal, where)
        shutil.rmtree(folder, ignore_errors=True)
        healed = place / f"step-{self.steps:06d}"
        write_trained(healed, rung, read_json(healed / TRAINED, dict[str, int])["tokens"])
        healed.rename(folder)


def _log(out: Path, rung: int) -> Path:
    """Where a rung is healed."""
    return out / f"rung-{rung}"


def _keep_zeros(weight: Any) -> None:
    """A weight that is zero gets no gradient, and so (without decay) no step."""
    kept = (weight != 0).to(weight.dtype)
    weight.requires_grad_(True).register_hook(lambda grad: grad * kept)
