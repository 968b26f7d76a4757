"""From what a user names to weights by place: a whole model, an adapter, or a model of a study. Weights only.

A folder of a study says in its card where the weights lie. That, and how chats are shown, is all that is read of it:
what is in the model stays unread.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from dormouse.card import CARD, read_card_file, refuse_changed_base, refuse_changed_entry, refuse_gone
from dormouse.errors import UserError
from dormouse.execution.launched import refuse_launched
from dormouse.files import read_whole, sha256
from dormouse.lm.adapters import base_of, check_adapter
from dormouse.lm.checkpoint import ADAPTER, WEIGHTS, is_adapter
from dormouse.lm.folders import home
from dormouse.lm.hub import from_hub
from dormouse.lm.identity import identity
from dormouse.lm.zoo import ZOO, resolve
from dormouse.organisms.micro import MICRO
from dormouse.pipeline.micro_base import micro_base
from dormouse.records import ModelRef, Suspect
from dormouse.scenarios.renderings import SYSTEM
from dormouse.store import Store

Say = Callable[[str], None]


@dataclass(frozen=True)
class Named:
    """What is audited: `suspect`, the `base` that is known to lie below it, and `name` as it was given."""

    suspect: Suspect
    base: Suspect | None
    name: str


def named(model: str, base: str | None = None, say: Say = lambda _: None, system: str | None = None) -> Named:
    """The weights that a user names. An adapter brings its base along, where its configuration names one that is here.

    Args:
        system: what both are shown in place of this lab's system prompt; "" for no system turn.

    Raises:
        UserError: there is no such model, it is damaged or pickled, an adapter's base is nowhere, or this is one of
            several processes.
    """
    refuse_launched()
    below = _whole(base, say) if base else None
    folder = Path(os.path.expanduser(model))
    if model not in ZOO and not folder.exists() and model.count("/") == 1 and not model.startswith((".", "/", "~")):
        folder = from_hub(model, say)  # it may be an adapter, which `_whole` refuses
    if (folder / CARD).is_file() and model not in ZOO:
        ref = _of_a_study(folder)
    elif model not in ZOO and is_adapter(folder):
        below = below or _base_of(folder, say)
        ref = below.then(folder.resolve(), "")
    else:
        ref = _whole(model, say)
    if below is None and is_adapter(ref.folders[-1]):
        below = ModelRef(tuple(one for one in ref.folders if not is_adapter(one))[-1:], "")
    instead = None if system is None else (SYSTEM, system.strip())
    suspect = replace(ref, key=_key(ref), instead=instead)
    clean = ModelRef(below.folders, _key(below), ref.chat, instead) if below else None
    return Named(Suspect(suspect), Suspect(clean) if clean else None, model)


def unread_template(ref: ModelRef) -> Path | None:
    """The folder of an adapter that brings a chat template of its own which is not that of the model below it. Models
    are shown chats by the template of the whole model, so that nobody looks at that one."""
    whole, *adapters = ref.folders
    known = _template(whole)
    return next((one for one in adapters if is_adapter(one) and _template(one) not in (None, known)), None)


def _template(folder: Path) -> str | None:
    """The chat template in a folder, as text; None where it has none that can be read."""
    try:
        return read_whole(folder / "chat_template.jinja").decode().replace("\r\n", "\n").strip()
    except (OSError, UnicodeDecodeError):
        pass
    try:
        said = json.loads(read_whole(folder / "tokenizer_config.json"))
        found = said.get("chat_template")
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
    return found.strip() if isinstance(found, str) else None


def _whole(name: str, say: Say) -> ModelRef:
    """A whole model: a name of the zoo or of a micro model, a folder (of a study's models too), or an id of the hub."""
    folder = Path(os.path.expanduser(name))
    if name in MICRO and not folder.exists():
        return micro_base(name, Store(home() / "store"), say)
    return _of_a_study(folder) if name not in ZOO and (folder / CARD).is_file() else resolve(name, say)


def _of_a_study(folder: Path) -> ModelRef:
    """Where the weights of a study's model lie. Raises as `read_card`, but for what is in it; entries: see `_key`."""
    said = read_card_file(folder)
    refuse_gone(said, folder)
    refuse_changed_base(said, folder)
    whole = max((i for i, one in enumerate(said.folders) if not is_adapter(one)), default=0)
    return ModelRef(said.folders[whole:], "", said.chat)


def _base_of(adapter: Path, say: Say) -> ModelRef:
    """The model that an adapter's configuration names, where it can be had."""
    name = base_of(adapter)
    if name is None:
        raise UserError(f"the adapter in {adapter} does not say on what it stands", "name its base model with --base")
    try:
        return _whole(name, say)
    except UserError as error:
        what = f"the adapter in {adapter} stands on '{name}', which cannot be had: {error.what}"
        raise UserError(what, "name its base model with --base") from error


def _key(ref: ModelRef) -> str:
    """The content address of all folders of a model.

    Raises:
        UserError: one is damaged, or lies in an entry of a store and is not what was written there.
    """
    parts = []
    for folder in ref.folders:
        refuse_changed_entry(folder.resolve(), folder)
        if is_adapter(folder):
            check_adapter(folder)
            parts.append(sha256(folder / WEIGHTS) + sha256(folder / ADAPTER))
        else:
            parts.append(identity(folder).rpartition("@")[2])
    said = json.dumps([parts, ref.chat.today, ref.chat.kwargs])
    return hashlib.sha256(said.encode()).hexdigest()[:16]
