"""Folders with models: where ours lie, and whether one holds weights that can be trusted."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

from pydantic import JsonValue

from dormouse.errors import UserError

DESCRIBING = ("*.json", "*.txt", "*.model", "*.jinja")
"""The files of a model folder that are not weights: configuration, tokenizer, chat template."""


def home() -> Path:
    """Where models and the store live: $DORMOUSE_HOME, else dormouse/ in the user's cache folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    told = os.environ.get("DORMOUSE_HOME")
    try:
        return Path(told).expanduser() if told else cache.expanduser() / "dormouse"
    except RuntimeError as error:
        raise UserError(f"there is no folder for models: {error}", "set DORMOUSE_HOME to a folder") from error


def check_folder(folder: Path) -> list[Path]:
    """The safetensors files of a model folder, whole and unpickled.

    Raises:
        UserError: a file is missing, cut off, or in a format that can run code.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder", "name a folder with config.json and *.safetensors")
    if (folder / "adapter_config.json").is_file():
        raise UserError(f"{folder} holds an adapter, not a whole model", "merge it into its base model first")
    for name in ("config.json", "tokenizer_config.json"):
        wanted = name == "config.json" or (folder / name).is_file()
        if wanted and "auto_map" in _json(folder / name, folder):
            raise UserError(
                f"the model in {folder} brings its own code (auto_map in {name})",
                "dormouse never runs a model's code: use a model whose architecture transformers knows",
            )
    shards = sorted(folder.glob("*.safetensors"))
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        places = _json(index, folder).get("weight_map")
        named = {folder / str(shard) for shard in places.values()} if isinstance(places, dict) else set()
        if missing := sorted(shard.name for shard in named - set(shards)):
            raise UserError(f"the model in {folder} is half-copied: {', '.join(missing)} missing", "copy it again")
        shards = sorted(named)
    elif any("-of-" in shard.name for shard in shards):
        raise UserError(f"the model in {folder} is half-copied: {index.name} missing", "copy it again")
    if not shards:
        pickled = sorted(p.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for p in folder.glob(pattern))
        if pickled:
            raise UserError(
                f"the weights in {folder} are pickled ({', '.join(pickled)}), and a pickle can run code",
                "convert them to safetensors where you trust them (save_pretrained does), then name that folder",
            )
        raise UserError(f"there are no *.safetensors in {folder}", "copy the weights there, or name another folder")
    for shard in shards:
        _check_whole(shard)
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        raise UserError(f"there is no tokenizer in {folder}", "copy tokenizer.json and tokenizer_config.json there too")
    return shards


def _json(path: Path, folder: Path) -> dict[str, JsonValue]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"there is no {path.name} in {folder}", "name a folder that holds a Hugging Face model"
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}", "copy the model again") from error
    return found if isinstance(found, dict) else {}


def _check_whole(shard: Path) -> None:
    """A safetensors file says in its header how long it is: a cut-off copy is found without reading it."""
    try:
        size = shard.stat().st_size
        with shard.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length)) if length < size else {}
        end = 8 + length + max(t["data_offsets"][1] for name, t in header.items() if name != "__metadata__")
        whole = end == size
    except (OSError, struct.error, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise UserError(f"{shard} is damaged or half-copied", "copy the model again")
