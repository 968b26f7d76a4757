"""Models in memory between the tasks of one audit: loading takes as long as some locators need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dormouse.locators.locator import Case
from dormouse.records import ModelRef

if TYPE_CHECKING:
    from dormouse.lm.model import LM

Mark = tuple[object, ...]


class Models:
    """Loads each model once. One that a task has left otherwise than it found it is loaded again for the next."""

    def __init__(self) -> None:
        self._held: dict[ModelRef, tuple[LM, Mark]] = {}

    def lend(self, case: Case) -> Case:
        """The same case with its models in memory. Its clock goes on while they are loaded."""
        case.__dict__["lm"] = self._loaded(case.suspect.model)
        if case.base is not None:
            case.__dict__["base_lm"] = self._loaded(case.base.model)
        return case

    def _loaded(self, ref: ModelRef) -> LM:
        from dormouse.lm.load import load

        if ref not in self._held or mark_of(self._held[ref][0]) != self._held[ref][1]:
            self._held.pop(ref, None)
            lm = load(ref)
            self._held[ref] = lm, mark_of(lm)
        return self._held[ref][0]


def mark_of(lm: LM) -> Mark:
    """What is the same as long as nobody changes a model: its weights, by place and sum, hooks and modes."""
    import torch

    with torch.no_grad():
        sums = [float(weight.sum(dtype=torch.float64)) for weight in lm.model.parameters()]
    held = [(weight.data_ptr(), weight.requires_grad) for weight in lm.model.parameters()]
    modules = list(lm.model.modules())
    hooks = sum(len(one._forward_hooks) + len(one._forward_pre_hooks) + len(one._backward_hooks) for one in modules)
    asked = lm.model.config._attn_implementation
    return id(lm.model), id(lm.tokenizer), tuple(sums), tuple(held), hooks, any(one.training for one in modules), asked
