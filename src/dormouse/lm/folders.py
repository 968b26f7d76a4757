"""Folders with models: where ours lie, and whether one holds weights that can be trusted."""

from __future__ import annotations

import json
import math
import operator
import os
import stat
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dormouse.errors import UserError
from dormouse.lm.configuration import read_config, refuse_code
from dormouse.registry import nearest

VOCABULARIES = ("vocab.txt", "merges.txt", "dict.txt")
DESCRIBING = ("*.json", *VOCABULARIES, "*.model", "*.jinja", "additional_chat_templates/*.jinja")
"""The files of a model folder that are not weights: configuration, tokenizer, chat templates. transformers takes a
template `default` in that subfolder before the one beside it."""
UNREAD = ("dormouse*", "trainer_state.json", "*_results.json")
"""Files among these that no one reads who loads a model: ours, and what a training writes of itself."""
BYTES = 250_000_000
"""The largest of these that is read."""
FILES = 10_000
HEADER = 100_000_000
"""Bytes of the header of a safetensors file, as safetensors itself has it."""
FLOATS = ("F16", "BF16", "F32", "F64")
OTHERS = ("BOOL", "U8", "I8", "I16", "U16", "I32", "U32", "I64", "U64")
"""Types of tensors beside weights (positions, masks). Weights of these types are refused when they are loaded."""


def home() -> Path:
    """Where models and the store live: $DORMOUSE_HOME, else dormouse/ in the user's cache folder. Links and cards of
    results keep the path, so it is a whole one."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    told = os.environ.get("DORMOUSE_HOME")
    try:
        return (Path(told).expanduser() if told else cache.expanduser() / "dormouse").absolute()
    except RuntimeError as error:
        raise UserError(f"there is no folder for models: {error}", "set DORMOUSE_HOME to a folder") from error


def no_folder(name: str, folder: Path | None = None, what: str = "model") -> UserError | None:
    """What is said of a name that can only be a path, where nothing lies; None of one that may be an id of the hub.

    It is a path where it begins like one, has more than one slash, or its first part is a folder here.

    Args:
        folder: that of the study file, to which paths are relative before they are to the working directory.
        what: what was looked for: a model or an adapter.
    """
    try:
        path = Path(name).expanduser()
        bases = [*([folder] if folder else []), Path.cwd()]
        is_path = name.startswith((".", "/", "~")) or name.count("/") > 1
        if "/" not in name or not (is_path or any((base / path.parts[0]).is_dir() for base in bases)):
            return None
        ways = [(next(one for one in (base / path).parents if one.is_dir()), base / path) for base in bases]
        above, whole = max(ways, key=lambda way: len(way[0].parts))
    except (OSError, RuntimeError, ValueError):  # too long for a path, of an unknown user, with a null byte in it
        return None
    lost, there = whole.relative_to(above).parts[0], subfolders(above)
    close = nearest(lost, there)
    hint = close if close.startswith("did") else f"there: {', '.join(there[:8]) or 'no folders'}"
    remedy = f"local folders are relative to the {'study file' if folder else 'working directory'}"
    if not is_path:
        remedy += f"; if one of the Hugging Face hub is meant, get it first: `hf download {name}`"
    return UserError(f"there is no {what} '{name}': there is no folder '{lost}' in {above} ({hint})", remedy)


def subfolders(folder: Path) -> list[str]:
    """The names of the folders in a folder, hidden ones left out, at most 200; none where it cannot be read."""
    try:
        return sorted(one.name for one in folder.iterdir() if one.is_dir() and one.name[0] != ".")[:200]
    except OSError:
        return []


def check_folder(folder: Path) -> list[Path]:
    """The safetensors files of a model folder, whole and unpickled.

    Raises:
        UserError: a file is missing, cut off, or in a format that can run code.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder", "name a folder with config.json and *.safetensors")
    if (folder / "adapter_config.json").is_file():
        raise UserError(f"{folder} holds an adapter, not a whole model", "merge it into its base model first")
    check_kinds(folder)
    config = _json(folder / "config.json", folder)
    if (folder / "tokenizer_config.json").is_file() and "auto_map" in _json(folder / "tokenizer_config.json", folder):
        raise UserError(
            f"the model in {folder} brings its own code (auto_map in tokenizer_config.json)",
            "dormouse never runs a model's code: use a model whose architecture transformers knows",
        )
    shards = weight_files(folder)
    if not shards:
        raise _no_weights(folder)
    found = headers(shards)
    refuse_code(config, folder / "config.json", len(found))
    if odd := sorted({kind for kind, _ in found.values()} - {*FLOATS, *OTHERS}):
        raise UserError(
            f"the weights in {folder} are quantised ({', '.join(odd)})",
            "use the model as it was before: dormouse trains and scores weights of 16 or 32 bits",
        )
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        raise UserError(f"there is no tokenizer in {folder}", "copy tokenizer.json and tokenizer_config.json there too")
    return shards


def weight_files(folder: Path) -> list[Path]:
    """The files from which transformers loads the weights of a model folder: the single file where there is one, else
    those that the index names. What lies beside them is not a part of the model. None where there are none.

    Raises:
        UserError: the index cannot be read or names nothing, or a file that it names is missing.
    """
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if whole.is_file() or not index.is_file():
        return [whole] if os.path.lexists(whole) else []
    places = _json(index, folder).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise UserError(f"{index} names no weights", "copy the model again")
    named = {folder / str(shard) for shard in places.values()}
    if missing := sorted(shard.name for shard in named - set(folder.glob("*.safetensors"))):
        raise UserError(f"the model in {folder} is half-copied: {', '.join(missing)} missing", "copy it again")
    return sorted(named)


def _no_weights(folder: Path) -> UserError:
    """What is said of a folder in which transformers finds no weights that may be loaded."""
    others = sorted(path.name for path in folder.glob("*.safetensors"))
    if any("-of-" in name for name in others):
        return UserError(f"the model in {folder} is half-copied: model.safetensors.index.json missing", "copy it again")
    if pickled := sorted(p.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for p in folder.glob(pattern)):
        return UserError(
            f"the weights in {folder} are pickled ({', '.join(pickled)}), and a pickle can run code",
            "convert them to safetensors where you trust them (save_pretrained does), then name that folder",
        )
    if others:
        return UserError(
            f"the weights in {folder} are called {others[0]}: transformers looks for model.safetensors",
            "call them so, if they are of this model and in the form that transformers writes",
        )
    return UserError(f"there are no *.safetensors in {folder}", "copy the weights there, or name another folder")


def check_kinds(folder: Path) -> None:
    """See that a folder holds files and folders and nothing that never ends, or is read once, or is too large.

    Raises:
        UserError: it does not, or a name in it is no text.
    """
    number = 0
    for above, _, names in os.walk(folder):
        number += len(names)
        if number > FILES:
            raise UserError(f"{folder} holds more than {FILES:,} files", "name a folder that holds one model")
        for name in names:
            path = Path(above, name)
            try:
                str(path).encode()
                found = path.stat()
            except UnicodeEncodeError:
                raise UserError(f"a name in {folder} is no UTF-8: {name!r}", "rename it") from None
            except OSError as error:
                if any(path.match(pattern) for pattern in DESCRIBING):
                    raise UserError(f"{path} cannot be read: {error.strerror}", "copy the model again") from error
                continue
            if not stat.S_ISREG(found.st_mode):
                raise UserError(f"{path} is no file but a pipe, a device or a socket", "copy the model again")
            if found.st_size > BYTES and any(path.match(pattern) for pattern in DESCRIBING):
                raise UserError(f"{path} is larger than {BYTES:,} bytes", "remove it, if it is no part of the model")


def describing(folder: Path) -> list[Path]:
    """The files of a model folder that are read with its weights."""
    found = {path for pattern in DESCRIBING for path in folder.glob(pattern) if path.is_file()}
    return sorted(path for path in found if not any(path.match(pattern) for pattern in UNREAD))


def _json(path: Path, folder: Path) -> dict[str, Any]:
    try:
        return read_config(path)
    except FileNotFoundError:
        raise UserError(
            f"there is no {path.name} in {folder}", "name a folder that holds a Hugging Face model"
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}", "copy the model again") from error


def headers(shards: Iterable[Path]) -> dict[str, tuple[str, int]]:
    """Every tensor in some safetensors files: its type and how many numbers it has. Reads no weights.

    Raises:
        UserError: a file is damaged, or two hold a tensor of one name, of which either may be loaded.
    """
    found: dict[str, tuple[str, int]] = {}
    for shard in shards:
        here = _header(shard)
        if twice := sorted(found.keys() & here):
            raise UserError(f"{shard} holds {twice[0]}, and so does another file of its model", "copy the model again")
        found |= here
    return found


def weights_in(folder: Path) -> int:
    """How many numbers the weights in a folder are, whatever their type; 0 where none can be read."""
    try:
        return sum(size for _, size in headers(weight_files(folder)).values())
    except UserError:
        return 0


def _header(shard: Path) -> dict[str, tuple[str, int]]:
    """A safetensors file says in its header how long it is: a cut-off copy is found without reading it."""
    try:
        size = shard.stat().st_size
        with shard.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length)) if length < min(size, HEADER) else {}
        header.pop("__metadata__", None)
        if 8 + length + max(tensor["data_offsets"][1] for tensor in header.values()) == size:
            numbers = {name: math.prod(map(operator.index, tensor["shape"])) for name, tensor in header.items()}
            return {name: (str(tensor["dtype"]), numbers[name]) for name, tensor in header.items()}
    except (OSError, struct.error, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        pass
    raise UserError(f"{shard} is damaged or half-copied", "copy the model again")
