"""What a model folder may have wrong that loads without a word and gives wrong numbers, or fails somewhere else."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from dormouse.errors import UserError, warn
from dormouse.lm.folders import FLOATS, check_folder, headers
from dormouse.lm.template import ANSWERED, ASKED, SYSTEM, rendered
from dormouse.records import ChatSettings

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


def check_leftovers(model: Any, unexpected: Iterable[str], folder: Path) -> None:
    """See that the model is what its files are. Weights of a kind that the model has, but one more of it (a layer), are
    refused; others (a second head, a vision tower) are said.

    Raises:
        UserError: there are such weights, or some are of a type that no plain weight has.
    """
    own = {name for name, _ in model.named_parameters()}
    kinds = {_kind(name) for name in own}
    left = sorted(unexpected)
    if beyond := [name for name in left if _kind(name) in kinds]:
        raise UserError(
            f"the weights in {folder} have more layers than the model in config.json: {beyond[0]}, and "
            f"{len(beyond) - 1} more",
            "use the configuration that belongs to the weights",
        )
    if left:
        warn(f"{len(left)} weights in {folder} have no place in the model and are not used ({left[0]}, ...)", level=4)
    types = {name: kind for name, (kind, _) in headers(check_folder(folder)).items()}
    if odd := sorted(name for name, kind in types.items() if name in own and kind not in FLOATS):
        raise UserError(
            f"{odd[0]} in {folder} is of type {types[odd[0]]}, as in quantised models",
            "use the model as it was before: dormouse trains and scores weights of 16 or 32 bits",
        )


def _kind(name: str) -> str:
    """The name of a weight without the numbers of its layer."""
    return re.sub(r"\.\d+(?=\.|$)", ".#", name)


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
    ends = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    if not all(isinstance(end, int) for end in (ends if isinstance(ends, list) else [0 if ends is None else ends])):
        raise UserError(
            f"eos_token_id in {folder / 'generation_config.json'} is {str(ends)[:40]}: no id of a token",
            "give a number, or a list of numbers",
        )
    rows = model.get_input_embeddings().num_embeddings
    added = set(tokenizer.added_tokens_decoder)  # one beyond the end does no harm where no chat has it: `check_chats`
    largest = max((i for i in tokenizer.get_vocab().values() if i not in added), default=0)
    largest = max([largest, *(i for i in (tokenizer.eos_token_id, tokenizer.bos_token_id) if i is not None)])
    if largest >= rows:
        raise UserError(
            f"the tokenizer in {folder} has ids up to {largest}, and the model has {rows} embeddings",
            "use the tokenizer that belongs to the model",
        )


def check_chats(model: Any, tokenizer: Any, settings: ChatSettings, folder: Path) -> None:
    """
    Raises:
        UserError: the template shows chats with tokens for which the model has no embedding, as where some were added
            to the tokenizer alone.
    """
    turns = [("system", SYSTEM), ("user", ASKED), ("assistant", ANSWERED)]
    texts = [ASKED]
    for messages in (turns[1:], turns, turns[1:2]):
        with suppress(UserError):  # a template may refuse roles
            texts.append(rendered(tokenizer, messages, settings, answer=messages[-1][0] == "user"))
    rows = model.get_input_embeddings().num_embeddings
    ids = {i for text in texts for i in tokenizer(text)["input_ids"]}
    if beyond := sorted(i for i in ids if i >= rows):
        token = tokenizer.convert_ids_to_tokens(beyond[0])
        raise UserError(
            f"the model in {folder} is shown chats with the token {token!r} ({beyond[0]}), and has {rows} embeddings",
            "use the tokenizer that belongs to the model, or resize the model (resize_token_embeddings) and train it",
        )
