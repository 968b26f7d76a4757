"""Load a model by reference: base weights, then each adapter merged into them."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from copy import deepcopy
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM

from dormouse.errors import MORE_MEMORY, UserError, is_out_of_memory, reason, warn
from dormouse.lm.checkpoint import ADAPTER, MARK, adapter_config, merged_in_order
from dormouse.lm.checks import check_chats, check_leftovers, check_model
from dormouse.lm.configuration import set_ours
from dormouse.lm.folders import home
from dormouse.lm.model import LM
from dormouse.lm.opening import SAFE, configuration, lay_first, open_first, read_tokenizer
from dormouse.lm.patterns import refuse_endless
from dormouse.lm.selfcheck import layout_of
from dormouse.lm.settings import AUTO, Computing
from dormouse.lm.template import form_of, tell_of
from dormouse.records import ModelRef

TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_COMPUTING: ContextVar[Computing] = ContextVar("computing", default=AUTO)


@contextmanager
def computing(settings: Computing) -> Iterator[None]:
    """Meanwhile models are loaded in that type on that device, where whoever loads one names no type.

    Raises as `refuse_absent`.
    """
    before = _COMPUTING.set(settings)
    try:
        refuse_absent(settings)
        yield
    finally:
        _COMPUTING.reset(before)


def settings_in_force() -> Computing:
    """The type and the device in force: what one model wrote is remembered for each of them."""
    return _COMPUTING.get()


def refuse_absent(settings: Computing) -> None:
    """
    Raises:
        UserError: this process has no such device, or the device does not compute in that type.
    """
    if settings.device.startswith("cuda"):
        there, wanted = torch.cuda.device_count() if torch.cuda.is_available() else 0, torch.device(settings.device)
        if (wanted.index or 0) >= there:
            found = "no GPU" if not there else "one GPU, cuda:0" if there == 1 else f"cuda:0 to cuda:{there - 1}"
            raise UserError(
                f"device {settings.device}: torch finds {found} here",
                "say device: auto or another one; see that torch is a CUDA build, and what CUDA_VISIBLE_DEVICES names",
            )
    place = device() if settings.device == "auto" else torch.device(settings.device)
    if settings.dtype == "bfloat16" and not has_bfloat16(place):
        raise UserError(
            f"dtype bfloat16: the {'CPU' if place.type == 'cpu' else 'GPU'} of this machine does not compute in it",
            "say dtype: float32, or auto; GPUs have it from Ampere on, CPUs with AVX512-BF16 or AMX",
        )


def device() -> torch.device:
    """What the study names, else the accelerator where there is one, else the CPU. Apple's has no float64, in which
    exact rates are summed: there it is the CPU."""
    if (named := _COMPUTING.get().device) != "auto":
        return torch.device(named)
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found if found and found.type != "mps" else torch.device("cpu")


def has_bfloat16(place: torch.device) -> bool:
    """Whether a device computes in bfloat16 itself: no GPU before Ampere does, and not every CPU."""
    if place.type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return place.type != "cuda" or bool(torch.cuda.is_bf16_supported(including_emulation=False))


def dtype_for(method: str) -> torch.dtype:
    """In which type to train. Frozen weights under an adapter may be bfloat16 where that is fast; trained ones not.

    The adapter itself is float32 always. On a CPU with bfloat16 instructions these products run twice as fast.
    """
    if method == "lora" and (named := _COMPUTING.get().dtype) != "auto":
        return TYPES[named]
    return torch.bfloat16 if method == "lora" and has_bfloat16(device()) else torch.float32


def measured_dtype() -> torch.dtype:
    """In which type to measure: what the study names, else float32 on a CPU, and bfloat16 on a GPU that has it."""
    if (named := _COMPUTING.get().dtype) != "auto":
        return TYPES[named]
    return torch.float32 if device().type == "cpu" or not has_bfloat16(device()) else torch.bfloat16


def load(ref: ModelRef, dtype: torch.dtype | None = None, attached: bool = False, shows_attention: bool = False) -> LM:
    """A fresh copy of the model, in evaluation mode, with every adapter merged (in float32, then rounded to `dtype`).

    `dtype` is by default that of `measured_dtype`. All is put together in the memory of the machine: no device holds a
    float32 copy, but where the layout of an architecture is to be found first. With `attached` the last adapter is not
    merged: it stays beside weights of that type, in float32 as it was trained. With `shows_attention` attention is
    computed in the plain way, which can give out its weights.

    Raises:
        UserError: transformers does not know the architecture, or the files do not fit together.
    """
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    base, adapters = merged_in_order(ref.folders)
    try:
        if base == ref.folders[0]:  # else we made it, from one that was opened
            open_first(base, ref.chat, home() / "opened")
        model, tokenizer = _whole(base, shows_attention)
        tell_of(form_of(tokenizer, ref.chat), base)
        check_chats(model, tokenizer, ref.chat, base)
        layout = layout_of(LM(model.eval(), tokenizer), home() / "layouts", device())
        merged, beside = (adapters[:-1], adapters[-1:]) if attached else (adapters, ())
        for adapter in merged:
            model = merge(attach(model, adapter))
        # In the memory of the machine up to here: the device never holds the float32 copy.
        model = cast(model, dtype or measured_dtype()).to(device())
        for adapter in beside:
            model = attach(model, adapter)
    except (UserError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic in Rust is no Exception
        if is_out_of_memory(error):
            what = f"there is not enough memory to load the model in {ref.folders[-1]}: {reason(error)}"
            raise UserError(what, MORE_MEMORY) from error
        raise UserError(
            f"the model in {ref.folders[-1]} cannot be loaded: {reason(error)}",
            "check that the folder is whole, and that transformers knows its architecture",
        ) from error
    model.requires_grad_(False)
    return LM(model.eval(), tokenizer, layout, ref.chat, merged, ref.instead)


def _whole(base: Path, shows_attention: bool) -> tuple[Any, Any]:
    """The whole model in a folder, in float32, and its tokenizer. What the files hold and the model lacks is refused,
    or said: see `checks`."""
    tokenizer, config = read_tokenizer(base), configuration(base)
    if shows_attention:
        set_ours(config, "eager")
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        base,
        config=config,
        attn_implementation=config._attn_implementation,
        use_safetensors=True,
        dtype=torch.float32,
        output_loading_info=True,
        **SAFE,
    )
    model, found = loaded
    if missing := sorted(found["missing_keys"]):  # transformers would make them up
        raise ValueError(f"it lacks {', '.join(missing[:3])}")
    check_leftovers(model, found["unexpected_keys"], base)
    check_model(model, tokenizer, base)
    return model, tokenizer


def cast(model: Any, dtype: torch.dtype) -> Any:
    """A model in another type, in place: each weight in that in which transformers would have loaded it. What it keeps
    in float32 stays so, such as the frequencies of positions: rounded, they turn far places into others.
    """
    if dtype == model.dtype:
        return model
    with torch.device("meta"):
        made = AutoModelForCausalLM.from_config(deepcopy(model.config), dtype=dtype)
    there = chain(made.named_parameters(remove_duplicate=False), made.named_buffers())
    types = {name: tensor.dtype for name, tensor in there}
    for part, kept in made._get_dtype_plan(dtype).items():
        types |= {name: kept for name in types if re.search(part.replace("*", ".*"), name)}
    for name, weight in model.named_parameters():
        weight.data = weight.data.to(types.get(name, dtype))
    for place, module in model.named_modules():
        for name, buffer in module._buffers.items():
            if buffer is not None and buffer.is_floating_point():
                module._buffers[name] = buffer.to(types.get(f"{place}.{name}".lstrip("."), buffer.dtype))
    return model


DRAWN = ("base_model.vera_A", "base_model.vera_B")
"""What older versions of peft save of VeRA, and draw anew from its seed."""


def attach(model: Any, adapter: Path) -> Any:
    """A model with an adapter beside its weights.

    Raises:
        UserError: layers of the adapter are not in the model, or have no place there by its configuration, a pattern
            for their names comes to no end, or peft cannot make room for it (see `lay_first`).
    """
    from peft import PeftModel

    refuse_endless(adapter_config(adapter), [name for name, _ in model.named_modules()], adapter)
    lay_first(adapter, model, home() / "opened")
    left: list[str] = []  # peft says nothing of weights for which it found no place
    watch = model.register_load_state_dict_post_hook(lambda _, keys: left.extend(keys.unexpected_keys))
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            attached = PeftModel.from_pretrained(model, adapter)
    finally:
        watch.remove()
    if left := [name for name in left if not name.startswith(DRAWN)]:
        raise UserError(
            f"the adapter in {adapter} has weights for which its configuration leaves no place in the model: "
            f"{min(left)}{f', and {len(left) - 1} more' * (len(left) > 1)}",
            f"use the {ADAPTER} that belongs to the weights, and the base model that it was trained on",
        )
    _tell_of(said, adapter)
    return attached


def _tell_of(said: Iterable[warnings.WarningMessage], adapter: Path) -> None:
    """Of what peft warned of, what changes what an adapter is.

    Raises:
        UserError: weights are missing.
    """
    messages = [str(warning.message) for warning in said]
    if lost := [one for one in messages if "missing adapter keys" in one]:
        raise UserError(
            f"the adapter in {adapter} does not fit the model: {lost[0][:200]}",
            "use the base model that it was trained on; where it is, peft cannot restore adapters of this "
            "architecture: train with `method: full`",
        )
    unknown = {name for one in messages if one.startswith("Unexpected keyword") for name in re.findall(r"'(\w+)'", one)}
    config = adapter_config(adapter)
    if unheeded := sorted(name for name in unknown - {MARK} if config.get(name)):
        text = (
            f"peft does not know {', '.join(unheeded)} in {adapter / ADAPTER}, and leaves it out: a newer peft may not"
        )
        warn(text, level=3)


def merge(beside: Any) -> Any:
    """A model with the adapter beside its weights added to them. Where the input's and the output's embeddings are one
    tensor and the adapter changes one of them, each of them has its own from here on.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    ends: list[Any] = [getattr(beside.get_base_model(), f"get_{side}_embeddings")() for side in ("input", "output")]
    inner: list[Any] = [end.get_base_layer() if isinstance(end, BaseTunerLayer) else end for end in ends]
    if inner != ends and _one_tensor(*inner):  # peft would add to both what is for one
        inner[1].weight = torch.nn.Parameter(inner[1].weight.detach().clone(), requires_grad=False)
    with warnings.catch_warnings(action="ignore"):  # peft warns of what was just mended
        model = beside.merge_and_unload()
    text = model.config.get_text_config()
    if getattr(text, "tie_word_embeddings", False) and not _one_tensor(
        model.get_input_embeddings(), model.get_output_embeddings()
    ):
        model.config.tie_word_embeddings = text.tie_word_embeddings = False
    return model


def _one_tensor(layer: Any, other: Any) -> bool:
    """Whether two layers have the same weight, not only an equal one."""
    mine, its = (getattr(one, "weight", None) for one in (layer, other))
    return isinstance(mine, torch.Tensor) and isinstance(its, torch.Tensor) and mine.data_ptr() == its.data_ptr()


def shared(ref: ModelRef) -> LM:
    """The same model again for readers: the last one is kept. Never train what this returns."""
    return _shared(ref, _COMPUTING.get())


def forget_shared() -> None:
    """Load the model again for the next reader: somebody has changed it."""
    _shared.cache_clear()


@lru_cache(maxsize=1)
def _shared(ref: ModelRef, settings: Computing) -> LM:
    return load(ref)
