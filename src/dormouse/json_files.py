"""JSON that dormouse writes and reads back, by types: what a type wrote, the same type checks when it is read.

A type is a dataclass, or a list or a mapping of such. Reading is strict: a number is no text, a key is known, numbers
are finite, nothing is nested deeper than 200. Whatever is wrong with a file is one UserError with the file, the line
and the field. Writing is strict too: what is no finite number never goes out, nor half of a character.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path, PurePath
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, ConfigDict, JsonValue, TypeAdapter, ValidationError

from dormouse.errors import UserError, utf8
from dormouse.files import append_line, read_whole, remedy_of

T = TypeVar("T")


def _finite(said: JsonValue) -> JsonValue:
    try:
        json.dumps(said, allow_nan=False)  # twenty times as quick as a look at every value here
    except ValueError as error:
        if place := _place_of(_is_infinite, said):
            raise ValueError(f"{place} is no finite number") from error
    return said


def _is_infinite(said: object) -> bool:
    return isinstance(said, float) and not math.isfinite(said)


def _is_half(said: object) -> bool:
    """Whether a text holds half of a character, which UTF-8 has no bytes for."""
    return isinstance(said, str) and said != utf8(said)


def _place_of(is_odd: Callable[[object], bool], said: object, place: str = "it") -> str:
    """Where JSON data holds a value, or a key, that is odd; "" where it holds none."""
    inner: Iterable[tuple[object, object]] = ()
    if isinstance(said, Mapping):
        inner = said.items()
    elif isinstance(said, list | tuple):
        inner = enumerate(said)
    elif is_odd(said):
        return place
    places = ((f"{place}[{shown(key)}]", key, one) for key, one in inner)
    return next((found for at, key, one in places if (found := at if is_odd(key) else _place_of(is_odd, one, at))), "")


Json = Annotated[JsonValue, AfterValidator(_finite)]
"""JSON whose form is not ours to say: the settings of a plug-in, what a study file says."""
Older = Callable[[dict[str, JsonValue]], dict[str, JsonValue]]
"""Makes of what an older version wrote what this one writes; gives back just what it got where that is no older."""

RULES = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
DECODER = json.JSONDecoder()
AGAIN = "run the study again: it writes the file anew"

WANTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "bool_type": "true or false",
    "none_required": "null",
    "path_type": "a path",
    **dict.fromkeys(("tuple_type", "list_type", "frozen_set_type"), "a list"),
    **dict.fromkeys(("dict_type", "mapping_type", "dataclass_type", "dataclass_exact_type"), "an object"),
}
"""Kind of fault, as pydantic calls it -> what should stand there."""
MOST_FAULTS = 32
"""How many of the faults of a text are looked at: one is shown, with those in the same place."""
KEYS = {"missing": "lacks the key", "unexpected_keyword_argument": "has a key that is not known,"}


def read_json(path: Path, kind: type[T], remedy: str = AGAIN, older: Older | None = None) -> T:
    """What a file of ours holds, checked by the type that wrote it.

    Args:
        kind: the type: a dataclass, or a list or mapping of such.
        remedy: what a user can do where the file is damaged.
        older: brings up to date what an older version wrote.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it cannot be read, or something in it is not of the type.
    """
    return parse(_bytes(path, remedy), kind, str(path), remedy, older)


def read_json_lines(path: Path, kind: type[T], remedy: str = AGAIN) -> list[T]:
    """What a file holds, an object of this type a line.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it cannot be read, or a line is not of the type.
    """
    lines = _bytes(path, remedy).split(b"\n")  # texts may hold other line breaks
    lines = lines[:-1] if lines[-1] == b"" else lines
    return [parse(line, kind, str(path), remedy, first=number) for number, line in enumerate(lines, 1)]


def read_log(path: Path, kind: type[T]) -> list[T]:
    """The lines of a log that are whole, and of this type (a full disk may have cut one off): none where there is no
    log."""
    found = []
    with suppress(OSError, UserError):
        for line in _bytes(path, AGAIN).split(b"\n"):
            with suppress(UserError):
                found.append(parse(line, kind, str(path)))
    return found


def _bytes(path: Path, remedy: str) -> bytes:
    try:
        return read_whole(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        what = f"{path} cannot be read: {error.strerror or error}"
        raise UserError(what, remedy_of(error.errno, remedy)) from error


def parse(raw: bytes, kind: type[T], place: str, remedy: str = AGAIN, older: Older | None = None, first: int = 1) -> T:
    """The value of a type that a JSON text holds.

    Args:
        place: what the text is called in a message; `first` is the number of its first line there.

    Raises:
        UserError: it is no JSON, or something in it is not of the type.
    """
    if older is not None:
        said = _read(dict[str, JsonValue], place, raw, remedy, first)
        now = older(said)
        raw = raw if now is said else json.dumps(now).encode()
    return _read(kind, place, raw, remedy, first)


def checked(said: object, kind: type[T], place: str, remedy: str = AGAIN, older: Older | None = None) -> T:
    """JSON data as a value of a type.

    Raises:
        UserError: something in it is not of the type.
    """
    return parse(json.dumps(said).encode(), kind, place, remedy, older)


@cache
def _type(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind | None, config=RULES)  # a dataclass alone takes no rules from outside


def _read(kind: type[T], place: str, raw: bytes, remedy: str, first: int) -> T:
    try:
        found = _type(kind).validate_json(raw)  # type: ignore[arg-type]  # types have hashes
    except ValidationError as error:
        raise UserError(_fault(error, raw, place, first), remedy) from error
    if found is None:
        raise UserError(f"{place}, line {first}: holds null, where an object is wanted", remedy)
    value: T = found
    return value


def _fault(error: ValidationError, raw: bytes, place: str, first: int) -> str:
    """What is wrong, and where: of several faults the first; where a value may be of several types, what is deepest."""
    faults = error.errors(include_url=False)[:MOST_FAULTS]
    if faults[0]["type"] == "json_invalid":
        said = str(faults[0]["ctx"]["error"])
        at = re.search(r" at line (\d+) column (\d+)$", said)
        line, why = (int(at[1]), f"{said[: at.start()]}, column {at[2]}") if at else (1, said)
        return f"{place}, line {line + first - 1}: is no JSON: {why}"
    text = raw.decode()
    value, _ = DECODER.raw_decode(text, _skip(text, 0))
    found = [(one, _path(value, one["loc"][:-1] if one["type"] in KEYS else one["loc"])) for one in faults]
    first_path = found[0][1]
    fault, path = max((one for one in found if one[1][: len(first_path)] == first_path), key=lambda one: len(one[1]))
    same, at_ = [one for one, there in found if there == path], _found(text, value, path)
    where = f"{place}, line {at_.line + first - 1}: {at_.name}".rstrip()
    if fault["type"] in KEYS:
        keys = [(KEYS[one["type"]], shown(one["loc"][-1])) for one in same if one["type"] in KEYS]
        return f"{where} {', '.join(f'{what} {key}' for what, key in keys)}"
    if fault["type"] == "value_error":
        return f"{where} does not fit together: {fault['ctx']['error']}"
    return f"{where} holds {shown(at_.value)}, where {' or '.join(dict.fromkeys(map(_wanted, same)))} is wanted"


def _wanted(fault: Any) -> str:
    if fault["type"] == "literal_error":
        return str(fault["ctx"]["expected"])
    return WANTED.get(fault["type"]) or f"another value ({fault['msg']})"


@dataclass(frozen=True)
class _JsonPlace:
    """A place in a JSON text: its line, what the keys and numbers that lead there are called, what is there."""

    line: int
    name: str
    value: object


def _path(value: Any, steps: Iterable[str | int]) -> tuple[str | int, ...]:
    """Those of the steps that lead to a place in a value. What is no key there is no step: it names a type in
    between."""
    path: tuple[str | int, ...] = ()
    for step in steps:
        is_item = isinstance(value, list) and isinstance(step, int) and step < len(value)
        if is_item or (isinstance(value, dict) and step in value):
            value, path = value[step], (*path, step)
    return path


def _found(text: str, value: Any, path: Iterable[str | int]) -> _JsonPlace:
    """The place in a JSON text, and in the value that it holds, to which a path leads. A long text is walked through
    from its beginning for that: only for the one fault that is shown."""
    at, name, of = _skip(text, 0), "", ""
    for step in path:
        if isinstance(value, dict):
            name += f".{step}" if str(step).isidentifier() else f"[{shown(step)}]"
        else:
            name += f"[{step}]"
        at, value = _child(text, at, step), value[step]
        if isinstance(value, dict) and isinstance(value.get("id"), str):
            of = f" (of {shown(value['id'])})"
    return _JsonPlace(text.count("\n", 0, at) + 1, name.removeprefix(".") + of, value)


def _child(text: str, at: int, step: str | int) -> int:
    """Where a child of the object or the list begins that begins at `at`. The last of equal keys counts."""
    found, keyed, count, at = at, text[at] == "{", 0, _skip(text, at + 1)
    while text[at] not in "]}":
        key: str | int = count
        if keyed:
            key, at = DECODER.raw_decode(text, at)
            at = _skip(text, _skip(text, at) + 1)
        found = at if key == step else found
        at, count = _skip(text, DECODER.raw_decode(text, at)[1]), count + 1
        at = _skip(text, at + 1) if text[at] == "," else at
    return found


def _skip(text: str, at: int) -> int:
    while text[at : at + 1] in (" ", "\t", "\n", "\r"):
        at += 1
    return at


def shown(said: object) -> str:
    """A value as it may stand in a message: short, and without characters that a terminal obeys."""
    text = repr(said)
    return text if len(text) <= 80 else f"{text[:77]}..."


# --- writing ---


def json_text(said: object, indent: int | None = None, ascii_only: bool = True) -> str:
    """Values of our types, or of plain JSON data, as JSON.

    Raises:
        UserError: a number in it is not finite, for which JSON has no word; or a text holds half of a character, as the
            name of a file does that is no UTF-8.
    """
    try:
        text = json.dumps(said, default=_plain, allow_nan=False, indent=indent, ensure_ascii=ascii_only)
        may_have_half = ascii_only and "\\ud" in text
        (json.dumps(said, default=_plain, ensure_ascii=False) if may_have_half else text).encode()
        return text
    except UnicodeEncodeError as error:
        place = _place_of(_is_half, json.loads(json.dumps(said, default=_plain)))
        what = f"a text that is to be written holds half of a character: {place}"
        raise UserError(what, "write whole characters; name files and folders in UTF-8") from error
    except ValueError as error:
        place = _place_of(_is_infinite, json.loads(json.dumps(said, default=_plain)))
        what = f"a number that is to be written is not finite: {place}" if place else f"it cannot be written: {error}"
        raise UserError(what, "its model or its training has diverged: use a lower learning rate") from error


def plain(said: object) -> Any:
    """A value of our types as plain JSON data."""
    return json.loads(json_text(said))


def _plain(value: object) -> object:
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, PurePath):
        return str(value)
    if getattr(value, "shape", None) == () and hasattr(value, "item"):  # a number of numpy
        return value.item()
    raise TypeError(f"{type(value).__name__} is no JSON")


def write_json_lines(path: Path, rows: Iterable[object], more: bool = False) -> None:
    """Write a JSON object a line; `more` puts them after what is there.

    Raises:
        OSError: it cannot be written.
        UserError: see `json_text`.
    """
    with path.open("a" if more else "w", encoding="utf-8") as file:
        file.writelines(json_text(row, ascii_only=False) + "\n" for row in rows)


def append_json_line(path: Path, row: object) -> None:
    """Put a JSON object at the end of a log, on a line of its own. Raises as `files.append_line`."""
    append_line(path, json_text(row))


def digest(value: Any) -> str:
    """A short hash of plain JSON data (32 hex digits), the same on every machine."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
