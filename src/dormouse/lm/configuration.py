"""What may come from a stranger's configuration: plain values, of which none says what code is loaded. No torch.

transformers takes the attention, the experts, the quantiser, kernels and file names from `config.json`, and where the
package `kernels` is installed a word such as `some/repo` there is native code that it fetches from the hub and loads.
So a value may be a number, a truth value, a plain word, or a list or a mapping of these: no name of a repository, no
path and no program is one. A few keys are free text that nothing acts on. Keys that choose code by a plain word are
refused by name, or are ours to set (`OURS`; see `set_ours`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dormouse.errors import UserError

BYTES = 10_000_000
"""The longest config.json that is read."""
WORD = re.compile(r"[\w.+ -]{0,200}")
FREE = re.compile(r"\w*name_or_path|_commit_hash|transformers_version|\w+_token|id2label|label2id|license|dormouse")
"""Keys under which any text may stand: nothing loads anything by them. (`dormouse` is our own mark.)"""
CODE = re.compile(
    r"auto_map|custom_\w+|\w*quantization_config|compression_config|\w*kernel_config|use_kernels|fusion_config"
    r"|distributed_config|device_mesh|transformers_weights|adapter_\w*path|\w+_(?:tp|pp|ep|fsdp)_plan|tp_plan|pp_plan"
)
"""Keys that say what code is loaded, or from where."""
OURS = re.compile(r"_?(attn|experts)_implementation(_internal)?")
"""Keys that we set ourselves, whatever the configuration says."""
IMPLEMENTATIONS = (
    "eager",
    "sdpa",
    "flash_attention_2",
    "flash_attention_3",
    "flex_attention",
    "grouped_mm",
    "batched_mm",
)
LAYERS = re.compile(r"(n|num)_(\w+_)?layers?|(en|de)coder_layers")
AT_LEAST_ONE = ("num_hidden_layers", "num_layers", "n_layer", "n_layers")
LARGEST = 10**12
PLAIN_MENDS = "use a model whose configuration transformers itself wrote"


def read_config(path: Path) -> dict[str, Any]:
    """A configuration as plain data; NaN is no number.

    Raises:
        OSError: it cannot be read.
        ValueError: it is too long, nested too deep, or no JSON.
    """
    with path.open("rb") as file:
        raw = file.read(BYTES + 1)
    if len(raw) > BYTES:
        raise ValueError(f"it is longer than {BYTES:,} bytes")
    try:
        found = json.loads(raw.decode("utf-8"), parse_constant=_constant)
        for _ in everything(found):  # as whoever reads it will: some versions of `json` go deeper than Python
            pass
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    return found if isinstance(found, dict) else {}


def _constant(word: str) -> float:
    if word == "NaN":
        raise ValueError("NaN is no number")
    return float(word)


def refuse_code(said: Mapping[str, Any], path: Path, tensors: int) -> None:
    """Refuse a configuration that says what code to load, or a size that its checkpoint cannot have.

    Args:
        tensors: how many the checkpoint holds: a layer has one at least.

    Raises:
        UserError: see above.
    """
    for key, value in everything(said):
        if value in (None, {}, [], ""):
            continue
        if CODE.fullmatch(key):
            raise UserError(*_refused(key, value, path))
        if OURS.fullmatch(key) and any(one not in IMPLEMENTATIONS for one in _words(value)):
            raise UserError(
                f"{key} in {path} names code of its own: {str(value)[:60]}",
                "dormouse never runs a model's code: remove that key; attention and experts are those of transformers",
            )
        if key.endswith("kernel") and isinstance(value, str) and "native" not in value:
            raise UserError(f"{key} in {path} chooses native code: {value[:60]}", "remove that key")
        if isinstance(value, str) and not FREE.fullmatch(key) and not WORD.fullmatch(value):
            raise UserError(f"{key} in {path} is no plain word: {value[:60]!r}", PLAIN_MENDS)
        if isinstance(value, int) and abs(value) > LARGEST:
            raise UserError(f"{key} in {path} is larger than any model's", PLAIN_MENDS)
        if LAYERS.fullmatch(key) and isinstance(value, int | float) and not (key in AT_LEAST_ONE) <= value <= tensors:
            raise UserError(
                f"{key} in {path} is {value}, and the weights there are {tensors} tensors",
                "use the configuration that belongs to the weights",
            )


def _refused(key: str, value: Any, path: Path) -> tuple[str, str]:
    if key == "auto_map":
        return (
            f"the model in {path.parent} brings its own code (auto_map in {path.name})",
            "dormouse never runs a model's code: use a model whose architecture transformers knows",
        )
    if key.endswith("quantization_config"):
        how = _method(value)
        return (
            f"the model in {path.parent} is quantised{how} ({key} in {path.name})",
            "use the model as it was before, or save it dequantised (`model.dequantize()`): dormouse trains and scores "
            "plain weights. An adapter that was trained on the quantised one is laid on the plain one",
        )
    return f"{key} in {path} chooses what code is loaded", "remove that key, or use a model without it"


def _method(value: Any) -> str:
    """By what, and to how many bits, a quantised model says that it is."""
    said = value if isinstance(value, Mapping) else {}
    bits = "4 bits" if said.get("load_in_4bit") else "8 bits" if said.get("load_in_8bit") else ""
    name = str(said.get("quant_method") or "")[:40]
    return f" by {name}{f' to {bits}' if bits else ''}" if name.isprintable() and name else ""


def everything(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every key and its value, at any depth; what is in a list stands under the key of the list, and under FREE keys
    all is free."""
    if isinstance(value, Mapping):
        if key:
            yield key, value
        for name, inner in value.items():
            yield from everything(inner, key if FREE.fullmatch(key) else str(name))
    elif isinstance(value, list):
        for inner in value:
            yield from everything(inner, key)
    else:
        yield key, value


def _words(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, Mapping) else [value]


def set_ours(config: Any, attention: str) -> None:
    """Set what is ours in a configuration of transformers, in the configurations inside it too: `attention`, and for
    experts what transformers takes where nothing is said. RWKV is not to halve weights in place when it is first read,
    which float16 alone needs: adapters are added to them, and they are saved."""
    if hasattr(config, "rescale_every"):
        config.rescale_every = 0
    config._experts_implementation = None
    config._attn_implementation = attention
    for name in config.sub_configs:
        if (inner := getattr(config, name, None)) is not None:
            inner._experts_implementation = None
            inner._attn_implementation = attention
