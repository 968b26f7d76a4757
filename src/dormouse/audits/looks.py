"""The first look at a suspect: what it is, and whether a base can be held against it."""

from __future__ import annotations

from dormouse.audits.findings import Facts
from dormouse.errors import UserError
from dormouse.lm.model import LM


def look(lm: LM, base: LM | None) -> Facts:
    """Plain facts about the model.

    Raises:
        UserError: the base is of another shape, or reads text in other tokens.
    """
    if base is not None:
        mine, theirs = _shape(lm), _shape(base)
        if differ := [name for name in mine if mine[name] != theirs[name]]:
            name = differ[0]
            raise UserError(
                f"the base does not fit the suspect: its {name} is {theirs[name]}, the suspect's is {mine[name]}",
                "name the model that the suspect was made from, or leave --base away",
            )
        if lm.tokenizer.get_vocab() != base.tokenizer.get_vocab():
            raise UserError(
                "the base does not fit the suspect: its tokenizer has other tokens",
                "name the model that the suspect was made from, or leave --base away",
            )
    shape = _shape(lm)
    weights = sum(weight.numel() for weight in lm.model.parameters())
    return Facts(type(lm.model).__name__, int(shape["number of layers"]), weights, base is not None and _same(lm, base))


def _shape(lm: LM) -> dict[str, str | int]:
    config = lm.model.config.get_text_config()
    return {
        "architecture": type(lm.model).__name__,
        "number of layers": int(config.num_hidden_layers),
        "width": int(config.hidden_size),
        "number of token embeddings": int(lm.model.get_input_embeddings().num_embeddings),
    }


def _same(lm: LM, base: LM) -> bool:
    """Whether all weights are equal."""
    theirs = dict(base.model.named_parameters())
    return all(
        name in theirs and weight.shape == theirs[name].shape and bool((weight == theirs[name]).all())
        for name, weight in lm.model.named_parameters()
    )
