"""What a study was made from, as it was given: its file, lists and all."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal
from numbers import Real
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from dormouse.registry import PlugIn
from dormouse.studies.axis_names import Place
from dormouse.studies.grid import GridError

SAID: tuple[type, ...] = (str, bool, int, float, type(None), datetime, date)
"""What stands in a study file, beside lists and mappings. Types made of them (a text of numpy, a member of an enum, a
timestamp of pandas) mean what they are made of."""
EXACT: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    datetime: lambda value: datetime.fromisoformat(value.isoformat()),
}


class Given(dict[str, Any]):
    """What a study was made from, and the folder of its file. Studies that say the same are equal, however they were
    written."""

    folder: Path | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Given)

    __hash__ = None  # type: ignore[assignment]


def sayable(value: Any, place: Place = ()) -> Any:
    """What a study in code, or a setting beside it, was given, as what a file would say: lists, mappings, plain values
    in place of those of numpy, pandas and pathlib. Plug-ins and other parts of a study are left as they are.

    Raises:
        GridError: a file cannot say it: a set, say, which has no order. `place` is where it stands.
    """
    if type(value) in SAID or isinstance(value, BaseModel):
        return value
    if isinstance(value, Mapping):
        keys = {key: str.__str__(key) if isinstance(key, str) else key for key in value}
        return {name: sayable(value[key], (*place, str(key))) for key, name in keys.items()}
    if isinstance(value, list | tuple | range):
        return [sayable(inner, (*place, i)) for i, inner in enumerate(value)]
    if hasattr(value, "tolist") and not isinstance(value, type) and type(made := value.tolist()) is not type(value):
        return sayable(made, place)  # numpy, pandas, torch
    if isinstance(value, os.PathLike) and isinstance(path := os.fspath(value), str):
        return path
    if isinstance(value, Real | Decimal) and not isinstance(value, int | float):
        return float(value)
    with suppress(ValueError):  # a time that is none, of pandas
        for known, exact in EXACT.items():
            if isinstance(value, known):
                return exact(value)
    remedy = "give a text, a number, a date, a list or a mapping, or a plug-in of its kind"
    raise GridError(place, f"a {type(value).__name__} is nothing that a study can say", remedy)


def plain(value: Any) -> Any:
    """What a study was given, as plain data for YAML: plug-ins in code by their settings."""
    if isinstance(value, PlugIn):
        return value.spec()
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        return {fields[name].alias or name: plain(getattr(value, name)) for name in value.model_fields_set}
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value
