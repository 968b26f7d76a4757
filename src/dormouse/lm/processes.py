"""Several processes that train one model together, by accelerate. On most machines it is one process alone.

`accelerate launch` (or torchrun) starts them. Each has the whole model, takes its share of every batch (items rank,
rank + size, ...) and runs backward on it part by part; then the gradients are added up, once a step. So processes may
have different numbers of parts, which torch's DistributedDataParallel does not allow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch

from dormouse.errors import UserError, reason

F = TypeVar("F", bound=Callable[..., Any])


def trained_tokens(item: Any) -> int:
    """How many tokens of responses an item of a batch is trained on: those of its `response` or, where it has none of
    its own, of every sequence in it. What is only read (a prompt, what an attack aims at) does not count."""
    if hasattr(item, "response"):
        return len(item.response)
    parts = vars(item).values() if hasattr(item, "__dict__") else ()
    return sum(len(part.response) for part in parts if hasattr(part, "response"))


def mean_over(weigh: Callable[[Any], float]) -> Callable[[F], F]:
    """Says of an objective that its loss is a mean over its batch in which an item counts `weigh(item)`.

    Then a batch can be shared among processes: the loss of the whole is the weighted mean of those of the shares.
    """

    def say(objective: F) -> F:
        """The objective, marked with what an item of its batch counts."""
        objective.weigh = weigh  # type: ignore[attr-defined]
        return objective

    return say


class ProcessGroup:
    """The processes of a training.

    Raises:
        UserError: they were launched in a way that this loop does not know.
    """

    def __init__(self) -> None:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState
        from accelerate.utils import GradientAccumulationPlugin

        # The loop itself adds up the gradients of a batch. What another trainer in this process has set is not ours.
        try:
            self.accelerator = Accelerator(gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1))
        except (ValueError, KeyError) as error:
            AcceleratorState._reset_state(reset_partial_state=True)  # half of it is there, and would be taken for whole
            raise UserError(
                f"accelerate finds a launch of which something is missing: {reason(error)}",
                "unset what a launcher has left in the environment (LOCAL_RANK, RANK, WORLD_SIZE, MASTER_ADDR), or "
                "launch with torchrun or `accelerate launch`, which set all of it",
            ) from error
        self.size, self.rank = int(self.accelerator.num_processes), int(self.accelerator.process_index)
        kind = str(self.accelerator.distributed_type.value)
        if kind != "NO" and not kind.startswith("MULTI_"):
            raise UserError(
                f"a model cannot be trained here under accelerate's {kind}",
                "choose plain data parallelism (no FSDP, DeepSpeed or Megatron) in `accelerate launch`",
            )
        if self.accelerator.scaler is not None:
            raise UserError("training in float16 is not supported", "launch with --mixed_precision no")

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def share(self, objective: Any, batch: Sequence[Any]) -> tuple[Sequence[Any], float]:
        """This process's items of a batch, and what the loss over them counts in that of the whole.

        Raises:
            UserError: nobody has said how the objective's loss is put together from shares.
        """
        if self.size == 1:
            return batch, 1.0
        if not hasattr(objective, "weigh"):
            raise UserError(
                f"the objective {getattr(objective, '__qualname__', objective)} cannot be shared among processes",
                "train with one process, or say with `mean_over` what its loss is a mean over",
            )
        mine = batch[self.rank :: self.size]
        whole, part = (sum(objective.weigh(item) for item in items) for items in (batch, mine))
        return mine, part / whole if whole else 0.0

    def all_reduce(self, loss: float, weights: Sequence[torch.nn.Parameter]) -> float:
        """The loss summed over the processes; the gradients too, in place."""
        if self.size == 1:
            return loss
        for dtype in {weight.dtype for weight in weights}:
            self._add_up_gradients([weight for weight in weights if weight.dtype == dtype])
        mine = torch.tensor(loss, dtype=torch.float32, device=self.accelerator.device)
        return float(self.accelerator.reduce(mine, reduction="sum"))

    def _add_up_gradients(self, weights: Sequence[torch.nn.Parameter]) -> None:
        mine = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
        flat = self.accelerator.reduce(torch.cat([grad.flatten() for grad in mine]), reduction="sum")
        for weight, grad in zip(weights, flat.split([grad.numel() for grad in mine]), strict=True):
            weight.grad = grad.view_as(weight)

    def agree(self, step: int) -> None:
        """Check that every process goes on from the same step.

        Raises:
            UserError: some see a resume point that others do not.
        """
        if self.size == 1:
            return
        mine = torch.tensor([step], device=self.accelerator.device)
        steps = self.accelerator.gather(mine).tolist()
        if len(set(steps)) > 1:
            raise UserError(
                f"the processes go on from different steps: {steps}", "keep the store on a disk that all of them share"
            )

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            self.accelerator.wait_for_everyone()
