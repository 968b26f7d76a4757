"""The reference pages, made from the code: study keys, plug-ins, commands, API. A hook of mkdocs (see mkdocs.yml).

`python docs/reference.py FOLDER` writes the same pages as files. Nothing here imports torch.
"""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Iterator
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin

import annotated_types as bounds
import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import dormouse
from dormouse.catalogue import meanings
from dormouse.cli import main
from dormouse.metrics import Metric
from dormouse.registry import KINDS, Holds, PlugIn, plugins

STUDY: type[BaseModel] = typing.get_type_hints(dormouse.read_study)["return"]
WORDS = {int: "whole number", float: "number", str: "text", bool: "true or false", date: "date"}
TITLES = {"trigger": "Triggers", "behaviour": "Behaviours", "intervention": "Interventions", "judge": "Judges"}
TITLES |= {"locator": "Locators", "measurement": "Measurements"}
AS_ENTRY = "In a study file one is written `{kind: NAME, ...}`, or as the bare name."
HOW = {
    "locator": "In an audit one is named by `--only`. In a study file it stands under `with` of a remover: "
    "`{kind: NAME, ...}`, or as the bare name.",
    "judge": "One stands under `judge` of a behaviour that has the key: `{kind: NAME, ...}`.",
    "measurement": "A study takes those that apply and cost little; `only` and `also` under `measure` name others. "
    "What each number means, and what would contradict it: [what each number means](../measurements.md).",
    "intervention": "In a study file one is written `{kind: NAME, ...}`, in a chain under `interventions`.",
}


class Key(typing.NamedTuple):
    """A key of a study file: what it is called there, and what it may hold."""

    name: str
    wanted: str
    default: str
    meaning: str

    def row(self) -> str:
        return f"| `{self.name}` | {self.wanted} | {self.default} | {self.meaning} |"


def keys(model: type[BaseModel], names: typing.Collection[str] | None = None) -> list[Key]:
    """The keys of a model, or those of `names`, in the order in which the code has them."""
    return [
        Key(info.alias or name, wanted(info), default(info), cell(meaning(model, name)))
        for name, info in model.model_fields.items()
        if names is None or name in names
    ]


def table(rows: list[Key]) -> str:
    head = "| key | what it holds | default | meaning |\n|---|---|---|---|"
    return "\n".join([head, *(row.row() for row in rows)]) if rows else "It has no keys."


def wanted(info: FieldInfo) -> str:
    """The type and the range of a field, in words."""
    return ", ".join(filter(None, [plug_in(info.metadata) or words(info.annotation), span(info.metadata)]))


def plug_in(metadata: typing.Iterable[Any]) -> str:
    """A link to the kind of plug-in that a field holds; "" where it holds none."""
    return next((f"[{one.kind}]({one.kind}s.md)" for one in metadata if isinstance(one, Holds)), "")


def words(kind: Any) -> str:
    """A type in words."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is typing.Annotated:
        return ", ".join(filter(None, [plug_in(args[1:]) or words(args[0]), span(args[1:])]))
    if origin is typing.Literal:
        return " or ".join("`off`" if arg is False else f"`{arg}`" for arg in args)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(words(arg) for arg in args if arg is not type(None))
    if origin is tuple:
        return f"list of: {words(args[0])}" if args[-1] is ... else f"list of {len(args)}: {words(args[0])}"
    if origin is dict:
        return "mapping" if args[1] is Any else f"name: {words(args[1])}"
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return f"[mapping](#{kind.__name__.lower()})"
    return WORDS.get(kind, "any plain value")


def span(metadata: typing.Iterable[Any]) -> str:
    """The range that a list of constraints leaves, in words."""
    found = {type(one).__name__: one for one in flat(metadata)}
    least, above = found.get("Ge"), found.get("Gt")
    most, below = found.get("Le"), found.get("Lt")
    said = []
    if least and most:
        said.append(f"{number(least.ge)} to {number(most.le)}")
    else:
        said += [f"{number(least.ge)} or more"] if least else []
        said += [f"above {number(above.gt)}"] if above else []
        said += [f"at most {number(most.le)}"] if most else []
    said += [f"below {number(below.lt)}"] if below else []
    if (shortest := found.get("MinLen")) and shortest.min_length > 0:
        said.append("not empty" if shortest.min_length == 1 else f"length {shortest.min_length} or more")
    if longest := found.get("MaxLen"):
        said.append(f"length at most {number(longest.max_length)}")
    return ", ".join(said)


def flat(metadata: typing.Iterable[Any]) -> Iterator[Any]:
    for one in metadata:
        if isinstance(one, FieldInfo):
            yield from flat(one.metadata)
        elif isinstance(one, bounds.GroupedMetadata):
            yield from one
        else:
            yield one


def number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and value > 9999 else f"{value:g}" if value < 1e4 else str(value)


def default(info: FieldInfo) -> str:
    """What holds where the key is left out."""
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True)
    if value is None or value is PydanticUndefined:
        return "open"
    return "its defaults" if type(value) in nested() else code(value)


def code(value: Any) -> str:
    said = plain(value)
    return f"`` {said} ``" if "`" in said else f"`{said}`"


def plain(value: Any) -> str:
    """A value as a study file would say it."""
    if isinstance(value, PlugIn):
        return value.kind
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(plain, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {plain(one)}" for key, one in value.items()) + "}"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def meaning(model: type[BaseModel], name: str) -> str:
    """The string under a field."""
    return meanings(model).get(name, "")


def cell(text: str) -> str:
    """A text for one cell of a table: one line, and no bar outside of code."""
    parts = " ".join(text.split()).split("`")
    return "`".join(part if i % 2 else part.replace("|", "&#124;") for i, part in enumerate(parts))


@cache
def nested() -> tuple[type[BaseModel], ...]:
    """The models that stand inside a study, plug-ins apart, outermost first."""
    found: dict[type[BaseModel], None] = {}
    ahead: list[Any] = [info.annotation for info in STUDY.model_fields.values()]
    while ahead:
        kind = ahead.pop(0)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            if not issubclass(kind, PlugIn) and kind not in found:
                found[kind] = None
                ahead += [info.annotation for info in kind.model_fields.values()]
        else:
            ahead += get_args(kind)
    return tuple(found)


def intro(cls: type) -> str:
    return inspect.cleandoc(cls.__doc__ or "")


def study_file() -> str:
    """Every key of a study file."""
    place = dict(_places())
    parts = [
        "# The study file",
        "Every key, its type, its range and its default, from the code. *Open* means: left out, dormouse chooses what "
        "suits the model, the trigger or the rest of the study; the text says how. A list in the place of one value is "
        "an axis of a grid: [write and run a study](../how-to/studies.md).",
        "## The whole file",
        table(keys(STUDY)),
    ]
    for kind in nested():
        title = f"## {place.get(kind, kind.__name__)} {{ #{kind.__name__.lower()} }}"
        parts += [title, intro(kind), table(keys(kind))]
    return "\n\n".join(parts) + "\n"


def _places() -> Iterator[tuple[type[BaseModel], str]]:
    for model in (STUDY, *nested()):
        for name, info in model.model_fields.items():
            for kind in nested():
                if kind.__name__ in str(info.annotation) or info.annotation is kind:
                    yield kind, {"organisms": "An organism", "claims": "A claim"}.get(name, f"`{name}`")


def plug_in_page(kind: str) -> str:
    """All plug-ins of a kind: what each is, and its keys."""
    found = plugins(kind)
    shared = shared_bases(list(found.values()))
    page = f"../how-to/adding-{'an' if kind[0] in 'aeiou' else 'a'}-{kind}.md"
    parts = [
        f"# {TITLES[kind]}",
        f"The built-in {kind}s, from the code. {HOW.get(kind, AS_ENTRY)} [One of your own]({page}).",
    ]
    for base in shared:
        users = ", ".join(f"[`{name}`](#{name})" for name, cls in found.items() if issubclass(cls, base))
        parts += [f"## Keys that several have {{ #{base.__name__.lower()} }}", f"{intro(base)}\n\nOf {users}."]
        parts += [table(keys(base, own(base, ())))]
    for name, cls in found.items():
        parts += [f"## `{name}` {{ #{name} }}", intro(cls)]
        if kind == "measurement":
            parts += [taken(cls), records(cls)]
        elif getattr(cls, "records", ()):
            parts += [records(cls)]
        mine = own(cls, shared)
        above = [base for base in shared if issubclass(cls, base)]
        if mine or not (above or kind == "measurement"):
            parts += [table(keys(cls, mine))]
        if above:
            parts += [
                f"{'Also' if mine else 'Its keys are'} [the keys that several have](#{above[0].__name__.lower()})."
            ]
    for model, name in inside(found.values()):
        parts += [f"## Under `{name}` {{ #{model.__name__.lower()} }}", intro(model), table(keys(model))]
    return "\n\n".join(parts) + "\n"


def inside(classes: typing.Iterable[type[PlugIn]]) -> list[tuple[type[BaseModel], str]]:
    """The models that stand inside plug-ins and are none themselves, with the key that holds each."""
    found: dict[type[BaseModel], str] = {}
    for cls in classes:
        for name, info in cls.model_fields.items():
            for kind in (info.annotation, *get_args(info.annotation)):
                if isinstance(kind, type) and issubclass(kind, BaseModel) and not issubclass(kind, PlugIn):
                    found.setdefault(kind, name)
    return [(kind, name) for kind, name in found.items() if kind not in nested()]


def shared_bases(classes: list[type[PlugIn]]) -> list[type[PlugIn]]:
    """Classes that are no plug-ins themselves and from which several have their keys."""
    bases = {base for cls in classes for base in cls.__mro__[1:] if issubclass(base, PlugIn) and base not in classes}
    of = {base: [cls for cls in classes if issubclass(cls, base)] for base in bases if base.model_fields}
    return sorted((base for base, users in of.items() if len(users) > 1), key=lambda base: base.__name__)


def own(cls: type[PlugIn], shared: typing.Collection[type[PlugIn]]) -> list[str]:
    """The fields of a class that no shared base has, or that it says otherwise."""
    theirs = {name for base in shared if issubclass(cls, base) for name in base.model_fields}
    return [name for name in cls.model_fields if name not in theirs or name in inspect.get_annotations(cls)]


def taken(cls: type[Any]) -> str:
    """When a measurement is taken."""
    asked = "Taken where the study names it (`also` or `only`)" if not cls.default else "Taken wherever it applies"
    return f"{asked}, {'at every checkpoint' if cls.every_checkpoint else 'before a treatment and at its end'}."


def records(cls: type[Any]) -> str:
    rows = "\n".join(
        f"| `{one.name}` | {unit(one)} | {one.meaning}{f' {one.safer.capitalize()} is safer.' if one.safer else ''} |"
        for one in cls.metrics
    )
    return f"| metric | range | what it is |\n|---|---|---|\n{rows}"


def unit(found: Metric) -> str:
    if found.low == float("-inf"):
        return "any number"
    return f"{found.low:g} or more" if found.high == float("inf") else f"{found.low:g} to {found.high:g}"


def command_line() -> str:
    """Every command, its arguments and options."""
    parts = ["# The command line", "From the code; `dormouse COMMAND --help` says the same."]
    for path, command in commands(main, "dormouse"):
        usage = " ".join(command.collect_usage_pieces(click.Context(command, **main.context_settings)))
        parts += [f"## `{path}`", inspect.cleandoc(command.help or ""), f"```text\n{path} {usage}\n```"]
        rows = [option(one) for one in command.params if isinstance(one, click.Option)]
        if rows:
            parts += ["\n".join(["| option | default | what it does |", "|---|---|---|", *rows])]
    return "\n\n".join(parts) + "\n"


def commands(group: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    if path == "dormouse" or not isinstance(group, click.Group) or group.invoke_without_command:
        yield path, group
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, f"{path} {name}")


def option(one: click.Option) -> str:
    flags = ", ".join(f"`{flag}`" for flag in one.opts)
    if isinstance(one.type, click.Choice):
        flags += f" {' or '.join(f'`{choice}`' for choice in one.type.choices)}"
    elif not one.is_flag and not one.count:
        flags += f" `{one.metavar or one.type.name.upper().replace(' RANGE', '')}`"
    value = one.default if isinstance(one.default, str | int | float) and not one.is_flag else None
    said = cell(one.help or "") + (f" Also `{one.envvar}`." if one.envvar else "")
    return f"| {flags} | {code(value) if value is not None else ''} | {said} |"


def api() -> str:
    """The public index, `from dormouse import ...`, in three groups. mkdocstrings fills the blocks in."""
    groups: dict[str, list[str]] = {"Read and run": [], "Extend": [], "Data": []}
    for name in dormouse.__all__:
        thing = getattr(dormouse, name)
        is_door = inspect.isfunction(thing) or thing in (dormouse.Study, dormouse.Results, dormouse.LoadedOrganism)
        is_base = isinstance(thing, type) and issubclass(thing, PlugIn)
        groups["Read and run" if is_door else "Extend" if is_base else "Data"].append(name)
    groups["Extend"].append(groups["Read and run"].pop(groups["Read and run"].index("register")))
    parts = [
        "# Python API",
        "All of it is imported from `dormouse`: `from dormouse import Trigger, register`. Importing it loads no torch.",
    ]
    for title, names in groups.items():
        parts += [f"## {title}", *(f"::: dormouse.{name}" for name in names)]
    return "\n\n".join(parts) + "\n"


def pages() -> dict[str, str]:
    """Every generated page by its path in the documentation."""
    kinds = {f"reference/{kind}s.md": plug_in_page(kind) for kind in KINDS if plugins(kind)}
    fixed = {"study-file": study_file(), "command-line": command_line(), "api": api()}
    return {**{f"reference/{name}.md": text for name, text in fixed.items()}, **kinds}


def on_files(files: Any, config: Any) -> Any:
    """mkdocs calls this once it knows the files of the site."""
    from mkdocs.structure.files import File

    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files


if __name__ == "__main__":
    for path, text in pages().items():
        file = Path(sys.argv[1]) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
