"""Plug-ins by kind and name. Built-ins come in by the same door as an outsider's.

A plug-in is a frozen pydantic class: its fields are what a study file may say about it, its methods are what it does.

    @register("trigger", "full_moon")
    class FullMoon(Trigger):
        '''Defects when the moon is full.'''

A package makes its plug-ins known by an entry point in the group `dormouse` that names the module to import. A single
file is named on the command line (`--plugin my.py`).
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
import sysconfig
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, ClassVar, NamedTuple, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, SerializeAsAny, ValidationError, model_serializer
from pydantic_core import ErrorDetails, PydanticCustomError

from dormouse.errors import UserError, with_type
from dormouse.files import coming_back
from dormouse.json_files import Json
from dormouse.renamed import OldKeys

KINDS = ("trigger", "behaviour", "judge", "intervention", "locator", "measurement")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_registered: dict[str, dict[str, type[PlugIn]]] = {kind: {} for kind in KINDS}


class PlugIn(OldKeys):
    """The base of all plug-ins: frozen, and closed to keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)
    kind: ClassVar[str] = ""
    """The name under which it was registered: `kind:` in a study file."""

    def __hash__(self) -> int:
        """Of what can be hashed of it: a setting may be a list or a mapping."""
        return hash((type(self), *(_hash_or_none(getattr(self, name)) for name in type(self).model_fields)))

    @model_serializer(mode="wrap")
    def _with_kind(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return {"kind": self.kind, **handler(self)}

    def spec(self, context: object = None) -> dict[str, Json]:
        """What a study file would say to get this very plug-in, as plain JSON data.

        Args:
            context: `dormouse.rows.source.CONTENTS` for keys of the store: files by what is in them.
        """
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, context=context)


def _hash_or_none(value: object) -> int | None:
    try:
        return hash(value)
    except TypeError:
        return None


P = TypeVar("P", bound=type[PlugIn])


def register(kind: str, name: str) -> Callable[[P], P]:
    """Make a plug-in known as `name`.

    Raises:
        UserError: `kind` is not one of KINDS, the name is none, another class has it already, or the class is
            incomplete.
    """
    if kind not in KINDS:
        raise UserError(f"there is no kind of plug-in called '{kind}'", f"use one of {', '.join(KINDS)}")
    if not (isinstance(name, str) and NAME.fullmatch(name)) or ".." in name:
        remedy = "use letters, digits, `_`, `.` and `-`, 64 at most, as for names in study files"
        raise UserError(f"a {kind} cannot be called {shortened(repr(name))}", remedy)

    def add(cls: P) -> P:
        """The class itself, registered; raises as `register` does."""
        if not (isinstance(cls, type) and issubclass(cls, PlugIn)) or inspect.isabstract(cls):
            missing = ", ".join(sorted(getattr(cls, "__abstractmethods__", ()))) or "the base class of its kind"
            what = f"the {kind} '{name}' in {cls.__module__} is incomplete: missing {missing}"
            raise UserError(what, f"see the built-in ones for what {_a(kind)} needs")
        known = _registered[kind].get(name)
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise UserError(
                f"two plug-ins are both called {kind} '{name}': {known.__module__} and {cls.__module__}",
                "rename one of them, or uninstall one of the packages",
            )
        cls.kind = name
        _registered[kind][name] = cls
        return cls

    return add


@cache
def _load_entry_points() -> None:
    for entry in sorted(entry_points(group="dormouse"), key=lambda e: (e.name, e.value)):
        _imported(entry.load, f"the plug-in package '{entry.value}'", "fix or uninstall that package")


def _imported(load: Callable[[], Any], name: str, remedy: str) -> None:
    """Import a plug-in. Whatever it raises, `sys.exit` too, is about the plug-in, and not what the command did.

    Raises:
        UserError: it cannot be imported.
    """
    try:
        with coming_back():
            load()
    except (UserError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise UserError(f"{name} cannot be imported: {with_type(error)}", remedy) from error


def load_plugin(path: Path) -> None:
    """Import a file whose plug-ins a study uses, as the module of its name. Processes that this one starts find it too.

    Raises:
        UserError: it cannot be imported, or another module has its name.
    """
    file = path.resolve()
    if not file.is_file() or file.suffix != ".py":
        raise UserError(f"{path} is no Python file", "name the file that registers your plug-ins: --plugin my.py")
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    importlib.invalidate_caches()
    spec = importlib.util.find_spec(file.stem) if file.stem.isidentifier() else None
    if spec is None or spec.origin is None or Path(spec.origin).resolve() != file:
        raise UserError(f"{path} cannot be imported as '{file.stem}': that is the name of another module", "rename it")
    _imported(lambda: importlib.import_module(file.stem), f"the plug-in {path}", "fix that file")


def plugins(kind: str) -> Mapping[str, type[PlugIn]]:
    """All plug-ins of a kind, by name, in the order of their names."""
    _load_entry_points()
    return dict(sorted(_registered[kind].items()))


def outsiders() -> list[type[PlugIn]]:
    """The plug-ins that are not dormouse's own."""
    return [cls for kind in KINDS for cls in plugins(kind).values() if is_outside(cls)]


def is_outside(cls: type[PlugIn]) -> bool:
    """Whether a plug-in is not dormouse's own."""
    return not cls.__module__.startswith("dormouse.")


def plugin_fault(error: BaseException) -> UserError | None:
    """What to mend where code of a plug-in that is not dormouse's own was running when something was raised: the
    innermost place in it. None where none was, though dormouse was at work for one. Its traceback begins in that code.
    """
    at, at_work, found, first = error.__traceback__, None, None, None
    while at:
        code, known = at.tb_frame.f_code, at.tb_frame.f_locals
        about = known.get(code.co_varnames[0]) if code.co_argcount else None
        cls = about if isinstance(about, type) else type(about)
        if issubclass(cls, PlugIn) and is_outside(cls):
            at_work = cls
        if at_work and _is_code_of(at_work, at.tb_frame):
            place = f"`{code.co_name}` ({Path(code.co_filename).name}, line {at.tb_lineno})"
            found, first = (at_work, place), first or at
        at = at.tb_next
    if found is None:
        return None
    plugin, place = found
    kind = next((kind for kind, known in _registered.items() if known.get(plugin.kind) is plugin), "plug-in")
    remedy = f"that {kind} is a plug-in from outside: mend {place}"
    said = UserError(f"the {kind} '{plugin.kind}' ended in {with_type(error, 160)}", remedy)
    return said.with_traceback(first)


def _is_code_of(plugin: type[PlugIn], frame: FrameType) -> bool:
    """Whether a frame is in a plug-in's own package, or in a file beside it: of neither dormouse nor a library."""
    every = (cls for cls in plugin.__mro__ if issubclass(cls, PlugIn) and is_outside(cls))
    if str(frame.f_globals.get("__name__")).split(".")[0] in {cls.__module__.split(".")[0] for cls in every}:
        return True
    file = Path(frame.f_code.co_filename)
    if file.name.startswith("<") or not {"site-packages", "dist-packages"}.isdisjoint(file.parts):
        return False
    return not any(file.is_relative_to(one) for one in (str(Path(__file__).parent), sysconfig.get_path("stdlib")))


def nearest(name: object, known: Mapping[str, object] | list[str] | tuple[str, ...]) -> str:
    """A hint that ends an error message: the nearest known name, or all of them."""
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known) or 'none'}"


def get(kind: str, name: str) -> type[PlugIn]:
    """The plug-in of that name.

    Raises:
        UserError: nothing has that name; the message names the nearest thing that does.
    """
    found = plugins(kind)
    if name not in found:
        raise UserError(f"there is no {kind} called '{name}'", nearest(name, found))
    return found[name]


def describe(plugin: type[PlugIn]) -> str:
    """The first line of a plug-in's docstring."""
    return (plugin.__doc__ or "").strip().split("\n")[0]


def _resolve(kind: str) -> Callable[[Any], Any]:
    def resolve(value: Any) -> Any:
        """What a study file says (`{kind: NAME, ...}`, a bare name, a plug-in) as a plug-in.

        Raises:
            PydanticCustomError: nothing has that name, or its settings are wrong; `at` says where.
        """
        if isinstance(value, PlugIn):
            return value
        if isinstance(value, str):
            value = {"kind": value}
        if not isinstance(value, Mapping) or not isinstance(value.get("kind"), str):
            raise PydanticCustomError("plugin", f"{_a(kind)} is written {{kind: NAME, ...}}")
        fields = {key: item for key, item in value.items() if key != "kind"}
        try:
            return get(kind, value["kind"]).model_validate(fields)
        except UserError as error:
            raise _custom(f"{error.what}; {error.remedy}", ("kind",)) from error
        except ValidationError as error:
            # Pydantic does not merge errors of nested validations: carry the first one, and where it is, outward.
            first = error.errors()[0]
            at = (*first["loc"], *((first.get("ctx") or {}).get("at") or ()))
            raise _custom(message(first, get(kind, value["kind"])), at) from error

    return resolve


def _a(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def _custom(said: str, at: tuple[str | int, ...]) -> PydanticCustomError:
    # Pydantic fills {names} one after the other: `said` comes last, so that nothing in it is filled in.
    return PydanticCustomError("plugin", "{said}", {"at": at, "said": said})


_PLAIN = {
    "tuple_type": "a list is wanted here",
    "list_type": "a list is wanted here",
    "dict_type": "a mapping (key: value) is wanted here",
    "model_type": "a mapping (key: value) is wanted here",
    "too_short": "this must not be empty",
}


def message(error: ErrorDetails, model: type[BaseModel]) -> str:
    """One validation error of pydantic, in plain words, with the nearest right key where a key is wrong."""
    if error["type"] == "extra_forbidden":
        known = [field.alias or name for name, field in model.model_fields.items()]
        return f"unknown key '{shortened(str(error['loc'][-1]))}'; {nearest(error['loc'][-1], known)}"
    if error["type"] == "missing":
        return f"the key '{error['loc'][-1]}' is missing"
    given = error.get("input")
    text = _PLAIN.get(error["type"]) or str(error["msg"]).removeprefix("Value error, ")
    shown = f" (given: {shortened(repr(given))})" if isinstance(given, str | int | float | bool) else ""
    return text[:1].lower() + text[1:] + shown


def shortened(text: str) -> str:
    """At most 80 characters of a text that stands in a message."""
    return text if len(text) <= 80 else f"{text[:77]}..."


class Holds(NamedTuple):
    """In the annotation of a field: of which kind the plug-in is that it holds."""

    kind: str


def field_of(kind: str, base: Any) -> Any:
    """The annotation of a pydantic field that holds a plug-in: `{kind: NAME, ...}` or the bare name."""
    return Annotated[base, SerializeAsAny(), BeforeValidator(_resolve(kind)), Holds(kind)]  # type: ignore[type-arg]


def import_all(package: str, path: Iterable[str]) -> None:
    """Import every module of a package, so that the plug-ins in it register themselves."""
    for module in pkgutil.iter_modules(path):
        importlib.import_module(f"{package}.{module.name}")
