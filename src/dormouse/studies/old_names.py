"""A study that uses names of older versions, said in today's: before its grid is expanded, so that arms, axes and
coordinates have the same names in both spellings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from pydantic import BaseModel

from dormouse.measurements.measurement import MeasurementConfig
from dormouse.organisms.spec import OrganismSpec
from dormouse.registry import KINDS, plugins
from dormouse.renamed import both_given, given_twice, renamed_keys, warn_of_old_name
from dormouse.studies.schema import _is_axis, _item, _kinds, _model, _wanted_at

Place = tuple[str | int, ...]


@dataclass
class Modern:
    """A study under today's names."""

    value: dict[str, Any]
    moved: dict[Place, Place] = field(default_factory=dict)
    """Where a renamed key is now -> where it is in what was given."""
    twice: tuple[Place, str] | None = None
    """The first key that is given under both of its names, and what is wrong with that."""
    keys: set[str] = field(default_factory=set)


def modern(given: Mapping[str, Any], chain_model: Any) -> Modern:
    """A study under today's names, with a warning for each old one.

    Args:
        given: the study as plain data, lists and all. What a study cannot say is left as it is.
        chain_model: the annotation of a chain of interventions.
    """
    made = Modern(dict(given))
    for key, wanted in (("organisms", OrganismSpec), ("interventions", chain_model)):
        if isinstance(said := given.get(key), Mapping):
            made.value[key] = {name: _value(one, wanted, (key, name), made) for name, one in said.items()}
    if "measure" in given:
        made.value["measure"] = _value(given["measure"], MeasurementConfig, ("measure",), made)
    if isinstance(groups := given.get("zip"), list | tuple):
        made.value["zip"] = [_axes(group, made.keys) for group in groups]
    return made


def _value(value: Any, wanted: Any, place: Place, made: Modern) -> Any:
    """A value under today's names. `place` is where it is, in these names."""
    if isinstance(value, list | tuple):
        inner = wanted if isinstance(value, list) and _is_axis(value, wanted) else _item(wanted)
        return type(value)([_value(one, inner, (*place, i), made) for i, one in enumerate(value)])
    if not isinstance(value, Mapping):
        return value
    kinds = value["kind"] if _kinds(value, wanted) else [value.get("kind")]
    models = [model for kind in kinds if (model := _model({**value, "kind": kind}, wanted))]
    table: dict[str, str] = {}
    for model in models:
        table |= renamed_keys(model)
        if made.twice is None and (both := given_twice(value, model)):
            made.twice = ((*place, both[0]), both_given(*both))
    found = {}
    for key, one in value.items():
        now = str(table.get(key, key))
        if now != key:
            warn_of_old_name(key, now)
            made.moved[(*place, now)] = (*place, key)
        made.keys.add(now)
        inner = next((_wanted_at(model, now) for model in models if now in _keys(model)), Any)
        found[now] = _value(one, inner, (*place, now), made)
    return found


def _keys(model: type[BaseModel]) -> set[str]:
    return {name for key, info in model.model_fields.items() for name in (key, info.alias) if name}


def _axes(group: Any, keys: set[str]) -> Any:
    """Zipped axes under today's names; a key that the study has is none of the old ones."""
    if not isinstance(group, list | tuple):
        return group
    return [one if not isinstance(one, str) or one.rpartition(".")[2] in keys else name_now(one) for one in group]


def name_now(name: str) -> str:
    """What a coordinate or an axis is called today: `intervention.coverage` is `intervention.trigger_fraction`.

    Warns where the name is an old one.
    """
    head, dot, last = name.rpartition(".")
    now = _every_old_name().get(last, last)
    if now != last:
        warn_of_old_name(last, now)
    return f"{head}{dot}{now}"


def arm_now(name: str) -> str:
    """What an arm of a grid is called today: `sft.coverage-0.1` is `sft.trigger_fraction-0.1`."""
    known = _every_old_name()
    return re.sub(r"\.([a-z_]+)(?=-)", lambda found: f".{known.get(found[1], found[1])}", name)


def _every_old_name() -> Mapping[str, str]:
    return _old_names((OrganismSpec, MeasurementConfig, *(one for kind in KINDS for one in plugins(kind).values())))


@lru_cache(maxsize=8)
def _old_names(models: tuple[type[BaseModel], ...]) -> Mapping[str, str]:
    """Old name -> new name. Asked for every value of every filter, of which a large study has thousands."""
    return {old: new for model in models for old, new in renamed_keys(model).items()}
