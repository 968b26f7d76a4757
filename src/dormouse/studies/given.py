"""What a study was made from, as it was given: its file, lists and all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from dormouse.registry import PlugIn


class Given(dict[str, Any]):
    """What a study was made from, and the folder of its file. Studies that say the same are equal, however they were
    written."""

    folder: Path | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Given)

    __hash__ = None  # type: ignore[assignment]


def plain(value: Any) -> Any:
    """What a study was given, as plain data for YAML: plug-ins in code by their settings."""
    if isinstance(value, PlugIn):
        return value.spec()
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        return {fields[name].alias or name: plain(getattr(value, name)) for name in value.model_fields_set}
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | range):
        return [plain(inner) for inner in value]
    return value
