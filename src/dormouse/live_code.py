"""What stands in the main module: a script, a notebook, a console. Functions and classes count by their source, as they
were defined last; of all else that is read it is the value that counts, whoever made it."""

from __future__ import annotations

import ast
import copyreg
import inspect
import io
import linecache
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, GenericAlias, MappingProxyType, ModuleType, UnionType
from typing import Any

from dormouse.errors import UserError, with_type
from dormouse.packages import MOST_BYTES, checksum
from dormouse.syntax import Symbol

MAIN = "__main__"
MOST = 2**28
"""Characters that the values of one name may come to."""
PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented), range)
SILENT = (type(threading.Lock()), type(threading.RLock()), threading.Event, threading.Thread)
"""What holds no number."""


@dataclass
class Live:
    """What a name of the main module comes to: its source, or its value in words; and what that uses."""

    nodes: list[ast.AST] = field(default_factory=list)
    said: str = ""
    uses: list[Symbol] = field(default_factory=list)


def main_modules(names: set[str]) -> dict[str, Symbol]:
    """Which of some names of the main module are modules."""
    found = {name: getattr(sys.modules.get(MAIN), name, None) for name in names}
    return {name: Symbol(thing.__name__, "") for name, thing in found.items() if isinstance(thing, ModuleType)}


def live(name: str) -> Live:
    """What a name of the main module comes to.

    Raises:
        UserError: its source was kept nowhere, or its value cannot be known.
    """
    thing: Any = getattr(sys.modules.get(MAIN), name, None)
    if callable(thing) and not inspect.isclass(thing):
        thing = inspect.unwrap(thing)
    is_code = inspect.isclass(thing) or (inspect.isfunction(thing) and thing.__name__ != "<lambda>")
    if is_code and thing.__module__ == MAIN:
        return Live([_source(name, thing)])
    reader = _Reader(name)
    return Live(said=reader.said(thing), uses=reader.uses)


def _source(name: str, thing: Any) -> ast.AST:
    """The statement that defines a class or a function of the main module.

    Raises:
        UserError: it was kept nowhere.
    """
    functions = [thing] if inspect.isfunction(thing) else list(_functions(thing))
    codes = [(function.__code__.co_filename, function.__code__.co_firstlineno) for function in functions]
    codes = [(file, line) for file, line in codes if file != "<string>"]  # a dataclass writes some itself
    if not codes:  # a class may have no function of its own: the script, or the newest cell that defines it
        script = getattr(sys.modules[MAIN], "__file__", None)
        cells = [file for file in reversed(linecache.cache) if "ipython-input" in file or "ipykernel" in file]
        codes = [(file, 0) for file in ([script] if script else cells)]
    for file, line in codes:
        lines = linecache.getlines(file)
        known = ast.walk(ast.parse("".join(lines))) if lines else ()
        kinds = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        named = [node for node in known if isinstance(node, kinds) and node.name == thing.__name__]
        if named:  # of several of the same name that in which its code stands
            return next((node for node in named if _begins(node) <= line <= (node.end_lineno or 0)), named[0])
    raise UserError(
        f"the code of {name} cannot be read: it was typed into a console that keeps none",
        "put it into a file and import it, so that what it makes can be told from what an older version made",
    )


def _functions(cls: type) -> Iterator[FunctionType]:
    for value in vars(cls).values():
        inner = getattr(value, "__func__", None) or getattr(value, "fget", None) or getattr(value, "func", None)
        found = inspect.unwrap(inner or value)
        if inspect.isfunction(found) and found.__qualname__.startswith(cls.__qualname__):
            yield found


def _begins(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return min([node.lineno, *(one.lineno for one in node.decorator_list)])


@dataclass
class _Reader:
    """Says a value in words: the same for the same value in every process."""

    name: str
    uses: list[Symbol] = field(default_factory=list)
    around: list[int] = field(default_factory=list)
    """The objects that the one is in which is said, so that a circle ends."""
    length: int = 0

    def said(self, thing: Any) -> str:
        """A value in words. Raises UserError where it cannot be known."""
        if type(thing) in PLAIN:
            return self._counted(repr(thing))
        if id(thing) in self.around:
            return f"<{self.around.index(id(thing))}>"
        self.around.append(id(thing))
        try:
            return self._counted(self._inside(thing))
        finally:
            self.around.pop()

    def _counted(self, text: str) -> str:
        self.length += len(text) if len(self.around) < 2 else 0
        if self.length > MOST or len(text) > MOST:
            raise self._unknown("it is too large")
        return text

    def _inside(self, thing: Any) -> str:
        kind = type(thing)
        if kind is dict:
            return f"{{{', '.join(f'{self.said(key)}: {self.said(value)}' for key, value in thing.items())}}}"
        if kind in (list, tuple):
            return f"{kind.__name__}({self._row(thing)})"
        if kind in (set, frozenset):
            return f"{kind.__name__}({', '.join(sorted(self.said(one) for one in thing))})"
        if kind is MappingProxyType:
            return self.said(dict(thing))
        if isinstance(thing, Path) and thing.is_file():
            if thing.stat().st_size > MOST_BYTES:
                raise self._unknown("its file is larger than 1 GB")
            return f"file({thing.name!r}, {checksum(thing)})"
        if isinstance(thing, ModuleType):
            self.uses.append(Symbol(thing.__name__, ""))
            return f"module({thing.__name__})"
        if isinstance(thing, SILENT) or (isinstance(thing, io.IOBase) and thing.writable() and not thing.readable()):
            return kind.__name__
        if isinstance(thing, type | FunctionType | BuiltinFunctionType) and not _is_bound(thing):
            return self._code(thing)
        if kind.__module__ in ("typing", "typing_extensions") or kind in (GenericAlias, UnionType):
            inner = (*getattr(thing, "__args__", ()), *getattr(thing, "__metadata__", ()))
            return f"{kind.__name__}({self._row(inner)})" if inner else repr(thing)
        return self._state(thing)

    def _row(self, things: Sequence[Any]) -> str:
        return ", ".join(self.said(one) for one in things)

    def _code(self, thing: Any) -> str:
        """A class or a function: by its name, where it can be found by that; else by what it does."""
        module, name = str(thing.__module__), str(thing.__qualname__)
        if module == MAIN and isinstance(thing, FunctionType) and getattr(sys.modules[MAIN], name, None) is not thing:
            return self._lambda(thing)
        if thing.__module__:
            self.uses.append(Symbol(module, name.partition(".")[0]))
        closure = self._row(_closure(thing)) if isinstance(thing, FunctionType) and thing.__closure__ else ""
        return f"{module if module != MAIN else ''}.{name}({closure})"

    def _lambda(self, function: FunctionType) -> str:
        known = vars(sys.modules[MAIN])
        self.uses += [Symbol(MAIN, name) for name in sorted(_globals(function.__code__)) if name in known]
        given = (function.__defaults__, function.__kwdefaults__, _closure(function))
        return f"function({_bytecode(function.__code__)}, {self._row(given)})"

    def _state(self, thing: Any) -> str:
        """Any other object, by what it would be put together from in another process."""
        try:
            reduce = copyreg.dispatch_table.get(type(thing))
            made: Any = reduce(thing) if reduce else thing.__reduce_ex__(4)
        except Exception as error:
            raise self._unknown(with_type(error)) from error
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
