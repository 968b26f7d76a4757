"""Which code a function or a class is made of, as a hash: definition by definition, not module by module.

From a root the names that it uses are followed to the functions, classes and constants that they stand for, in
`dormouse` and in the packages of plug-ins, however deep. Each counts by its name and its code; comments, docstrings,
layout and the module in which it stands do not. So a change anywhere in that code moves the hash; a change beside it
does not, and neither does a module that is moved or renamed. Of other packages the version counts, where the code
reached imports them.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import symtable
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypedDict

from dormouse.errors import UserError
from dormouse.packages import OWN, _by_import, _data, _digest, _distributions, _file, _versions, _whole

DYNAMIC = {"import_module", "__import__", "exec", "eval"}
"""A plug-in that uses one of these may run anything in its package: all of it counts."""


class Code(TypedDict):
    """What something is made of: a hash of the code, and the version of each library that it uses."""

    code: str
    libraries: Mapping[str, str]


def code_of(*roots: Any) -> Code:
    """What some functions and classes are made of: `code`, a hash, and `libraries`, name -> version.

    Raises:
        UserError: the source of one cannot be read (it was typed into a console that keeps none).
    """
    packages = {OWN} | {_top(base) for root in roots for base in _with_bases(root)}
    found: set[_Symbol] = set()
    waiting = [_Symbol(root.__module__, root.__qualname__.partition(".")[0]) for r in roots for root in _with_bases(r)]
    libraries: set[str] = set()
    pieces: set[tuple[str, str]] = set()
    while waiting:
        symbol = waiting.pop()
        if symbol in found or symbol.module.partition(".")[0] not in packages:
            continue
        found.add(symbol)
        reached = _reached(symbol)
        pieces.update(reached.pieces)
        libraries.update(reached.outside)
        for used in reached.uses:
            top = used.module.partition(".")[0]
            if top in packages:
                waiting.append(used)
            else:
                libraries.add(top)
    pieces.update(piece for top in packages - {OWN} for piece in _data(top))
    return {"code": _digest(sorted(pieces)), "libraries": _versions(frozenset(libraries))}


@dataclass(frozen=True)
class _Symbol:
    """A name at the top of a module; "" for the module as a whole."""

    module: str
    name: str


@dataclass
class _Reached:
    """What one symbol comes to: its own code, and what it uses."""

    pieces: list[tuple[str, str]] = field(default_factory=list)
    uses: list[_Symbol] = field(default_factory=list)
    outside: set[str] = field(default_factory=set)


@dataclass
class _Module:
    """A module, taken apart: the statements that define each name, what is imported, and what is just executed."""

    name: str
    package: str
    file: Path | None
    lines: Sequence[str] = ()
    definitions: dict[str, list[ast.AST]] = field(default_factory=dict)
    imports: dict[str, _Symbol] = field(default_factory=dict)
    loose: list[ast.AST] = field(default_factory=list)


def _with_bases(root: Any) -> list[Any]:
    """A root and, of a class, the bases that are no library's own."""
    if not inspect.isclass(root):
        return [root]
    strange = ("builtins", "pydantic", "abc", "typing", "collections", "typing_extensions")
    return [base for base in root.__mro__ if _top(base) not in strange]


def _top(root: Any) -> str:
    return str(root.__module__).partition(".")[0]


@cache
def _reached(symbol: _Symbol) -> _Reached:
    module = _module(symbol.module)
    if module is None:  # of a package that counts, and no module of it: a name that another module gives it
        return _Reached(outside={symbol.module.partition(".")[0]} - {OWN})
    reached = _Reached()
    if not symbol.name:
        nodes = [node for part in module.definitions.values() for node in part] + module.loose
    elif symbol.name in module.definitions:
        nodes = [*module.definitions[symbol.name], *module.loose]
    elif symbol.name in module.imports:
        reached.uses.append(module.imports[symbol.name])
        return reached
    elif _module(f"{symbol.module}.{symbol.name}"):
        return _Reached(uses=[])  # a submodule named without anything in it
    else:
        nodes = _live(symbol)
    for node in nodes:
        _take(node, symbol, module, reached)
    return reached


def _take(node: ast.AST, symbol: _Symbol, module: _Module, reached: _Reached) -> None:
    """The code of one statement, and what it uses."""
    node = _without_words(node)
    imports, names = dict(module.imports), _global_names(_text_of(node, module))
    inside = list(ast.walk(node))
    for inner in inside:
        if isinstance(inner, ast.Import | ast.ImportFrom):
            local = _imported(inner, module.package)
            imports |= local
            names |= set(local)
    attributes: set[int] = set()
    for inner in inside:
        if isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name):
            whole = imports.get(inner.value.id)
            if whole and not whole.name:
                attributes.add(id(inner.value))
                reached.uses.append(_Symbol(whole.module, inner.attr))
    bare = {n.id for n in inside if isinstance(n, ast.Name) and id(n) not in attributes}
    names = {name for name in names if name in bare or (name in imports and imports[name].name)}
    for name in sorted(names):
        if name in imports:
            reached.uses.append(imports[name])
        elif name in module.definitions and name != symbol.name:
            reached.uses.append(_Symbol(module.name, name))
        elif module.file is None and name not in module.definitions:
            reached.uses += [_Symbol(module.name, name)] if hasattr(sys.modules.get(module.name), name) else []
    if module.name.partition(".")[0] != OWN and names & DYNAMIC:
        reached.pieces += _whole(module.name.partition(".")[0])
    for package in _read_from(node, names, module):
        reached.pieces += _data(package)
    reached.pieces.append((symbol.name, _digest(_plain(node))))


def _without_words(node: ast.AST) -> ast.AST:
    """A class without its `metrics`: these say how its numbers are called and shown, and make none."""
    if not isinstance(node, ast.ClassDef):
        return node
    body = [one for one in node.body if not (isinstance(one, ast.AnnAssign) and ast.unparse(one.target) == "metrics")]
    if len(body) == len(node.body):
        return node
    plain = ast.ClassDef(**{**dict(ast.iter_fields(node)), "body": body or [ast.Pass()]})
    return ast.copy_location(plain, ast.Pass(lineno=node.lineno, col_offset=1))  # it stands in no file as it is


def _text_of(node: ast.AST, module: _Module) -> str:
    """A statement as it stands in its file, where it begins a line; else written anew, which takes longer."""
    if isinstance(node, ast.stmt) and node.col_offset == 0 and node.end_lineno and module.lines:
        first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", ()))])
        return "\n".join(module.lines[first - 1 : node.end_lineno])
    return ast.unparse(node)


def _global_names(text: str) -> set[str]:
    """The names that some code takes from its module: parameters and local variables of the same name do not count."""
    tables = [symtable.symtable(text, "code", "exec")]
    names = {one.get_name() for one in tables[0].get_symbols() if one.is_referenced()}
    while tables:
        table = tables.pop()
        tables += table.get_children()
        if table.get_type() != "module":
            names |= {one.get_name() for one in table.get_symbols() if one.is_global()}
    return names


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


def _plain(node: ast.AST) -> str:
    """A statement without docstrings (those under fields too), the places from which it imports, and its own place."""
    said: list[str] = [type(node).__name__]
    for name, value in ast.iter_fields(node):
        if name == "body" and isinstance(value, list):
            value = [one for one in value if not _is_text(one)]
        if isinstance(node, ast.ImportFrom) and name in ("module", "level"):
            continue
        inner = value if isinstance(value, list) else [value]
        said += [name, *(_plain(one) if isinstance(one, ast.AST) else repr(one) for one in inner)]
    return f"({' '.join(said)})"


def _is_text(node: ast.AST) -> bool:
    """Whether a statement is nothing but a text."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@cache
def _module(name: str) -> _Module | None:
    """A module by its file, found without importing it; None where there is no such module."""
    file = _file(name)
    loaded = sys.modules.get(name)
    if file is None:
        return _Module(name, name, None) if loaded is not None and name == "__main__" else None
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    text = file.read_bytes()
    module = _Module(name, package, file, text.decode("utf-8", "replace").split("\n"))
    for node in ast.parse(text).body:
        _sort(node, module)
    return module


def _sort(node: ast.AST, module: _Module) -> None:
    """Put a statement at the top of a module where it belongs."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        module.imports |= _imported(node, module.package)
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        module.definitions.setdefault(node.name, []).append(node)
    elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        plain = [n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)]
        for name in plain:
            module.definitions.setdefault(name, []).append(node)
    elif isinstance(node, ast.If | ast.Try):
        for inner in ast.iter_child_nodes(node):
            if isinstance(inner, ast.ExceptHandler):
                for deeper in inner.body:
                    _sort(deeper, module)
            elif isinstance(inner, ast.stmt):
                _sort(inner, module)
    elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):  # a docstring
        module.loose.append(node)


def _imported(node: ast.Import | ast.ImportFrom, package: str) -> dict[str, _Symbol]:
    """Name -> what it stands for. `package` is where relative imports start from."""
    if isinstance(node, ast.Import):
        return {
            alias.asname or alias.name.partition(".")[0]: _Symbol(
                alias.name if alias.asname else alias.name.partition(".")[0], ""
            )
            for alias in node.names
        }
    above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
    source = ".".join([*above, *([node.module] if node.module else [])])
    found = {}
    for alias in node.names:
        inner = f"{source}.{alias.name}"
        is_module = inner.partition(".")[0] == OWN and _file(inner) is not None
        is_module = is_module or (alias.name != "*" and inner in sys.modules and _file(inner) is not None)
        found[alias.asname or alias.name] = _Symbol(inner, "") if is_module else _Symbol(source, alias.name)
    return found


def _live(symbol: _Symbol) -> list[ast.AST]:
    """The source of something of the main module: it was typed into a notebook or a console, or stands in a script.

    Raises:
        UserError: it was kept nowhere.
    """
    thing = getattr(sys.modules.get(symbol.module), symbol.name, None)
    if not (inspect.isclass(thing) or inspect.isfunction(thing)) or thing.__module__ != symbol.module:
        plain = isinstance(thing, int | float | str | bytes | tuple | frozenset | bool)
        return [ast.parse(f"_ = {thing!r}")] if plain else []
    functions = [thing] if inspect.isfunction(thing) else [f for f in vars(thing).values() if inspect.isfunction(f)]
    files = [function.__code__.co_filename for function in functions]
    if not files:  # a class may have no function of its own: the script, or the newest cell that defines it
        script = getattr(sys.modules[symbol.module], "__file__", None)
        cells = [file for file in reversed(linecache.cache) if "ipython-input" in file or "ipykernel" in file]
        files = [script] if script else cells
    for file in files:
        lines = linecache.getlines(file)
        for node in ast.walk(ast.parse("".join(lines))) if lines else ():
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == symbol.name:
                return [node]
    raise UserError(
        f"the code of {symbol.name} cannot be read: it was typed into a console that keeps none",
        "put it into a file and import it, so that what it makes can be told from what an older version made",
    )


def forget() -> None:
    """Read all code anew: what was typed into a notebook may have changed."""
    for function in (_reached, _module, _file, _data, _whole, _versions, _distributions, _by_import):
        function.cache_clear()
