"""Models in memory between the tasks of one audit: loading takes as long as some locators need."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

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
            case.__dict__["base_lm"] = self._loaded(case.base.model, case)
        return case

    def _loaded(self, ref: ModelRef, against: Case | None = None) -> LM:
        from dormouse.lm.load import load
        from dormouse.lm.rounded import held_against

        if ref not in self._held or mark_of(self._held[ref][0]) != self._held[ref][1]:
            self._held.pop(ref, None)
            lm = load(ref) if against is None else held_against(ref, against.lm, against.suspect.model)
            self._held[ref] = lm, mark_of(lm)
        return self._held[ref][0]


def mark_of(lm: LM) -> Mark:
    """What is the same as long as nobody changes a model: its weights and buffers, by place and sum, hooks and modes,
    its settings, and how its tokenizer reads and shows a text."""
    import torch

    with torch.no_grad():
        held = [
            (float(one.sum(dtype=torch.float64)), one.data_ptr(), one.requires_grad)
            for one in chain(lm.model.parameters(), lm.model.buffers())
        ]
    modules = list(lm.model.modules())
    hooks = sum(len(one._forward_hooks) + len(one._forward_pre_hooks) + len(one._backward_hooks) for one in modules)
    settings = [repr(one and one.to_dict()) for one in (lm.model.config, lm.model.generation_config)]
    asked = lm.model.config._attn_implementation
    modes = (hooks, any(one.training for one in modules), asked, lm.chat)
    return id(lm.model), tuple(held), modes, tuple(settings), _reads(lm.tokenizer)


def _reads(tokenizer: Any) -> Mark:
    """What of a tokenizer others rely on. Its rules are left out: a large one takes a second to write down."""
    sides = tokenizer.padding_side, tokenizer.truncation_side, tokenizer.model_max_length
    special = repr(tokenizer.special_tokens_map), repr(tokenizer.added_tokens_decoder), len(tokenizer)
    start = tuple(tokenizer("a")["input_ids"])
    return id(tokenizer), repr(tokenizer.chat_template), sides, special, start
