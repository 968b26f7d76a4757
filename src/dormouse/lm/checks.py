"""What a model folder may have wrong that loads without a word and gives wrong numbers, or fails somewhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from dormouse.errors import UserError

WINDOWS = ("sliding_window", "attention_chunk_size")


def check_config(config: Any, folder: Path) -> None:
    """
    Raises:
        UserError: a window of the configuration holds no token.
    """
    text = config.get_text_config()
    for name in WINDOWS:
        window = getattr(text, name, None)
        if window is not None and (not isinstance(window, int) or window < 1):
            raise UserError(
                f"{name} in {folder / 'config.json'} is {str(window)[:20]}: nothing could be seen through it",
                "give the number of tokens, or null for no window",
            )


def check_model(model: Any, tokenizer: Any, folder: Path) -> None:
    """
    Raises:
        UserError: a weight is no finite number, or the tokenizer has ids for which the model has no embedding.
    """
    with torch.no_grad():
        # A sum is finite where all weights are: it takes one pass, and no memory.
        broken = [name for name, weight in model.named_parameters() if not weight.sum(dtype=torch.float32).isfinite()]
    broken = [name for name in broken if not model.get_parameter(name).isfinite().all()]
    if broken:
        raise UserError(
            f"not every weight in {folder} is a finite number ({broken[0]})",
            "the training that made it diverged, or the copy is damaged: use another checkpoint",
        )
    rows = model.get_input_embeddings().num_embeddings
    added = set(tokenizer.added_tokens_decoder)  # a padding token beyond the end does no harm: it is never read
    largest = max((i for i in tokenizer.get_vocab().values() if i not in added), default=0)
    largest = max([largest, *(i for i in (tokenizer.eos_token_id, tokenizer.bos_token_id) if i is not None)])
    if largest >= rows:
        raise UserError(
            f"the tokenizer in {folder} has ids up to {largest}, and the model has {rows} embeddings",
            "use the tokenizer that belongs to the model",
        )
