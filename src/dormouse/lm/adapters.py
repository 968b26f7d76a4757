"""Adapters that somebody else trained: what one says of itself, and on which model it stands. Imports no torch."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import UnionType
from typing import Any

from dormouse.errors import UserError
from dormouse.files import sha256
from dormouse.lm.checkpoint import ADAPTER, WEIGHTS, tensors_of
from dormouse.lm.configuration import everything, read_config
from dormouse.lm.folders import check_kinds, describing, headers
from dormouse.lm.identity import identity
from dormouse.lm.zoo import ZOO, hub_id

BESIDE = {
    *("PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "ADAPTION_PROMPT", "CPT", "XLORA"),
    *("CARTRIDGE", "LILY", "POLY", "SHADOW"),
}
"""Kinds that are no change of the weights: they stand beside the model, or change with the prompt."""
MORE = {
    "alora_invocation_tokens": "is an activated LoRA, which changes weights from a certain token on",
    "layer_replication": "uses layers of its model several times over (layer_replication)",
    "megatron_config": "is one for Megatron, whose code peft would import (megatron_config)",
}
"""Keys of adapters that are more than a change of weights, where they hold something: what such an adapter is."""
TO_PLAIN = "merge it into its base model where it was trained (peft: merge_and_unload), and name the merged model"
ANOTHER = (
    "name the model that it was trained on with `model:`; if that is the same one under another name, write it into "
)
TASKS = ("SEQ_CLS", "SEQ_2_SEQ_LM", "CAUSAL_LM", "TOKEN_CLS", "QUESTION_ANS", "FEATURE_EXTRACTION")


def _is_number(value: object, kinds: type | UnionType = int) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


def _are_names(value: object) -> bool:
    return (
        value is None or isinstance(value, str) or (isinstance(value, list) and all(isinstance(x, str) for x in value))
    )


def _are_numbers(value: object) -> bool:
    return value is None or (isinstance(value, dict) and all(_is_number(x, int | float) for x in value.values()))


STARTS = re.compile(r"gaussian|orthogonal|eva|olora|corda|loftq|lora_ga|mica|pissa(_niter_\d{1,2})?", re.IGNORECASE)
"""What peft calls the ways in which a LoRA adapter may begin. It begins anew whenever it is loaded."""
REPEATS, MOST_REPEATS = re.compile(r"\w*(niter|_iter|_terms)|depth"), 100
"""Keys that say how often something is done for each matrix, and how often that may be."""


def _is_start(value: object) -> bool:
    return value is None or isinstance(value, bool) or (isinstance(value, str) and bool(STARTS.fullmatch(value)))


REVISION = re.compile(r"(?!.*\.\.)[\w.-]+(/[\w.-]+)*")
TYPES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "peft_type": ("the kind of adapter, such as LORA", lambda value: isinstance(value, str) and bool(value)),
    "task_type": (f"one of {', '.join(TASKS)}, or null", lambda value: value is None or value in TASKS),
    "r": ("a whole number", lambda value: value is None or _is_number(value)),
    "lora_alpha": ("a number", lambda value: value is None or _is_number(value, int | float)),
    "target_modules": ("a text, or a list of names", _are_names),
    "exclude_modules": ("a text, or a list of names", _are_names),
    "modules_to_save": ("a list of names", _are_names),
    "layers_pattern": ("a text, or a list of names", _are_names),
    "rank_pattern": ("a rank for each name", _are_numbers),
    "revision": ("a branch, a tag or a commit", lambda value: value is None or bool(REVISION.fullmatch(str(value)))),
    "alpha_pattern": ("a number for each name", _are_numbers),
    "init_lora_weights": ("true, false or a way to begin that peft has, such as gaussian", _is_start),
}
"""What may stand in an adapter's configuration: in words, and as a function of the value (None: nothing)."""
LONGEST = 200
"""Letters of a name of a base model that are shown."""


def check_adapter(folder: Path) -> dict[str, Any]:
    """What an adapter says of itself, if it is whole, unpickled, and of a kind that is a change of weights.

    Raises:
        UserError: it is not.
    """
    check_kinds(folder)
    try:
        said = read_config(folder / ADAPTER)
    except FileNotFoundError:
        what = f"{folder} holds no adapter: there is no {ADAPTER} in it"
        remedy = "name the folder that peft's save_pretrained wrote; a whole model is named with `model:`"
        raise UserError(what, remedy) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / ADAPTER} cannot be read: {error}", "copy the adapter again") from error
    if not (folder / WEIGHTS).is_file():
        pickled = "its weights are pickled, and a pickle can run code" if list(folder.glob("*.bin")) else "it is empty"
        remedy = "save it as safetensors where you trust it"
        raise UserError(f"the adapter in {folder} has no {WEIGHTS}: {pickled}", remedy)
    _check_types(said, folder)
    kind = said["peft_type"]
    if kind in BESIDE:
        what = f"the adapter in {folder} is of the kind {kind}, which is no change of weights"
        raise UserError(what, "use an adapter that peft can merge: LoRA, DoRA, LoHa, LoKr, OFT, IA3, VeRA, ...")
    if more := next((key for key in MORE if said.get(key)), None):
        raise UserError(f"the adapter in {folder} {MORE[more]}", "use an adapter that peft can merge")
    headers([folder / WEIGHTS])
    if kind == "LORA":
        _check_rank(said, folder)
    return said


def _check_types(said: Mapping[str, Any], folder: Path) -> None:
    """
    Raises:
        UserError: what peft reckons with is no number, or what it takes for names is none.
    """
    for key, (wanted, fits) in TYPES.items():
        if not fits(said.get(key)):
            is_there = f"is {repr(said[key])[:60]}" if key in said else "is missing"
            raise UserError(f"{key} in {folder / ADAPTER} {is_there}", f"it has to be {wanted}: copy the adapter again")
    for key, value in everything(said):
        if REPEATS.fullmatch(key) and _is_number(value, int | float) and value > MOST_REPEATS:
            what = f"{key} in {folder / ADAPTER} is {value:,}, and it is done so often whenever the adapter is loaded"
            raise UserError(what, f"it may be {MOST_REPEATS} at most")


def _check_rank(said: Mapping[str, Any], folder: Path) -> None:
    """
    Raises:
        UserError: a rank is larger than that of any of its matrices, and peft would make room for one that large.
    """
    shapes = tensors_of(folder).items()
    ranks = [shape[0] for name, shape in shapes if re.search(r"\.lora_(embedding_)?A\b", name) and shape]
    told = [said["r"] if said.get("r") is not None else 1, *(said.get("rank_pattern") or {}).values()]
    if min(told) < 1:
        raise UserError(f"{folder / ADAPTER} says that the adapter has rank {min(told)}", "copy the adapter again")
    if ranks and max(told) > max(ranks):
        what = f"{folder / ADAPTER} says that the adapter has rank {max(told):,}, and its matrices have {max(ranks):,}"
        raise UserError(what, "use the configuration that belongs to the weights")


def adapter_key(folder: Path) -> str:
    """The content address of an adapter: of its weights, its configuration, and a tokenizer that lies beside them.

    Raises:
        UserError: it is damaged, pickled, or none.
    """
    check_adapter(folder)
    found = hashlib.sha256()
    for path in (folder / WEIGHTS, *describing(folder)):
        found.update(f"{path.relative_to(folder).as_posix()}:{sha256(path)}\n".encode())
    return found.hexdigest()[:16]


def base_of(adapter: Path) -> str | None:
    """What an adapter's configuration calls its base model: a folder by its full path, else a name as it stands there.

    A relative path is looked for in the adapter's folder and beside it, as folders are moved together, then in the
    working directory.

    Raises:
        UserError: the adapter is damaged, or what it names can only be a folder, and is in none of these places.
    """
    name = _base_name(adapter)
    if name is None:
        return None
    if folder := _base_folder(adapter, name):
        return str(folder)
    if not _of_the_hub(name) and not os.path.exists(os.path.expanduser(name)):
        raise UserError(
            f"the adapter in {adapter} stands on '{_short(name)}', which is no model in its folder, beside it, or in "
            f"the working directory ({Path.cwd()})",
            f"copy that model there, or write its place or its id of the hub into {adapter / ADAPTER} "
            "(base_model_name_or_path); `dormouse audit` takes it with --base",
        )
    revision = check_adapter(adapter).get("revision")
    return f"{name}@{revision}" if revision and name not in ZOO and hub_id(name) else name


def _base_name(adapter: Path) -> str | None:
    name = check_adapter(adapter).get("base_model_name_or_path")
    return name if isinstance(name, str) and name else None


def _base_folder(adapter: Path, name: str) -> Path | None:
    """The folder that an adapter means by the name of its base, if there is one. No name, however odd, raises; one of
    the zoo is never a folder."""
    for place in (adapter, Path(os.path.abspath(adapter)).parent, Path.cwd()) if name not in ZOO else ():
        folder = place / os.path.expanduser(name)
        if any(os.path.isfile(folder / file) for file in ("config.json", ADAPTER)):
            return folder
    return None


def movable(adapter: Path) -> dict[str, Any]:
    """The configuration of an adapter, with the folder of its base by its whole path: so it may be copied elsewhere."""
    config, name = check_adapter(adapter), _base_name(adapter)
    folder = _base_folder(adapter, name) if name else None
    return {**config, "base_model_name_or_path": str(folder.resolve())} if folder else dict(config)


def _of_the_hub(name: str) -> str | None:
    """The id on the hub of what is called so, of a model of the zoo that of its original; None: it is none of these."""
    return ZOO[name].original if name in ZOO else hub_id(name)


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[:LONGEST]}..."


def refuse_other_base(adapter: Path, base: Path, called: str, say: Callable[[str], None] = lambda _: None) -> None:
    """Refuse an adapter of another model, as far as its configuration says on which it was trained.

    Args:
        base: the folder of the model that it is to be laid on; `called` is what the study calls it.
        say: told where nobody can say whether it is the same one.

    Raises:
        UserError: it says that it stands on another one.
    """
    named = _base_name(adapter)
    if named is None:
        return
    here, shown = _base_folder(adapter, named), _short(named)
    mend = f"{ANOTHER}{adapter / ADAPTER} (base_model_name_or_path)"
    other = UserError(f"the adapter in {adapter} was trained on '{shown}', not on '{called}'", mend)
    if here and (here / "config.json").is_file():
        if not (base / "config.json").is_file():
            say(f"the adapter in {adapter} was trained on '{here}'; {called} is not here yet to be compared with it")
        elif here.resolve() != base.resolve() and _content(here) != _content(base):
            raise other
        return
    mine, original = _of_the_hub(named), _of_the_hub(called)
    if mine and original:
        if mine.lower() != original.lower():
            raise other
        return
    say(
        f"the adapter in {adapter} was trained on '{shown}', which is not here to be compared with {called}: it is no "
        "model in its folder, beside it, or in the working directory"
    )


def _content(folder: Path) -> str:
    return identity(folder, remember=False).rpartition("@")[2]


def adapter_text(folder: Path) -> str:
    """What an adapter is, in a few words: `LoRA of rank 8 on q_proj, v_proj`."""
    said = check_adapter(folder)
    kind = {"LORA": "DoRA" if said.get("use_dora") else "LoRA"}.get(said["peft_type"], said["peft_type"])
    rank = f" of rank {said['r']}" if isinstance(said.get("r"), int) else ""
    where = said.get("target_modules")
    layers = f" on {', '.join(sorted(map(str, where)))}" if isinstance(where, list) else ""
    return f"{kind}{rank}{layers}"[:120]
