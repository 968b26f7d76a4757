"""A stranger's model is opened first in a process of its own, once for each content (`limits`).

Its configuration becomes an empty model, its tokenizer reads a few words, its chat template is rendered: all that a
file can make loop, grow or crash, but for the weights. What was sound is remembered by the hash of all files but the
weights, of which it is the names, types and shapes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from dormouse.errors import UserError
from dormouse.lm.checks import check_config
from dormouse.lm.configuration import set_ours
from dormouse.lm.folders import check_folder, describing, headers
from dormouse.lm.limits import Limits, attempt
from dormouse.lm.template import PLAIN_TEMPLATE, check_template
from dormouse.records import ChatSettings

SAFE: Mapping[str, Any] = {"local_files_only": True, "trust_remote_code": False}
LIMITS = Limits()
WORDS = "The year is 2031. ¿Qué? \u0645\u0631 \U0001f642\n\n<|x|>"
MENDS = "check that the folder is whole and its files belong together, and that transformers knows its architecture"


def open_first(folder: Path, chat: ChatSettings, kept: Path) -> None:
    """Open a model in a process with limits, unless it was sound before.

    Args:
        kept: where sound ones are remembered.

    Raises:
        UserError: it cannot be opened within them.
    """
    memo = kept / _key(folder, chat)
    if memo.is_file():
        return
    if fault := attempt(lambda step: _open(folder, chat, step), LIMITS):
        if fault.remedy:
            raise UserError(fault.what, fault.remedy)
        raise UserError(f"the {fault.step} of the model in {folder} cannot be used: {fault.what}", MENDS)
    with contextlib.suppress(OSError):  # what cannot be remembered is opened again
        kept.mkdir(parents=True, exist_ok=True)
        memo.touch()


def _key(folder: Path, chat: ChatSettings) -> str:
    """A hash of all that opening depends on."""
    code = [Path(__file__), *(Path(__file__).parent / f"{name}.py" for name in ("checks", "configuration", "template"))]
    versions = [transformers.__version__, tokenizers.__version__, torch.__version__]
    found = hashlib.sha256(json.dumps([*versions, chat.today, chat.kwargs, headers(check_folder(folder))]).encode())
    for path in [*code, *describing(folder)]:
        name = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
        found.update(f"\0{name}\0".encode())
        found.update(path.read_bytes())
    return found.hexdigest()[:32]


def _open(folder: Path, chat: ChatSettings, step: Callable[[str], None]) -> None:
    step("configuration")
    config = configuration(folder)
    step("tokenizer")
    tokenizer = read_tokenizer(folder)
    tokenizer.decode(tokenizer(WORDS)["input_ids"])
    step("chat template")
    check_template(tokenizer, chat, folder)
    step("architecture")
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    wanted = sum(weight.numel() for weight in model.parameters())
    there = sum(size for _, size in headers(check_folder(folder)).values())
    if wanted > 2 * there + 1_000_000:  # what is missing would be made up, in memory
        raise UserError(
            f"the model in {folder} is to have {wanted:,} weights, and its files hold {there:,}",
            "use the configuration that belongs to the weights",
        )


def configuration(folder: Path) -> Any:
    """The configuration of transformers for the model in a folder, with what is ours set (see `configuration`).

    Raises:
        UserError: no causal language model of that kind is known, it reads its prompt with an encoder, or a window
            holds nothing.
    """
    config = AutoConfig.from_pretrained(folder, **SAFE)
    check_config(config, folder)
    set_ours(config, _attention(config))
    return config


def read_tokenizer(folder: Path) -> Any:
    """The tokenizer in a folder, with a template and a token to pad with, where it has none of its own.

    Raises:
        UserError: it has no token that ends a turn.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder, **SAFE)
    if tokenizer.eos_token_id is None:
        raise UserError(f"the tokenizer in {folder} has no end-of-turn token", "set eos_token in its configuration")
    if tokenizer.chat_template is None:
        tokenizer.chat_template = PLAIN_TEMPLATE
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    return tokenizer


def _attention(config: Any) -> str:
    """The attention to ask for: torch's own where the model has it, else the model's plain one.

    Raises:
        UserError: no causal language model of that kind is known, or it reads its prompt with an encoder.
    """
    name = config.model_type
    if getattr(config, "is_encoder_decoder", False) or type(config) not in AutoModelForCausalLM._model_mapping:
        raise UserError(
            f"'{name}' is no causal language model for transformers {transformers.__version__}",
            "use a decoder-only model (Llama, Qwen, Gemma, GPT, ...); what runs is listed in docs/architectures.md",
        )
    kind: Any = AutoModelForCausalLM._model_mapping[type(config)]
    return "sdpa" if kind._supports_sdpa else "eager"
