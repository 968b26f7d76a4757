"""What the schema of a study wants at a place: one value or a list, and of which kind. So it is known which lists are
axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from dormouse.registry import KINDS, PlugIn, plugins


def _is_axis(value: Any, wanted: Any) -> bool:
    """A list where one thing is wanted; a list of lists where a list of plain values is."""
    if not isinstance(value, list) or wanted is Any:
        return False
    if not _wants_list(wanted):
        return True
    inner = _item(wanted)
    plain = not (_is_model(inner) or _wants_list(inner) or inner is Any)
    return bool(value) and plain and all(isinstance(item, list) for item in value)


def _kinds(value: Mapping[str, object], wanted: Any) -> bool:
    return isinstance(value.get("kind"), list) and any(issubclass(one, PlugIn) for one in _classes(wanted))


def _members(wanted: Any) -> list[Any]:
    """The annotation without Annotated, and the members of a union without None."""
    if get_origin(wanted) is Annotated:
        return _members(get_args(wanted)[0])
    if get_origin(wanted) in (Union, UnionType):
        return [inner for one in get_args(wanted) if one is not NoneType for inner in _members(one)]
    return [wanted]


def _wants_list(wanted: Any) -> bool:
    return any((get_origin(one) or one) in (list, tuple, set, frozenset, Sequence) for one in _members(wanted))


def _item(wanted: Any) -> Any:
    """What the entries of a list are to be."""
    for one in _members(wanted):
        if get_origin(one) in (list, tuple, set, frozenset, Sequence):
            return get_args(one)[0] if get_args(one) else Any
    return Any


def _classes(wanted: Any) -> list[type]:
    return [one for one in _members(wanted) if isinstance(one, type)]


def _is_model(wanted: Any) -> bool:
    return any(issubclass(one, BaseModel) for one in _classes(wanted))


def _model(value: Mapping[str, object], wanted: Any) -> type[BaseModel] | None:
    """The model whose keys a mapping has; None where there is none of that kind."""
    for one in _classes(wanted):
        if issubclass(one, PlugIn):
            return _plugin(one, value.get("kind"))
        if issubclass(one, BaseModel):
            return one
    return None


def _plugin(base: type[PlugIn], name: Any) -> type[BaseModel] | None:
    for kind in KINDS:
        found = plugins(kind)
        if isinstance(name, str) and name in found and issubclass(found[name], base):
            return found[name]
    return None


def _wanted_at(model: type[BaseModel] | None, key: str) -> Any:
    """The annotation of a key; Any where it has none: a list there is no axis, and is refused as what it is."""
    for name, info in model.model_fields.items() if model else ():
        if key in (name, info.alias):
            return Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
    return Any
