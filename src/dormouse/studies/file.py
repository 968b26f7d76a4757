"""Read a study file: YAML to a checked Study, with the line of whatever is wrong."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from functools import partial
from importlib.resources import files
from pathlib import Path

import yaml
from pydantic import ValidationError

from dormouse.arguments import path_of
from dormouse.errors import UserError, warn
from dormouse.lm.zoo import ZOO
from dormouse.outputs import refuse_in_store, refuse_odd_name
from dormouse.rows import relative_to
from dormouse.rows.source import lies_elsewhere
from dormouse.studies.axis_names import Place, spoken
from dormouse.studies.design import Design
from dormouse.studies.explained import KINDS_SHOWN, first_fault
from dormouse.studies.faults import checked
from dormouse.studies.grid import GridError
from dormouse.studies.old_names import modern
from dormouse.studies.overrides import Overrides, overridden
from dormouse.studies.study import CHAIN, Study
from dormouse.studies.yaml_data import DEEPEST, nodes_of, plain_data

MAX_BYTES = 1_000_000
ORIGIN = "# the files that it names are relative to "
"""How the first line of a study begins that was kept away from its files."""
BESIDE = 0
"""In place of a line: what was given beside the file."""


def read_study(path: str | Path) -> Study:
    """The study in a file.

    Raises:
        UserError: it cannot be read, is not YAML, or says something that a study cannot say. The message names the file
            and the line.
    """
    return read_design(path_of(path)).study


def read_design(path: Path) -> Design:
    """What the study in a file means. Raises as `read_study`."""
    return parse_design(read_text(path), str(path), folder=path.parent)


def read_text(path: Path) -> str:
    """The text of a study file.

    Raises:
        UserError: it is not there, too large, or not text in UTF-8.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise UserError(f"there is no study file {path}", "`dormouse new` writes one to start from") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", "name a study file: YAML in UTF-8") from error
    if len(raw) > MAX_BYTES:
        raise UserError(f"{path} is larger than {MAX_BYTES:,} bytes", "a study file is a short text")
    try:
        return raw.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {line}: not UTF-8: {error.reason}", "save the file as UTF-8 text") from error


def parse_study(text: str, called: str = "study") -> Study:
    """The study in a text; `called` is the name of the file for messages. Raises as `read_study`."""
    return parse_design(text, called).study


def parse_design(
    text: str, called: str = "study", overrides: Overrides | None = None, folder: Path | None = None
) -> Design:
    """What the study in a text means, with `overrides` in place of what it says; `called` is the name of the file for
    messages. Files that it names are relative to the folder in its first line (see `with_origin`), else to `folder`, by
    default the working directory. Raises as `read_study`."""
    value, lines = _read(text, called)
    today = modern(value, CHAIN)
    lines |= _lines_now(lines, today.moved)
    if overrides and not today.twice:
        made = overridden(today.value, overrides)
        lines = _lines_beside(lines, made.places)
        today = modern(made.value, CHAIN)
        lines |= _lines_now(lines, today.moved)
    if today.twice:
        place, said = today.twice
        raise _located(lines, called, place, UserError(said, "keep the new name"))
    with relative_to(_origin(text) or folder or Path.cwd()):
        return _expanded(today.value, lines, called)


def with_overrides(text: str, overrides: Overrides) -> str:
    """The text of a study with these settings in it: what was run, for its results and for who runs it again. Without
    any it is as it was written."""
    if not overrides:
        return text
    value = overridden(modern(_read(text, "study")[0], CHAIN).value, overrides).value
    first = text.removesuffix(without_origin(text))
    said = ", ".join(overrides)
    return f"{first}# given beside the file: {said}\n{yaml.safe_dump(value, sort_keys=False, allow_unicode=True)}"


def with_origin(text: str, folder: Path) -> str:
    """The text of a study as it is kept in the folder of its results, to be run from there too: where it names files of
    `folder`, a first line says where they are. Without any it is as it was written.

    Raises:
        UserError: the name of such a folder is no UTF-8.
    """
    if _origin(text) or not any(_lies_in(folder, value) for value in _words(top_level(text))):
        return text
    refuse_odd_name(folder, "rename it, or name the files of the study by whole paths elsewhere")
    return f"{ORIGIN}{folder.resolve()}\n{text}"


def without_origin(text: str) -> str:
    """The text of a study as it was written: whoever reads a report need not know the folders of this machine."""
    return text.partition("\n")[2] if _origin(text) else text


def _origin(text: str) -> Path | None:
    first = text.partition("\n")[0]
    return Path(first.removeprefix(ORIGIN)) if first.startswith(ORIGIN) else None


def _words(value: object) -> Iterator[str]:
    """Every text in a study, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _words(inner)


def _lies_in(folder: Path, name: str) -> bool:
    try:
        return bool(name) and not Path(name).expanduser().is_absolute() and (folder / name).exists()
    except (OSError, RuntimeError, ValueError):  # no path at all
        return False


def _read(text: str, called: str) -> tuple[Mapping[str, object], dict[Place, int]]:
    """A study file as plain data, and the line of every place in it. Raises as `read_study`."""
    try:
        root = nodes_of(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        number = mark.line + 1 if mark else text.count("\n", 0, getattr(error, "position", 0)) + 1
        line = f", line {number}"
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UserError(f"{called}{line}: not valid YAML: {problem}", "fix the YAML there") from error
    except (RecursionError, ValueError) as error:
        what = f"{called}, line {_deep_line(text)}: not valid YAML: {type(error).__name__}"
        raise UserError(what, "write a plain study file") from error
    lines: dict[Place, int] = {}
    value = plain_data(root, lines, called) if root else None
    if not isinstance(value, Mapping):
        line = f"line {lines.get((), 1)}"
        raise UserError(f"{called}, {line}: a study file is a mapping with keys such as `name:`", "see `dormouse new`")
    return value, lines


def _lines_beside(lines: Mapping[Place, int], places: Collection[Place]) -> dict[Place, int]:
    """The lines of what is left of a file, and the places of what was given beside it."""
    left = {at: line for at, line in lines.items() if not any(at[: len(place)] == place for place in places)}
    above = {at for place in places for at in _shorter(place) if at not in lines}  # what the file has nothing of
    return left | dict.fromkeys((*above, *places), BESIDE)


def _where(called: str, line: int) -> str:
    return f"{called}, line {line}" if line != BESIDE else f"{called}, as overridden"


def _lines_now(lines: Mapping[Place, int], moved: Mapping[Place, Place]) -> dict[Place, int]:
    """The lines of keys that were given under an old name, and of what is in them, by their places today."""
    found: dict[Place, int] = {}
    for new, old in moved.items():
        found |= {(*new, *place[len(old) :]): line for place, line in lines.items() if place[: len(old)] == old}
    return found


def _deep_line(text: str) -> int:
    """The line where a text is nested deeper than any study; 1 if it is not."""
    depth = 0
    with suppress(yaml.YAMLError, ValueError):
        for event in yaml.parse(text, yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                return int(getattr(event.start_mark, "line", 0)) + 1
    return 1


def top_level(text: str) -> Mapping[str, object]:
    """What a study file that could be read says, key by key, as plain data."""
    root = nodes_of(text)
    return dict(plain_data(root, {}, "study")) if root else {}


def _expanded(value: Mapping[str, object], lines: Mapping[Place, int], called: str) -> Design:
    """What a file says, its grid expanded: a study on the first of its models, which knows the others."""
    try:
        study = Study.model_validate(value)
    except GridError as error:
        if error.place[:1] == ("zip",):  # what else is wrong may be why it names no axis
            _expanded({key: said for key, said in value.items() if key != "zip"}, lines, called)
        raise _located(lines, called, error.place, error) from error
    except ValidationError as error:
        raise _explain(error, lines, called, value) from error
    _say_what_lies_elsewhere(study)
    return checked(study, partial(_located, lines, called))


def _say_what_lies_elsewhere(study: Study) -> None:
    """Folders of models were relative to the working directory alone, before everything was relative to the file."""
    named = [one.place for one in study.each]
    for organism in study.organisms.values():
        named += [*([organism.model] if organism.model else []), *organism.adapter]
    for name in dict.fromkeys(named):
        if name not in ZOO and lies_elsewhere(name):
            where = f"in the working directory, not beside the study file: write {Path.cwd() / name}"
            warn(f"'{name}' was found {where}")


def _located(lines: Mapping[Place, int], called: str, place: Place, fault: UserError) -> UserError:
    known = next(at for at in _shorter(place) if at in lines)
    return UserError(f"{_where(called, lines[known])}: {spoken(place)}: {fault.what}", fault.remedy)


def _explain(error: ValidationError, lines: Mapping[Place, int], called: str, value: Mapping[str, object]) -> UserError:
    """The first thing that is wrong, in plain words, with its line."""
    found = first_fault(error, Study, value, CHAIN)
    known = next(place for place in _shorter(found.place) if place in lines)
    return UserError(f"{_where(called, lines[known])}: {found}", f"fix that line; {KINDS_SHOWN}")


def _shorter(at: Place) -> Iterator[Place]:
    yield from (at[:end] for end in range(len(at), -1, -1))


def write_template(path: Path) -> None:
    """Write a commented study file to start from.

    Raises:
        UserError: the file is there already, would lie in a store, or cannot be written.
    """
    refuse_in_store(path)
    text = files("dormouse.studies").joinpath("new.yaml").read_text(encoding="utf-8")
    try:
        with path.open("x", encoding="utf-8") as handle:
            handle.write(text)
    except FileExistsError:
        raise UserError(f"{path} exists already", "name another file") from None
    except OSError as error:
        if path.is_file() and path.stat().st_size < len(text):  # no half of a file is left behind
            path.unlink()
        raise UserError(f"{path} cannot be written: {error.strerror}", "name a place that you may write to") from error
