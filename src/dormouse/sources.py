"""Which code a function or a class is made of, as a hash.

Dormouse's own code counts definition by definition: from a root the names that it uses are followed to the functions,
classes and constants that they stand for, however deep. Each counts by its name and its code; comments, docstrings,
layout and the module in which it stands do not. So a change anywhere in that code moves the hash; a change beside it
does not, and neither does a module that is moved or renamed. Of plug-ins whole modules count (see `plugin_code`), and
of a script or a notebook what is there (see `live_code`). Of other packages the version counts, where the code reached
imports them.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypedDict

from dormouse import packages, plugin_code
from dormouse.files_read import named_elsewhere, read_by
from dormouse.kept_code import Reached, keep, recall
from dormouse.live_code import MAIN, found_by_name, live, main_modules
from dormouse.locks import ThreadLock
from dormouse.packages import OWN, _data, _digest, _file, _versions
from dormouse.plugin_code import anything_beside, follows, part, whole
from dormouse.syntax import Symbol, attributes_of, global_names, imported, plain, read_source, text_of, without_words


class Code(TypedDict):
    """What something is made of: a hash of the code, and the version of each library that it uses."""

    code: str
    libraries: Mapping[str, str]


_reading = ThreadLock()
"""One thread at a time takes code apart: another would forget what this one has read of it, and Python's own parser
fails where two are inside (SystemError, up to 3.11.7 and 3.12.0)."""


def code_of(*roots: Any) -> Code:
    """What some functions and classes are made of: `code`, a hash, and `libraries`, name -> version.

    Raises:
        UserError: the source of one cannot be read (it was typed into a console that keeps none).
    """
    with _reading.lock:
        return _code_of(*roots)


_keeping: Path | None = None


def keep_in(folder: Path) -> None:
    """Keep there what dormouse's own code comes to (see `kept_code`), for the commands after this one."""
    global _keeping
    _keeping = folder


@cache
def _code_of(*roots: Any) -> Code:
    if _keeping:
        _recall(_keeping, _state())
    known = len(_KEPT)
    waiting: list[Symbol] = []
    pieces: set[tuple[str, str]] = set()
    counted: set[str] = set()
    for one in dict.fromkeys(base for root in roots for base in _with_bases(root)):
        if _top(one) == MAIN or (_is_plugin(one) and not found_by_name(one)):
            alive = _alive(one.__qualname__, one)
            pieces.update(alive.pieces)
            waiting += alive.uses
        if _top(one) == MAIN:
            continue
        if _top(one) == OWN or not (one in roots or _is_plugin(one)):
            waiting.append(Symbol(one.__module__, one.__qualname__.partition(".")[0]))
            continue
        modules, data = whole(one.__module__)
        waiting += modules
        pieces.update(data)
        counted.update(symbol.module for symbol in modules)
    found: set[Symbol] = set()
    libraries: set[str] = set()
    while waiting:
        symbol = waiting.pop()
        if symbol in found:
            continue
        found.add(symbol)
        if symbol.top in (OWN, MAIN):
            reached = _reached(symbol)
            pieces.update(reached.pieces)
            libraries.update(reached.libraries)
            waiting += reached.uses
        elif symbol.module in counted or follows(symbol.module):
            pieces.update(part(symbol.module).pieces)
            waiting += part(symbol.module).uses
        else:
            libraries.add(symbol.top)
    if _keeping and len(_KEPT) > known and _tree() == _tree.__wrapped__():  # else it was edited meanwhile
        keep(
            _keeping, _state(), {symbol: one for symbol, (said, one) in _KEPT.items() if said == _stamp(symbol.module)}
        )
    return {"code": _digest(sorted(pieces)), "libraries": _versions(frozenset(libraries))}


@dataclass
class _Module:
    """A module, taken apart: the statements that define each name, what is imported, and what is just executed."""

    name: str
    package: str
    file: Path | None
    lines: Sequence[str] = ()
    definitions: dict[str, list[ast.AST]] = field(default_factory=dict)
    imports: dict[str, Symbol] = field(default_factory=dict)
    loose: list[ast.AST] = field(default_factory=list)
    script: Path | None = None
    """The file of the main module, if it has one. Of that module is what is there, not what its file says."""


def _with_bases(root: Any) -> list[Any]:
    """A root and, of a class, the bases that are no library's own."""
    if not inspect.isclass(root):
        return [root]
    strange = ("builtins", "pydantic", "abc", "typing", "collections", "typing_extensions")
    return [base for base in root.__mro__ if _top(base) not in strange]


def _top(root: Any) -> str:
    return str(root.__module__).partition(".")[0]


def _is_plugin(root: Any) -> bool:
    return any(
        (base.__module__, base.__name__) == ("dormouse.registry", "PlugIn") for base in getattr(root, "__mro__", ())
    )


_KEPT: dict[Symbol, tuple[str, Reached]] = {}
"""What dormouse's own code comes to, with what it was found in (see `_stamp`): that outlasts `forget`."""


@cache
def _reached(symbol: Symbol) -> Reached:
    if symbol.top != OWN:
        return _all_reached(symbol)
    stamp, kept = _stamp(symbol.module), _KEPT.get(symbol)
    if kept and kept[0] == stamp:
        return kept[1]
    reached = _all_reached(symbol)
    reached.libraries = {used.top for used in reached.uses} - {OWN}
    reached.uses = list(dict.fromkeys(used for used in reached.uses if used.top == OWN))
    _KEPT[symbol] = (stamp, reached)
    return reached


@cache
def _state() -> str:
    """All that what dormouse's code comes to depends on: its files, and the parser that takes them apart."""
    beside, code = _tree()
    return _digest([sys.version, beside, *code.values()])


@cache
def _recall(folder: Path, state: str) -> None:
    """Know what a folder keeps of this code."""
    _KEPT.update({symbol: (_stamp(symbol.module), one) for symbol, one in recall(folder, state).items()})


@cache
def _stamp(module: str) -> str:
    """All that is read to know what a name of a module of dormouse comes to: its file, which other modules there are,
    and the files that are no code."""
    beside, code = _tree()
    file = _file(module)
    return f"{beside} {code.get(file, '') if file else ''}"


@cache
def _tree() -> tuple[str, Mapping[Path, str]]:
    """The files of dormouse: a checksum of the names of all and of what is in those that are no code, and one of each
    that is. It takes 20 ms, where to take all code apart takes a second."""
    root = Path(packages.__file__).parent
    files = sorted(path for path in root.rglob("*") if path.suffix != ".pyc" and path.is_file())
    code = {path: packages.checksum(path) for path in files if path.suffix == ".py"}
    names = [(str(path.relative_to(root)), "" if path in code else packages.checksum(path)) for path in files]
    return _digest(names), code


def _all_reached(symbol: Symbol) -> Reached:
    module = _module(symbol.module)
    reached = Reached()
    if module is None:  # a name that another module gives the package
        return reached
    if symbol.name in ("", "*"):
        nodes = [node for part in module.definitions.values() for node in part] + module.loose
        reached.uses += module.imports.values() if symbol.name else ()
    elif symbol.name in module.definitions:
        nodes = [*module.definitions[symbol.name], *module.loose]
    elif symbol.name in module.imports:
        reached.uses.append(module.imports[symbol.name])
        return reached
    elif _module(f"{symbol.module}.{symbol.name}"):
        return reached  # a submodule named without anything in it
    elif symbol.module == MAIN:
        return _alive(symbol.name, getattr(sys.modules[MAIN], symbol.name, None))
    else:
        nodes = []
    for node in nodes:
        _take(node, symbol, module, reached)
    return reached


def _alive(name: str, thing: Any) -> Reached:
    """What something in the main module, or a class that was made at run time, comes to."""
    found, module = live(name, thing), _module(MAIN)
    reached = Reached([(name, _digest(found.said))], list(found.uses))
    if module:
        for node, free in found.nodes:
            _take(node, Symbol(MAIN, name), module, reached, free)
    return reached


def _take(node: ast.AST, symbol: Symbol, module: _Module, reached: Reached, free: frozenset[str] = frozenset()) -> None:
    """The code of one statement, and what it uses; `free` are names of functions around it."""
    node = without_words(node)
    names = global_names(text_of(node, module.lines), free)
    imports = {**module.imports, **(main_modules(names) if module.file is None else {})}
    inside = list(ast.walk(node))
    for inner in inside:
        if isinstance(inner, ast.Import | ast.ImportFrom):
            local = imported(inner, module.package)
            imports |= local
            names |= set(local)
    taken, attributes = attributes_of(imports, inside)
    reached.uses += taken
    bare = {n.id for n in inside if isinstance(n, ast.Name) and id(n) not in attributes}
    names = {name for name in names if name in bare or (name in imports and imports[name].name)}
    for name in sorted(names):
        if name in imports:
            reached.uses.append(imports[name])
        elif name in module.definitions and name != symbol.name:
            reached.uses.append(Symbol(module.name, name))
        elif module.file is None and not name.startswith("__") and hasattr(sys.modules[MAIN], name):
            reached.uses.append(Symbol(MAIN, name))
    for package in _read_from(node, names, module):
        reached.pieces += _data(package)
    if module.script:
        reached.pieces += read_by(node, ast.unparse(node), module.script)
        reached.uses += anything_beside(inside, module.script)
    if module.file is None and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        reached.pieces += named_elsewhere(node)
    reached.pieces.append((symbol.name, _digest(plain(node))))


def _read_from(node: ast.AST, names: set[str], module: _Module) -> Iterator[str]:
    """The packages whose data files some code reads: by `files("...")`, or beside itself."""
    if "files" in names or "__file__" in names:
        said = [
            call.args[0].value
            for call in ast.walk(node)
            if isinstance(call, ast.Call)
            and isinstance(call.func, ast.Name)
            and call.func.id == "files"
            and call.args
            and isinstance(call.args[0], ast.Constant)
        ]
        yield from map(str, said or [module.package])


@cache
def _module(name: str) -> _Module | None:
    """A module by its file, found without importing it; None where there is no such module."""
    file = _file(name)
    if name == MAIN:
        main = sys.modules[MAIN]
        script = Path(getattr(main, "__file__", None) or "").resolve()
        return _Module(
            name, getattr(main, "__package__", None) or "", None, script=script if script.is_file() else None
        )
    if file is None:
        return None
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    text = read_source(file)
    module = _Module(name, package, file, text.split("\n"))
    for node in ast.parse(text).body:
        _sort(node, module)
    return module


def _sort(node: ast.AST, module: _Module) -> None:
    """Put a statement at the top of a module where it belongs."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        module.imports |= imported(node, module.package)
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        module.definitions.setdefault(node.name, []).append(node)
    elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for name in (n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)):
            module.definitions.setdefault(name, []).append(node)
    elif isinstance(node, ast.If | ast.Try):
        inside = _Module(module.name, module.package, module.file)
        for inner in ast.iter_child_nodes(node):
            for deeper in inner.body if isinstance(inner, ast.ExceptHandler) else [inner]:
                if isinstance(deeper, ast.stmt):
                    _sort(deeper, inside)
        conditions = [node.test] if isinstance(node, ast.If) else [one.type for one in node.handlers if one.type]
        for name, nodes in inside.definitions.items():
            module.definitions.setdefault(name, []).extend([*nodes, *conditions])
        module.imports |= inside.imports
        module.loose += inside.loose
    elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):  # a docstring
        module.loose.append(node)


def forget() -> None:
    """Read all code anew, and the values that it reads: they may have changed."""
    with _reading.lock:
        for room in (packages, plugin_code, sys.modules[__name__]):
            for function in vars(room).values():
                if hasattr(function, "cache_clear"):
                    function.cache_clear()
