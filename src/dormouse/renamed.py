"""Keys of study files that had another name once. The old one still works, with a warning that names the new one.

    trigger_fraction: Annotated[float, Was("coverage")] = 0.0

`OldKeys` reads them wherever a model is made; `dormouse.studies.old_names` before a grid is expanded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, model_validator
from pydantic_core import PydanticCustomError

from dormouse.errors import warn


@dataclass(frozen=True)
class Was:
    """Beside the type of a field: what its key was called in older versions."""

    name: str


class OldKeys(BaseModel):
    """A model that reads its keys by their old names too."""

    @model_validator(mode="before")
    @classmethod
    def _by_old_names(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        if twice := given_twice(given, cls):
            raise PydanticCustomError("renamed", "{said}", {"at": twice[:1], "said": both_given(*twice)})
        for old, new in renamed_keys(cls).items():
            if old in given:
                warn_of_old_name(old, new)
        return with_new_keys(given, cls)


def renamed_keys(model: type[BaseModel]) -> dict[str, str]:
    """Old key -> the key that a model has now."""
    return {
        one.name: field.alias or name
        for name, field in model.model_fields.items()
        for one in field.metadata
        if isinstance(one, Was)
    }


def with_new_keys(given: Mapping[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """What a model is given, under the keys that it has now, in the same order."""
    known = renamed_keys(model)
    return {known.get(key, key): value for key, value in given.items()}


def given_twice(given: Mapping[str, Any], model: type[BaseModel]) -> tuple[str, str] | None:
    """The old and the new name of a key that is given under both."""
    return next(((old, new) for old, new in renamed_keys(model).items() if old in given and new in given), None)


def both_given(old: str, new: str) -> str:
    """What is wrong where a key is given under both names."""
    return f"'{old}' is the old name of '{new}', and both are given"


def warn_of_old_name(old: str, new: str) -> None:
    """Say that a name is old; Python prints the same warning once."""
    warn(f"'{old}' is now called '{new}': it means the same")
