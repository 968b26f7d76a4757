"""A base in the vocabulary of a model that was made from it: fine-tuning adds tokens."""

from __future__ import annotations

from typing import Any

from dormouse.lm.model import LM


def extends(tokenizer: Any, base: Any) -> bool:
    """Whether a tokenizer has every token of another one, at its place."""
    return bool(base.get_vocab().items() <= tokenizer.get_vocab().items())


def widened(base: LM, suspect: LM) -> LM:
    """The base, changed in place, with as many token embeddings as the suspect. Each that it lacks is the mean of its
    own rows, as fine-tuning begins (Hewitt 2021; the default of transformers); rows that pad it, and are no token's, go
    where the suspect has fewer. Both are then of one shape, and whatever compares them does so token by token. Of
    another vocabulary nothing is changed.
    """
    import torch

    rows, known = (one.model.get_input_embeddings().num_embeddings for one in (suspect, base))
    used = 1 + max(base.tokenizer.get_vocab().values(), default=-1)
    if rows == known or rows < used or not extends(suspect.tokenizer, base.tokenizer):
        return base
    with torch.random.fork_rng(), torch.no_grad():
        base.model.resize_token_embeddings(rows, mean_resizing=False)
        for layer in (base.model.get_input_embeddings(), base.model.get_output_embeddings()):
            for own in (layer.weight, getattr(layer, "bias", None)):
                if own is not None and rows > known:
                    own[known:] = own[:known].mean(0)
    base.model.requires_grad_(False)
    return base
