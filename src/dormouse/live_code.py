"""What stands in the main module: a script, a notebook, a console. Of all that is read there the value counts, whoever
made it: that of a function is its source and what it holds (defaults, what it closes over, attributes), that of a class
its source and all that is set on it now."""

from __future__ import annotations

import ast
import copyreg
import inspect
import io
import linecache
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import EnumType
from functools import lru_cache
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, GenericAlias, MappingProxyType, ModuleType, UnionType
from typing import Any

from dormouse.errors import UserError, with_type
from dormouse.files_read import all_below
from dormouse.live_values import OF_PROCESS, SILENT, USED_UP, told
from dormouse.syntax import Symbol, global_names, plain, without_words

MAIN = "__main__"
MOST = 2**28
"""Characters that the values of one name may come to."""
PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented), range)
WRITTEN = "__create_fn__"
"""In which a data class writes its functions."""
LOOKED_UP = {"globals", "exec", "eval"}
"""Who calls one of these reads what its code does not name."""
OF_CLASS = re.compile(
    r"__(module|doc|qualname|dict|weakref|annot\w*|conditional_annotations|abstractmethods|parameters|orig_bases"
    r"|slotnames|signature|firstlineno|static_attributes|class_vars|private_attributes|pydantic_\w+|dataclass_\w+)__"
    r"|_abc_impl|model_(computed_)?fields"
)
"""What a class holds that says how it was made, and not what it does."""
_Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Live:
    """What something comes to: its value in words, the statements in it, and what these and that use."""

    nodes: list[tuple[ast.AST, frozenset[str]]] = field(default_factory=list)
    """Each with the names that it takes from the functions that it stands in."""
    said: str = ""
    uses: list[Symbol] = field(default_factory=list)


def main_modules(names: set[str]) -> dict[str, Symbol]:
    """Which of some names of the main module are modules."""
    found = {name: getattr(sys.modules.get(MAIN), name, None) for name in names}
    return {name: Symbol(thing.__name__, "") for name, thing in found.items() if isinstance(thing, ModuleType)}


def live(name: str, thing: Any) -> Live:
    """What a name of the main module comes to, or a class or a function that was made there.

    Raises:
        UserError: its source was kept nowhere, or its value cannot be known.
    """
    reader = _Reader(name, thing)
    try:
        said = reader.said(thing)
    except RecursionError as error:
        raise reader._unknown("it is nested too deep") from error
    return Live(reader.nodes, said, reader.uses)


def _source(thing: Any) -> ast.AST | None:
    """The statement that defines a class or a function of the main module; None where it was kept nowhere, or a call
    made the class."""
    functions = [thing] if inspect.isfunction(thing) else list(_functions(thing))
    codes = [(function.__code__.co_filename, function.__code__.co_firstlineno) for function in functions]
    codes = [(file, line) for file, line in codes if file != "<string>"]
    if not codes and inspect.isclass(thing):  # it may have no function: the script, or the newest cell that defines it
        script = getattr(sys.modules[MAIN], "__file__", None)
        cells = [file for file in reversed(linecache.cache) if "ipython-input" in file or "ipykernel" in file]
        codes = [(file, 0) for file in ([script] if script else cells)]
    name = thing.__code__.co_name if inspect.isfunction(thing) else thing.__name__
    for file, line in codes:
        known = _definitions("".join(linecache.getlines(file)))
        named = [
            node for node in known if node.name == name and isinstance(node, ast.ClassDef) is isinstance(thing, type)
        ]
        if named:  # of several of the same name that in which its code stands
            return next((node for node in named if _begins(node) <= line <= (node.end_lineno or 0)), named[0])
    return None


@lru_cache(maxsize=256)
def _definitions(source: str) -> tuple[_Definition, ...]:
    return tuple(node for node in ast.walk(ast.parse(source)) if isinstance(node, _Definition))


def _functions(cls: type) -> Iterator[FunctionType]:
    for value in vars(cls).values():
        inner = getattr(value, "__func__", None) or getattr(value, "fget", None) or getattr(value, "func", None)
        found = inspect.unwrap(inner or value)
        if inspect.isfunction(found) and found.__qualname__.startswith(cls.__qualname__):
            yield found


def _begins(node: _Definition) -> int:
    return min([node.lineno, *(one.lineno for one in node.decorator_list)])


@dataclass
class _Reader:
    """Says a value in words: the same for the same value in every process."""

    name: str
    thing: Any
    """What the name stands for."""
    nodes: list[tuple[ast.AST, frozenset[str]]] = field(default_factory=list)
    uses: list[Symbol] = field(default_factory=list)
    met: dict[int, tuple[int, Any]] = field(default_factory=dict)
    """The objects that were met so far, each with its number: it is said once, and after that by this number. So what
    many name is not said for each of them, and a circle ends."""
    length: int = 0
    within: int = 0
    """How many classes and functions around this one are told by what they hold."""

    def said(self, thing: Any) -> str:
        """A value in words. Raises UserError where it cannot be known."""
        if type(thing) in PLAIN:
            return self._counted(repr(thing))
        if id(thing) in self.met:
            return f"<{self.met[id(thing)][0]}>"
        self.met[id(thing)] = (len(self.met), thing)
        return self._inside(thing)

    def _alone(self, thing: Any) -> str:
        """A value in words that are the same whatever else is met in the same set: a set has no order."""
        before = len(self.met)
        said = self.said(thing)
        while len(self.met) > before:
            self.met.popitem()
        return said

    def _counted(self, text: str) -> str:
        self.length += len(text)
        if self.length > MOST:
            raise self._unknown("it is too large")
        return text

    def _inside(self, thing: Any) -> str:
        kind = type(thing)
        if kind is dict:
            if "__name__" in thing and vars(sys.modules.get(str(thing["__name__"]), object)) is thing:
                return "namespace"  # pydantic's wrappers keep it, to look up types
            pairs = [(key, value) for key, value in thing.items() if key not in OF_PROCESS]
            return f"{{{', '.join(f'{self.said(key)}: {self.said(value)}' for key, value in pairs)}}}"
        if kind in (list, tuple):
            return f"{kind.__name__}({self._row(thing)})"
        if kind in (set, frozenset):
            return f"{kind.__name__}({', '.join(sorted(map(self._alone, thing)))})"
        if kind is MappingProxyType:
            return self.said(dict(thing))
        if isinstance(thing, Path) and (thing.is_file() or thing.is_dir()):
            return f"file({thing.name!r}, {self.said(all_below(thing))})"
        if isinstance(thing, ModuleType):
            self.uses.append(Symbol(thing.__name__, ""))
            return f"module({thing.__name__})"
        if isinstance(thing, SILENT) or (isinstance(thing, io.IOBase) and thing.writable() and not thing.readable()):
            return kind.__name__
        if isinstance(thing, FunctionType | type):
            self.within += 1
            said = self._function(thing) if isinstance(thing, FunctionType) else self._class(thing)
            self.within -= 1
            return said
        if isinstance(thing, BuiltinFunctionType) and not _is_bound(thing):
            return self._by_name(thing) or f"{kind.__name__}({thing.__module__}.{thing.__qualname__})"
        if isinstance(thing, property | staticmethod | classmethod):
            names = ("fget", "fset", "fdel") if isinstance(thing, property) else ("__func__",)
            return f"{kind.__name__}({self._row([getattr(thing, name) for name in names])})"
        if "__wrapped__" in getattr(thing, "__dict__", ()):  # a function that remembers, say
            return f"{kind.__name__}({self.said(thing.__wrapped__)})"
        if kind.__module__ in ("typing", "typing_extensions") or kind in (GenericAlias, UnionType):
            inner = (*getattr(thing, "__args__", ()), *getattr(thing, "__metadata__", ()))
            return f"{kind.__name__}({self._row(inner)})" if inner else repr(thing)
        return self._state(thing)

    def _row(self, things: Sequence[Any]) -> str:
        return ", ".join(self.said(one) for one in things)

    def _by_name(self, thing: Any) -> str:
        """A class or a function by its name, where it is found by that, as in another process; else nothing."""
        module, name = str(thing.__module__), str(thing.__qualname__)
        if (module == MAIN and (thing is self.thing or "." in name)) or not found_by_name(thing):
            return ""
        self.uses.append(Symbol(module, name.partition(".")[0]))
        return f"{module if module != MAIN else ''}.{name}"

    def _function(self, function: FunctionType) -> str:
        """By what it does and what it holds."""
        if named := self._by_name(function):
            return named
        code, home, held = function.__code__, function.__globals__.get("__name__"), vars(function)
        if home == "functools" and "registry" in held:  # what it is for each type; all else remembers what was called
            return f"dispatch({self.said(held['registry'])})"
        if home == MAIN and code.co_name != "<lambda>" and not code.co_qualname.startswith(WRITTEN):
            body = self._body(function)
        else:
            known = vars(sys.modules[MAIN]) if home == MAIN else {}
            self.uses += [Symbol(MAIN, name) for name in sorted(_globals(code)) if name in known]
            self.uses += [Symbol(home, code.co_qualname.partition(".")[0])] if home in sys.modules and not known else []
            body = _bytecode(code)
        return (
            f"function({body}, {self._row((function.__defaults__, function.__kwdefaults__, _closure(function), held))})"
        )

    def _body(self, function: FunctionType) -> str:
        """The source of a function of the main module."""
        node = _source(function)
        if node is None:
            raise UserError(
                f"the code of {self.name} cannot be read: it was typed into a console that keeps none",
                "put it into a file and import it, so that what it makes can be told from what an older version made",
            )
        free = frozenset(function.__code__.co_freevars)
        names = {name for name in global_names(ast.unparse(node), free) if not hasattr(sys.modules[MAIN], name)}
        compared = {id(one) for inner in ast.walk(node) if isinstance(inner, ast.Compare) for one in ast.walk(inner)}
        texts = {
            MAIN
            for inner in ast.walk(node)
            if isinstance(inner, ast.Constant) and inner.value == MAIN and id(inner) not in compared
        }
        for name in sorted((names & LOOKED_UP) | texts):
            what = f"`{name}` in the code of {self.name} can read anything, so nobody knows what makes its numbers"
            raise UserError(what, "write the names of what it reads, or put it into a file and import it")
        self.nodes.append((node, free))
        return plain(node)

    def _class(self, cls: type) -> str:
        """By its source, its bases, and what is set on it now."""
        if named := self._by_name(cls):
            return named
        if cls.__module__ == MAIN and (node := _source(cls)) is not None:
            free = [function.__code__.co_freevars for function in _functions(cls)]
            self.nodes.append((without_words(node), frozenset().union(*free)))
        else:
            self.uses.append(Symbol(cls.__module__, cls.__qualname__.partition(".")[0]))
        model: Any = cls if (known := sys.modules.get("pydantic")) and issubclass(cls, known.BaseModel) else None
        fields = {**model.model_fields, **model.__private_attributes__} if model else {}
        defaults = {
            name: (one.default, one.default_factory, getattr(one, "metadata", None)) for name, one in fields.items()
        }
        held = {name: vars(cls)[name] for name in sorted(vars(cls)) if not OF_CLASS.fullmatch(name)}
        if model:  # the words of a plug-in
            held.pop("metrics", None)
        members = getattr(cls, "__members__", {}) if isinstance(cls, EnumType) else {}
        if members:
            held = {name: value for name, value in held.items() if not re.fullmatch("_[a-z0-9_]+_", name)}
            held |= {name: one.value for name, one in members.items()}
        inside = (cls.__name__, type(cls), cls.__bases__, defaults, held)
        return f"class({self._row(inside)})"

    def _state(self, thing: Any) -> str:
        """Any other object, by what it would be put together from in another process. What pickle refuses (a
        connection, a pool) has a state that nobody can know: in a class or a function its type counts."""
        kind = type(thing)
        try:
            known = told(thing)
            reduce = copyreg.dispatch_table.get(kind) or (lambda one: one.__reduce_ex__(4))
            made: Any = reduce(thing) if known is None else None
        except RecursionError:
            raise
        except Exception as error:
            if not self.within or isinstance(thing, USED_UP):
                raise self._unknown(with_type(error)) from error
            return f"{kind.__module__}.{kind.__qualname__}({self.said(getattr(thing, '__dict__', None))})"
        if known is not None:
            return f"{kind.__name__}({self._row(known)})"
        if isinstance(made, str):
            module = str(getattr(thing, "__module__", type(thing).__module__))
            self.uses.append(Symbol(module, made.partition(".")[0]))
            return f"{module}.{made}"
        return f"({self._row([part if n < 3 or part is None else list(part) for n, part in enumerate(made)])})"

    def _unknown(self, why: str) -> UserError:
        return UserError(
            f"the value of {self.name} cannot be read, and something that makes numbers reads it ({why})",
            "put it into a file and import it, or make it inside of what uses it",
        )


def found_by_name(thing: Any) -> bool:
    """Whether a class or a function is what its module has under its name: else it was made by another function, or is
    what stood there before."""
    found: Any = sys.modules.get(str(thing.__module__))
    for part in str(thing.__qualname__).split("."):
        found = getattr(found, part, None)
    return found is thing


def _is_bound(thing: Any) -> bool:
    """Whether it is a method of an object that was made in C."""
    owner = getattr(thing, "__self__", None)
    return isinstance(thing, BuiltinFunctionType) and owner is not None and not isinstance(owner, ModuleType | type)


def _closure(function: FunctionType) -> list[Any]:
    found = []
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # one that is empty still
            found.append(cell.cell_contents)
    return found


def _globals(code: CodeType) -> set[str]:
    inner = [one for one in code.co_consts if isinstance(one, CodeType)]
    return set(code.co_names).union(*map(_globals, inner))


def _bytecode(code: CodeType) -> str:
    """What a function does, wherever it stands."""
    consts = [
        _bytecode(one)
        if isinstance(one, CodeType)
        else sorted(map(repr, one))
        if isinstance(one, frozenset)
        else repr(one)
        for one in code.co_consts
    ]
    return repr((code.co_code, consts, code.co_names, code.co_varnames, code.co_argcount))
