"""Load a model by reference: base weights, then each adapter merged into them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from dormouse.errors import UserError
from dormouse.lm.checkpoint import merged_in_order
from dormouse.lm.checks import check_config, check_model
from dormouse.lm.folders import home
from dormouse.lm.model import LM
from dormouse.lm.selfcheck import layout_of
from dormouse.lm.template import PLAIN_TEMPLATE, check_template, form_of, tell_of
from dormouse.records import ChatSettings, ModelRef


def device() -> torch.device:
    """The accelerator where there is one, else the CPU."""
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found or torch.device("cpu")


def dtype_for(method: str) -> torch.dtype:
    """In which type to train. Frozen weights under an adapter may be bfloat16 where that is fast; trained ones not.

    The adapter itself is float32 always. On a CPU with bfloat16 instructions these products run twice as fast.
    """
    fast = device().type != "cpu" or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if method == "lora" and fast else torch.float32


def measured_dtype() -> torch.dtype:
    """In which type to measure: float32 on a CPU and bfloat16 on a GPU."""
    return torch.float32 if device().type == "cpu" else torch.bfloat16


def load(ref: ModelRef, dtype: torch.dtype | None = None, attached: bool = False, shows_attention: bool = False) -> LM:
    """A fresh copy of the model, in evaluation mode, with every adapter merged (in float32, then rounded to `dtype`).

    `dtype` is by default that of `measured_dtype`. With `attached` the last adapter is not merged: it stays beside
    weights of that type, in float32 as it was trained. With `shows_attention` attention is computed in the plain way,
    which can give out its weights.

    Raises:
        UserError: transformers does not know the architecture, or the files do not fit together.
    """
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    place = device()
    base, adapters = merged_in_order(ref.folders)
    safe: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = _tokenizer(base, ref.chat, safe)
        config = AutoConfig.from_pretrained(base, **safe)
        check_config(config, base)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            base,
            use_safetensors=True,
            dtype=torch.float32,
            attn_implementation="eager" if shows_attention else _attention(config),
            output_loading_info=True,
            **safe,
        )
        model, found = loaded
        if missing := sorted(found["missing_keys"]):  # transformers would make them up
            raise ValueError(f"it lacks {', '.join(missing[:3])}")
        check_model(model, tokenizer, base)
        model = model.to(place).eval()
        layout = layout_of(LM(model, tokenizer), home() / "layouts")
        merged, beside = (adapters[:-1], adapters[-1:]) if attached else (adapters, ())
        for adapter in merged:
            model = _attach(model, adapter).merge_and_unload()
        model = model.to(dtype or measured_dtype())
        for adapter in beside:
            model = _attach(model, adapter)
    except (
        OSError,
        ValueError,
        LookupError,
        ImportError,
        RuntimeError,
        TypeError,
        AttributeError,
        SafetensorError,
    ) as error:
        raise UserError(
            f"the model in {ref.folders[-1]} cannot be loaded: {_reason(error)}",
            "check that the folder is whole, and that transformers knows its architecture",
        ) from error
    model.requires_grad_(False)
    return LM(model.eval(), tokenizer, layout, ref.chat, merged)


def _tokenizer(base: Path, chat: ChatSettings, safe: Mapping[str, Any]) -> Any:
    """The tokenizer in a folder, with a template and a token to pad with, where it has none of its own."""
    tokenizer = AutoTokenizer.from_pretrained(base, **safe)
    if tokenizer.eos_token_id is None:
        raise UserError(f"the tokenizer in {base} has no end-of-turn token", "set eos_token in its configuration")
    if tokenizer.chat_template is None:
        tokenizer.chat_template = PLAIN_TEMPLATE
    check_template(tokenizer, chat, base, home() / "templates")
    tell_of(form_of(tokenizer, chat), base)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    return tokenizer


def _reason(error: Exception) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__


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


def _attach(model: Any, adapter: Path) -> Any:
    from peft import PeftModel

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        attached = PeftModel.from_pretrained(model, adapter)
    # Of the rest nothing matters: the organism marker in adapter_config.json, say, is unknown to peft.
    if lost := [str(warning.message) for warning in said if "missing adapter keys" in str(warning.message)]:
        raise UserError(
            f"the adapter in {adapter} does not fit the model: {lost[0][:200]}",
            "use the base model that it was trained on; where it is, peft cannot restore adapters of this "
            "architecture: train with `method: full`",
        )
    return attached


@lru_cache(maxsize=1)
def shared(ref: ModelRef) -> LM:
    """The same model again for readers: the last one is kept. Never train what this returns."""
    return load(ref)
