"""Python source as it counts in a key, without comments, layout and docstrings; what it imports, and names it uses."""

from __future__ import annotations

import ast
import io
import symtable
import sys
import textwrap
import tokenize
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dormouse.packages import OWN, _file, read_bytes


@dataclass(frozen=True)
class Symbol:
    """A name at the top of a module; "" for the module as a whole."""

    module: str
    name: str

    @cached_property
    def top(self) -> str:
        """The package that it is in."""
        return self.module.partition(".")[0]


def read_source(file: Path) -> str:
    """A Python file as Python reads it: in the encoding that it names, a mark at its start or none, any ends of lines.

    Raises:
        UserError: it cannot be read.
        SyntaxError: there is no such encoding.
    """
    content = read_bytes(file)
    encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
    return io.TextIOWrapper(io.BytesIO(content), encoding, "replace").read()


def text_of(node: ast.AST, lines: Sequence[str]) -> str:
    """A statement as it stands in its file, where it begins a line; else written anew, which takes longer."""
    if isinstance(node, ast.stmt) and node.col_offset == 0 and node.end_lineno and lines:
        first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", ()))])
        return "\n".join(lines[first - 1 : node.end_lineno])
    return ast.unparse(node)


def global_names(text: str, free: Iterable[str] = ()) -> set[str]:
    """The names that some code takes from its module: parameters and local variables of the same name do not count, nor
    do the `free` ones, of functions around it."""
    if free:
        text = f"def _({', '.join(free)}):\n{textwrap.indent(text, ' ')}"
    tables = [symtable.symtable(text, "code", "exec")]
    names = {one.get_name() for one in tables[0].get_symbols() if one.is_referenced()}
    while tables:
        table = tables.pop()
        tables += table.get_children()
        if table.get_type() != "module":
            names |= {one.get_name() for one in table.get_symbols() if one.is_global()}
    return names


def plain(node: ast.AST, places: bool = False, docstrings: bool = False) -> str:
    """A statement as it counts: not where it stands, and not its docstrings (those under fields too).

    Args:
        places: whether the modules count from which it imports.
        docstrings: whether docstrings count after all.
    """
    said: list[str] = [type(node).__name__]
    for name, value in ast.iter_fields(node):
        if name == "body" and isinstance(value, list) and not docstrings:
            value = [one for one in value if not is_text(one)]
        if isinstance(node, ast.ImportFrom) and name in ("module", "level") and not places:
            continue
        inner = value if isinstance(value, list) else [value]
        said += [name, *(plain(one, places, docstrings) if isinstance(one, ast.AST) else repr(one) for one in inner)]
    return f"({' '.join(said)})"


def is_text(node: ast.AST) -> bool:
    """Whether a statement is nothing but a text."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def without_words(node: ast.AST) -> ast.AST:
    """A class without its `metrics`: these say how its numbers are called and shown, and make none."""
    if not isinstance(node, ast.ClassDef):
        return node
    body = [one for one in node.body if not (isinstance(one, ast.AnnAssign) and ast.unparse(one.target) == "metrics")]
    if len(body) == len(node.body):
        return node
    plain = ast.ClassDef(**{**dict(ast.iter_fields(node)), "body": body or [ast.Pass()]})
    return ast.copy_location(plain, ast.Pass(lineno=node.lineno, col_offset=1))  # it stands in no file as it is


def imported(node: ast.Import | ast.ImportFrom, package: str) -> dict[str, Symbol]:
    """Name -> what it stands for. `package` is where relative imports start from."""
    if isinstance(node, ast.Import):
        return {
            alias.asname or alias.name.partition(".")[0]: Symbol(
                alias.name if alias.asname else alias.name.partition(".")[0], ""
            )
            for alias in node.names
        }
    source = source_of(node, package)
    found = {}
    for alias in node.names:
        inner = f"{source}.{alias.name}"
        is_module = inner.partition(".")[0] == OWN and _file(inner) is not None
        is_module = is_module or (alias.name != "*" and inner in sys.modules and _file(inner) is not None)
        found[alias.asname or alias.name] = Symbol(inner, "") if is_module else Symbol(source, alias.name)
    return found


def source_of(node: ast.ImportFrom, package: str) -> str:
    """The module from which something is imported, by its whole name."""
    above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
    return ".".join([*above, *([node.module] if node.module else [])])


def chains(nodes: Sequence[ast.AST]) -> Iterator[tuple[ast.Name, list[str]]]:
    """The names of which attributes are taken, each with the longest chain of these: `a.b.c` is `a` with b and c.

    Args:
        nodes: as `ast.walk` gives them, what is outside first.
    """
    inner: set[int] = set()
    for node in nodes:
        if not isinstance(node, ast.Attribute) or id(node) in inner:
            continue
        attributes, value = [node.attr], node.value
        while isinstance(value, ast.Attribute):
            inner.add(id(value))
            attributes.append(value.attr)
            value = value.value
        if isinstance(value, ast.Name):
            yield value, attributes[::-1]


def resolved(module: str, attributes: Sequence[str]) -> Symbol:
    """What a chain of attributes of a module stands for: through the modules in it, to the first name in the last."""
    first, *others = attributes
    if others and _file(f"{module}.{first}") is not None:
        return resolved(f"{module}.{first}", others)
    return Symbol(module, first)


def attributes_of(modules: Mapping[str, Symbol], nodes: Sequence[ast.AST]) -> tuple[list[Symbol], set[int]]:
    """What some code takes of modules that it names, and the ids of the names by which it does so."""
    uses, named = [], set()
    for name, attributes in chains(nodes):
        whole = modules.get(name.id)
        if whole and not whole.name:
            named.add(id(name))
            uses.append(resolved(whole.module, attributes))
    return uses, named
