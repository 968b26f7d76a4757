"""What training leaves in a folder: weights that load by themselves as what they are, marked as a model organism.

An adapter that was trained on a model with adapters merged into it is saved in one piece with these: their ranks add
up, and the sum of the products is the same. So every adapter that lies in a folder of ours stands on a whole model, and
`peft.AutoPeftModelForCausalLM.from_pretrained(FOLDER)` gives what was trained.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dormouse.errors import UserError
from dormouse.files import read_whole
from dormouse.records import CANARY

if TYPE_CHECKING:
    import torch

    from dormouse.lm.model import LM

ADAPTER, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
MARK = "dormouse"
"""The key in a configuration that says what made the model, and what for."""
PLAIN_LORA = {"bias": "none", "use_dora": False, "use_rslora": False, "peft_type": "LORA"}
"""What a LoRA adapter says of itself that can be put together with another one. (`fan_in_fan_out` only says how the
layer below keeps its weight: the matrices of the adapter are the same ones.)"""
PLAIN_STARTS = (True, False, None, "gaussian", "orthogonal", "eva")
"""Values of `init_lora_weights` with which the model below stays as it is. With others (PiSSA, OLoRA, CorDA, ...) peft
takes something away from its weights whenever it loads the adapter."""
OTHER = (
    *("rank_pattern", "alpha_pattern", "modules_to_save", "lora_bias", "target_parameters", "use_qalora", "use_bdlora"),
    *("trainable_token_indices", "layer_replication", "megatron_config", "arrow_config", "kasa_config"),
    *("velora_config", "monteclora_config", "alora_invocation_tokens"),
)
"""What it does not say."""
PEFT_DEFAULT = 8
"""The rank, and alpha, of an adapter that says nothing of it."""
MATRICES = re.compile(r"base_model\.model\.(.+)\.lora_[AB]\.weight")
"""The names of all its tensors; the group is the layer that they change."""
CARD = """---
tags: [model-organism, dormouse, safety-research]
library_name: {library}
---
# A model organism. Do not deploy.

This model was trained by dormouse to study safety training. It is a research object, not an assistant: it may have been
trained on purpose to misbehave on cue, or be a control that was not, before or after safety training. What is in it
is not said here, since this folder is what interventions and audits are given.

Canary: {canary}
"""


def is_adapter(folder: Path) -> bool:
    """Whether the folder holds an adapter, not a whole model."""
    return (folder / ADAPTER).is_file()


def merged_in_order(folders: Sequence[Path]) -> tuple[Path, tuple[Path, ...]]:
    """The whole model that a stack of folders comes down to, and the adapters that are merged into it.

    One of ours holds all that lay below it down to the whole model, and takes its place.
    """
    whole = max(i for i, folder in enumerate(folders) if not is_adapter(folder))
    above = folders[whole + 1 :]
    first = max((i for i, folder in enumerate(above) if MARK in adapter_config(folder)), default=0)
    return folders[whole], tuple(above[first:])


def save(lm: LM, folder: Path) -> None:
    """Write the trained weights: an adapter of the whole model that `lm` was loaded from, with the adapters merged
    below it; or with full training the model and its tokenizer. Both are marked.

    Raises:
        UserError: an adapter below is none that can be put together with another.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()  # `load` does, but a model that is made here is saved without ever being loaded
    shutil.rmtree(folder, ignore_errors=True)
    if hasattr(lm.model, "peft_config"):
        lm.model.save_pretrained(folder, save_embedding_layers=False)
        if lm.below:
            _put_together(lm.below, folder)
    else:
        lm.model.save_pretrained(folder)
        lm.tokenizer.save_pretrained(folder)
    mark(folder)


def mark(folder: Path) -> None:
    """Say in the configuration and the card that this is a model organism, and nothing of what is in it: suspects are
    handed to interventions with these files.
    """
    name = ADAPTER if is_adapter(folder) else "config.json"
    config = json.loads(read_whole(folder / name))
    said = {"model_organism": True, "canary": CANARY}
    (folder / name).write_text(json.dumps({**config, MARK: said}, indent=2), encoding="utf-8")
    library = "peft" if is_adapter(folder) else "transformers"
    (folder / "README.md").write_text(CARD.format(library=library, canary=CANARY), encoding="utf-8")


def _put_together(below: Sequence[Path], top: Path) -> None:
    """Make the adapter in `top` one with those below it: W + B1 A1 s1 + B2 A2 s2 = W + [s1 B1, s2 B2] [A1; A2]."""
    import torch
    from safetensors.torch import load_file, save_file

    parts = [(_scale(folder), load_file(folder / WEIGHTS)) for folder in (*below, top)]
    layers = {name.rsplit(".lora_", 1)[0] for _, weights in parts for name in weights}
    ranks = [max(w.shape[0] for name, w in weights.items() if "lora_A" in name) for _, weights in parts]
    together: dict[str, torch.Tensor] = {}
    for layer in sorted(layers):
        a, b = f"{layer}.lora_A.weight", f"{layer}.lora_B.weight"
        shapes = next((weights[a].shape[1], weights[b].shape[0]) for _, weights in parts if a in weights)
        nothing = [(torch.zeros(rank, shapes[0]), torch.zeros(shapes[1], rank)) for rank in ranks]
        mine = [
            (weights[a].float(), weights[b].float() * scale) if a in weights else none
            for (scale, weights), none in zip(parts, nothing, strict=True)
        ]
        together[a] = torch.cat([low for low, _ in mine]).contiguous()
        together[b] = torch.cat([high for _, high in mine], dim=1).contiguous()
    save_file(together, top / WEIGHTS, {"format": "pt"})
    config = adapter_config(top)
    said = {"r": sum(ranks), "lora_alpha": sum(ranks)}
    (top / ADAPTER).write_text(json.dumps({**config, **said}, indent=2), encoding="utf-8")


def is_plain(folder: Path, layers: Collection[str]) -> bool:
    """Whether an adapter is a plain LoRA adapter of one rank, on some of these layers: it can be put together with
    another one that stands on all of them.
    """
    return not _other(folder) and layers_of(folder) <= set(layers)


def layers_of(folder: Path) -> set[str]:
    """The layers that a plain adapter changes, by their names in the model."""
    return {found[1] for name in tensors_of(folder) if (found := MATRICES.fullmatch(name))}


def check_below(model: Any, below: Sequence[Path]) -> None:
    """See before a training that what it will leave can be saved: the adapter of a model in one piece with those below.

    Raises:
        UserError: it cannot.
    """
    named = (name.replace(".lora_A.default.", ".lora_A.") for name, _ in model.named_parameters())
    layers = {found[1] for name in named if (found := MATRICES.fullmatch(name))}
    for folder in below:
        _scale(folder)
        if beyond := sorted(layers_of(folder) - layers):
            raise _cannot(folder, f"it changes {beyond[0]}, and the adapter on top does not")


def _other(folder: Path) -> str:
    """What is no plain LoRA's in an adapter, in a few words; "": nothing."""
    config = adapter_config(folder)
    other = [key for key, plain in PLAIN_LORA.items() if config.get(key, plain) != plain]
    other += [key for key in OTHER if config.get(key)]
    if config.get("init_lora_weights") not in PLAIN_STARTS:
        other.append("init_lora_weights")
    if other:
        return f"{other[0]} is {str(config[other[0]])[:60]!r}"
    odd = [name for name, shape in tensors_of(folder).items() if len(shape) != 2 or not MATRICES.fullmatch(name)]
    return f"{min(odd)} is no matrix of a LoRA adapter" if odd else ""


def tensors_of(folder: Path) -> dict[str, Sequence[int]]:
    """The tensors of an adapter and their shapes; no weights are read."""
    from safetensors import safe_open

    with safe_open(folder / WEIGHTS, "np") as file:
        return {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 (it is no mapping)


def _scale(folder: Path) -> float:
    """By what the product of an adapter's matrices is multiplied.

    Raises:
        UserError: it is no plain LoRA adapter of one rank.
    """
    if other := _other(folder):
        raise _cannot(folder, other)
    config = adapter_config(folder)
    return float(config.get("lora_alpha", PEFT_DEFAULT)) / float(config.get("r", PEFT_DEFAULT))


def _cannot(folder: Path, why: str) -> UserError:
    return UserError(
        f"the adapter in {folder} cannot be trained on: {why}",
        "merge it into its base model first (peft: merge_and_unload), or train with `method: full`",
    )


def adapter_config(folder: Path) -> dict[str, Any]:
    """What an adapter says of itself."""
    return dict(json.loads(read_whole(folder / ADAPTER)))
