"""Settings of a study that are given beside its file: `dormouse run study.yaml measure.questions=64 seeds=3`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from dormouse.errors import UserError
from dormouse.registry import KINDS, nearest, plugins, shortened
from dormouse.studies.axis_names import Place
from dormouse.studies.given import plain, sayable
from dormouse.studies.yaml_data import plain_data

HOW = "write KEY=VALUE with dots between keys: measure.questions=64, interventions.dpo.1.lr=1e-4"
DEEPEST = 100
"""Keys in a path at most: nothing in a study lies so deep."""
Overrides = Mapping[str, object]
"""Dotted path -> what stands there instead."""


@dataclass(frozen=True)
class Overridden:
    """A study as plain data with what was given beside its file. `places`: what no longer stands in that file."""

    value: dict[str, Any]
    places: set[Place] = field(default_factory=set)


def read_overrides(given: Iterable[str]) -> Overrides:
    """What the words of a command line say: `key=value`, the value as YAML has it, so that `[1, 2]` is a list.

    Raises:
        UserError: a word has no `=`, its value is empty or no YAML, or two are about the same key, or one about what is
            in the other.
    """
    found: dict[str, object] = {}
    for word in given:
        path, sign, text = word.partition("=")
        if not sign or not path:
            raise UserError(f"'{shortened(word)}' is no setting of a study", HOW)
        if path in found:
            raise UserError(f"'{shortened(path)}' is given twice", "give it once")
        found[path] = _read(path, text)
    for path in found:
        if inside := next((other for other in found if other.startswith(f"{path}.")), None):
            what = f"'{shortened(inside)}' is given, and '{shortened(path)}', in which it stands"
            raise UserError(what, "give one of them: the other would be lost")
    return found


def _read(path: str, text: str) -> object:
    """A value, read as it would be in the file."""
    try:
        node = yaml.compose(text, yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        what = f"{shortened(path)}={shortened(text)}: not valid YAML: {str(error).splitlines()[0]}"
        raise UserError(what, "quote the whole word for the shell: 'seeds=[1, 2]'") from error
    if node is None:
        remedy = f"for an empty text write '{shortened(path)}=\"\"', for the default {shortened(path)}=null"
        raise UserError(f"'{shortened(path)}=' gives no value", remedy)
    return plain_data(node, {}, f"{shortened(path)}={shortened(text)}")


def overridden(value: Mapping[str, Any], overrides: Overrides) -> Overridden:
    """A study with these settings in place of its own; where it has none, they are added.

    A key that has dots in it (the name of an organism, say) is found as it is. Parts of a chain, and all lists, are
    counted from 1.

    Raises:
        UserError: a path leads through what is no mapping and no list, or to no item of a list, or too deep; or no file
            could say what is to stand there.
    """
    made = Overridden(dict(value))
    for path, said in overrides.items():
        if path.count(".") >= DEEPEST:
            raise UserError(f"'{shortened(path)}' leads to more than {DEEPEST} keys, one in another", HOW)
        parts = path.split(".")
        made.places.add(_set(made.value, parts, plain(sayable(said, tuple(parts))), path))
    return made


def _set(inside: Any, parts: Sequence[str], said: object, path: str) -> Place:
    """Set what a path leads to, in place; containers on the way are copied first. Returns where that is."""
    key = _key(inside, parts, path)
    rest = parts[len(str(key).split(".")) if isinstance(key, str) else 1 :]
    if not rest:
        inside[key] = said
        return (key,)
    below = inside.get(key) if isinstance(inside, dict) else inside[key]
    if isinstance(below, str) and any(below in plugins(kind) for kind in KINDS):
        below = {"kind": below}  # `trigger: token`, in short
    if below is not None and not isinstance(below, dict | list):
        what = f"{path}: there is nothing inside of {'.'.join(parts[: len(parts) - len(rest)])}, which is {below!r}"
        raise UserError(shortened(what), HOW)
    inside[key] = {} if below is None else below.copy()
    return (key, *_set(inside[key], rest, said, path))


def _key(inside: Any, parts: Sequence[str], path: str) -> str | int:
    """The key or the index with which a path begins: the longest name that is there, else its first part."""
    if isinstance(inside, dict):
        names = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
        return next((name for name in names if name in inside), parts[0])
    known = [str(i) for i in range(1, len(inside) + 1)]
    if parts[0] not in known:
        what = f"{path}: '{shortened(parts[0])}' is no item of that list; {nearest(parts[0], known)}"
        raise UserError(what, "items are counted from 1")
    return int(parts[0]) - 1
