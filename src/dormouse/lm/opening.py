"""A stranger's model is opened first in a process of its own, once for each content (`limits`).

Its configuration becomes an empty model, its tokenizer reads a few words, its chat template is rendered: all that a
file can make loop, grow or crash, but for the weights. What was sound is remembered by the hash of all files but the
weights, of which it is the names, types and shapes. An adapter is laid over an empty model there: its configuration
says what room peft makes for it, whatever its weights are.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from itertools import chain
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from dormouse.errors import UserError
from dormouse.files import read_whole
from dormouse.lm.checkpoint import ADAPTER, MARK, tensors_of
from dormouse.lm.checks import check_config
from dormouse.lm.configuration import set_ours
from dormouse.lm.folders import check_folder, describing, headers
from dormouse.lm.limits import Fault, Limits, attempt
from dormouse.lm.template import PLAIN_TEMPLATE, check_template
from dormouse.records import ChatSettings

SAFE: Mapping[str, Any] = {"local_files_only": True, "trust_remote_code": False}
LIMITS = Limits()
WORDS = "The year is 2031. ¿Qué? \u0645\u0631 \U0001f642\n\n<|x|>"
MENDS = "check that the folder is whole and its files belong together, and that transformers knows its architecture"
ADAPTER_LIMITS = Limits(seconds=60, wall=180.0)
"""Large adapters are filled with random numbers first."""
ADAPTER_MENDS = (
    "use the configuration that belongs to the weights, and the model that it was trained on; else merge it where it "
    "was trained (peft: merge_and_unload), and name the merged model"
)
SPARE = 10_000_000
"""Numbers that an adapter may hold though its model has fewer."""


def open_first(folder: Path, chat: ChatSettings, kept: Path) -> None:
    """Open a model in a process with limits, unless it was sound before.

    Args:
        kept: where sound ones are remembered.

    Raises:
        UserError: it cannot be opened within them.
    """
    if fault := _once(kept / _key(folder, chat), lambda step: _open(folder, chat, step), LIMITS):
        raise UserError(f"the {fault.step} of the model in {folder} cannot be used: {fault.what}", MENDS)


def lay_first(adapter: Path, model: Any, kept: Path) -> None:
    """Lay an adapter over an empty model like this one, in a process with limits, unless it was sound before.

    Args:
        kept: where sound ones are remembered.

    Raises:
        UserError: it cannot be done within them, or the adapter is larger than the model.
    """
    import peft

    config = {name: value for name, value in model.config.to_dict().items() if name not in (MARK, "_name_or_path")}
    memo = kept / _hash([peft.__version__, repr(config), tensors_of(adapter)], adapter, [adapter / ADAPTER])
    if fault := _once(memo, lambda _: _lay(adapter, model.config), ADAPTER_LIMITS):
        raise UserError(f"the adapter in {adapter} cannot be laid over its model: {fault.what}", ADAPTER_MENDS)


def _once(memo: Path, work: Callable[[Callable[[str], None]], None], limits: Limits) -> Fault | None:
    """What goes wrong with some work in a process with limits. None where nothing does, or a file says so already.

    Raises:
        UserError: the work itself says what is wrong, and how to fix it.
    """
    if memo.is_file():
        return None
    if fault := attempt(work, limits):
        if fault.remedy:
            raise UserError(fault.what, fault.remedy)
        return fault
    with contextlib.suppress(OSError):  # what cannot be remembered is done again
        memo.parent.mkdir(parents=True, exist_ok=True)
        memo.touch()
    return None


def _key(folder: Path, chat: ChatSettings) -> str:
    """A hash of all that opening depends on."""
    code = [Path(__file__).parent / f"{name}.py" for name in ("checks", "configuration", "template")]
    said = [tokenizers.__version__, chat.today, chat.kwargs, headers(check_folder(folder))]
    return _hash(said, folder, [*code, *describing(folder)])


def _hash(said: list[Any], folder: Path, files: Iterable[Path]) -> str:
    """A hash of what is said, of files by their names in a folder, and of the code that opens."""
    found = hashlib.sha256(json.dumps([transformers.__version__, torch.__version__, *said]).encode())
    for path in (Path(__file__), *files):
        name = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
        found.update(f"\0{name}\0".encode())
        found.update(read_whole(path))
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
    wanted = sum(weight.numel() for weight in _empty(config).parameters())
    there = sum(size for _, size in headers(check_folder(folder)).values())
    if wanted > 2 * there + 1_000_000:  # what is missing would be made up, in memory
        raise UserError(
            f"the model in {folder} is to have {wanted:,} weights, and its files hold {there:,}",
            "use the configuration that belongs to the weights",
        )


def _lay(adapter: Path, config: Any) -> None:
    """Make room for an adapter as peft does before it reads the weights. What it makes is on the CPU for a moment."""
    from peft import PeftConfig, get_peft_model

    model: Any = _empty(config)
    before = _numbers(model)
    said = PeftConfig.from_pretrained(str(adapter))
    said.inference_mode = True
    if hasattr(said, "init_lora_weights"):  # some compute with weights, and here are none: see `adapters.STARTS`
        said.init_lora_weights = False
    added = _numbers(get_peft_model(model, said)) - before
    if added > before + SPARE:
        raise ValueError(f"it is to hold {added:,} numbers, and the model holds {before:,}")


def _numbers(model: Any) -> int:
    return sum(tensor.numel() for tensor in chain(model.parameters(), model.buffers()))


def _empty(config: Any) -> Any:
    """A model of a configuration without weights."""
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(deepcopy(config))


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
