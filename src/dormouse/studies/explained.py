"""What is wrong with a study, in plain words: whether it was read from a file or made in code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from dormouse.errors import UserError
from dormouse.registry import KINDS, message
from dormouse.studies.axis_names import Place, spoken
from dormouse.studies.claim_spec import Gate
from dormouse.studies.grid import LONGEST, GridError, expand, written
from dormouse.studies.seeds import DESIGN, LIST, SeedDesign

KINDS_SHOWN = "`dormouse list` shows every kind, with its keys"

NAMES = "a name is letters, digits, `_`, `.` and `-`, {} at most, and begins with a letter or a digit"
PATTERNS = {
    r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$": NAMES.format(64),
    rf"^[A-Za-z0-9][A-Za-z0-9_.-]{{0,{LONGEST - 1}}}$": NAMES.format(LONGEST),
    r"^[!-~]+( [!-~]+)*$": "plain ASCII signs only, with single blanks between them; for any other text use "
    "{kind: text, insert: ...}",
    r"^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?$": "a dataset of the Hugging Face hub is ORG/NAME, or NAME alone; a "
    "file or a folder is named with `file`",
}
"""What is said in place of the patterns of our keys. They stand here, and not beside the keys: what a key is called
when it is wrong is no part of what a stage makes, whose hash it would move."""
UNKNOWN_KIND = re.compile(rf"^there is no ({'|'.join(KINDS)}) called ")
OF_YOUR_OWN = "one of your own is known with --plugin FILE, or with DORMOUSE_PLUGINS"


def in_plain_words(said: str) -> str:
    """What is wrong with a key: without patterns, and with a word about plug-ins where a kind is not known."""
    for pattern, words in PATTERNS.items():
        said = said.replace(f"string should match pattern '{pattern}'", words)
    return f"{said}; {OF_YOUR_OWN}" if UNKNOWN_KIND.match(said) else said


@dataclass(frozen=True)
class Fault:
    """What is wrong, and where in what was given."""

    place: Place
    said: str

    def __str__(self) -> str:
        path = spoken(tuple(part for part in self.place if part not in ("[key]", Gate.__name__)))
        return f"{path}: {self.said}" if path else self.said


def first_fault(error: ValidationError, root: type[BaseModel], given: Mapping[str, Any], chain: Any) -> Fault:
    """The first thing that is wrong. A key that means nothing goes before what is missing: it may be what is missing,
    misspelt.

    Args:
        root: the model of a study, and `chain` the annotation of a chain of interventions.
        given: the study, lists and all, under the keys of today.
    """
    first = min(error.errors(), key=lambda one: one["type"] == "missing")
    moved: Mapping[Place, Place] = {}
    with suppress(GridError):
        moved = expand(given, chain).moved
    loc = (part for part in first["loc"] if part not in (LIST, DESIGN))
    at = written((*loc, *((first.get("ctx") or {}).get("at") or ())), moved)
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return Fault(at, in_plain_words(message(first, _model_at(first["loc"], root))) + more)


def refused(error: ValidationError, root: type[BaseModel], given: Mapping[str, Any], chain: Any) -> UserError:
    """What is said of a study that was made in code (see `first_fault`)."""
    return UserError(str(first_fault(error, root, given, chain)), KINDS_SHOWN)


def _model_at(loc: tuple[str | int, ...], root: type[BaseModel]) -> type[BaseModel]:
    """The model whose keys were expected at a place (plug-ins explain themselves)."""
    model: Any = root
    parts = iter(loc[:-1])
    for part in parts:
        field = model.model_fields.get(str(part)) if isinstance(model, type) and issubclass(model, BaseModel) else None
        if part == DESIGN:
            model = SeedDesign
        if field is None:
            continue
        model = next((one for one in get_args(field.annotation) if one is Gate), field.annotation)
        if get_origin(model) is dict:
            next(parts, None)  # a name that the user chose, not a field
            model = get_args(model)[1]
        elif get_origin(model) is tuple and isinstance(get_args(model)[0], type):
            next(parts, None)  # a place in a list
            model = get_args(model)[0]
    return model if isinstance(model, type) and issubclass(model, BaseModel) else root
