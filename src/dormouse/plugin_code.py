"""What a plug-in is made of: whole modules, and the data files that it reads.

A package with a plug-in counts whole, and so does a file with one. What they import counts too, module by module and
however deep, where its version says nothing: it came with no installed package. Plug-ins are small. So nothing has to
be known of how a name in them comes to its meaning.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dormouse.errors import UserError
from dormouse.files_read import READING, Piece, checksums, files_below, name_in, named_elsewhere, read_by
from dormouse.packages import OWN, _digest, _file, checksum, installed
from dormouse.syntax import Symbol, attributes_of, imported, is_text, plain, read_source, source_of, without_words

DYNAMIC = {"import_module", "__import__", "exec", "eval", "run_path", "run_module", "spec_from_file_location"}
"""Who uses one of these may run anything beside it: all of it counts."""
MOST_MODULES = 1000
"""How many are read of one package each time that keys are made."""


@dataclass(frozen=True)
class Part:
    """A module that counts whole: its pieces, and what it uses."""

    pieces: tuple[Piece, ...] = ()
    uses: tuple[Symbol, ...] = ()


@dataclass(frozen=True)
class _Unit:
    """A package, or a module that is in none, with its Python files by module and all other files."""

    name: str
    file: Path
    modules: tuple[tuple[str, Path], ...]
    data: tuple[Path, ...] = ()

    @property
    def is_package(self) -> bool:
        """Whether it has a folder of its own."""
        return self.file.name == "__init__.py"


def whole(module: str) -> tuple[list[Symbol], list[Piece]]:
    """All modules of the package of a plug-in, and its data files; of a plug-in in a file that file.

    Raises:
        UserError: its code cannot be read, or is too much of it.
    """
    unit = _unit(module)
    if unit is None:
        place = getattr(sys.modules.get(module), "__file__", None)
        if place and Path(place).is_file():  # compiled
            return [], [(module, checksum(Path(place)))]
        where = f"it lies in {place}, an archive or no file at all" if place else "it stands in no file"
        raise UserError(
            f"the code of the plug-in module {module} cannot be read: {where}",
            "put it into a file or a package, unpacked, so that what it makes can be told from an older version's",
        )
    return [Symbol(name, "") for name, _ in unit.modules], list(_data(unit))


def follows(module: str) -> bool:
    """Whether the code of a module counts that a plug-in imports, and not the version of its package."""
    top = module.partition(".")[0]
    return top not in (OWN, "__main__") and not installed(top) and _file(module) is not None


@cache
def part(module: str) -> Part:
    """A module of a plug-in, or one that a plug-in imports.

    Raises:
        UserError: a file of it cannot be read, or there is too much beside it.
    """
    file = _file(module)
    if file is None:
        return Part()
    try:
        tree = ast.parse(source := read_source(file))
    except (SyntaxError, ValueError):  # a template, say: nothing imports it
        return Part(((module, checksum(file)),))
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    nodes = list(ast.walk(tree))
    said = [plain(without_words(node), True, "__doc__" in source) for node in tree.body if not is_text(node)]
    pieces, uses = [(module, _digest(said))], _uses(nodes, package)
    _refuse_edited(module, file, pieces[0][1])
    unit = _unit(module)
    if unit and unit.is_package:
        uses += [Symbol(name, "") for name, _ in unit.modules] if _is_dynamic(nodes) else []
        pieces += _data(unit) if any(name_in(node) in READING for node in nodes) else ()
    else:
        uses += anything_beside(nodes, file)
        pieces += read_by(tree, source, file)
    pieces += named_elsewhere(tree, file.parent)
    return Part(tuple(pieces), tuple(dict.fromkeys(uses)))


AS_IMPORTED: dict[str, tuple[object, str]] = {}
"""Modules that are imported: as what, and the code that each had when its key was made first. It outlasts `forget`."""


def _refuse_edited(module: str, file: Path, code: str) -> None:
    """
    Raises:
        UserError: the code in the file is no longer what is imported, and so not what would make the numbers.
    """
    if module not in sys.modules:
        return
    spec = getattr(sys.modules[module], "__spec__", None)  # a reload makes it anew
    known = AS_IMPORTED.get(module)
    if known and known[0] is spec and known[1] != code:
        what = f"{file} was edited after it was imported: what runs here is what it said before"
        raise UserError(what, f"reload it: importlib.reload({module}), and what imports from it; or start Python again")
    AS_IMPORTED[module] = (spec, code)


def _uses(nodes: Sequence[ast.AST], package: str) -> list[Symbol]:
    """What a module imports, wherever it does so: names of dormouse one by one, of all else whole modules."""
    uses: list[Symbol] = []
    modules: dict[str, Symbol] = {}
    for node in nodes:
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        for name, symbol in imported(node, package).items():
            if symbol.top == OWN and not symbol.name:
                modules[name] = symbol
            elif symbol.top == OWN:
                uses.append(symbol)
        places = [one.name for one in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            source = source_of(node, package)
            places = [source, *(f"{source}.{one.name}" for one in node.names if follows(f"{source}.{one.name}"))]
        uses += [
            Symbol(inner, "") for place in places if place.partition(".")[0] != OWN for inner in _with_parents(place)
        ]
    taken, named = attributes_of(modules, nodes)
    bare = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load) and id(n) not in named}
    return uses + taken + [symbol for name, symbol in modules.items() if name in bare]


def _with_parents(module: str) -> Iterator[str]:
    """A module and the packages that it is in: their `__init__` runs too."""
    while module:
        yield module
        module = module.rpartition(".")[0]


@cache
def _unit(module: str) -> _Unit | None:
    """The outermost package that a module is in; the module, if it is in none (or in a folder that is no package)."""
    for name in sorted(_with_parents(module), key=len):
        file = _file(name)
        if file is not None and file.name != "__init__.py":
            return _Unit(name, file, ((name, file),))
        if file is not None:
            files = list(files_below(file.parent, f"the package {name}"))
            modules = [(_module_of(name, file.parent, path), path) for path in files if path.suffix == ".py"]
            if len(modules) > MOST_MODULES:
                what = f"the package {name} of a plug-in has more than {MOST_MODULES:,} Python files; all of them count"
                raise UserError(what, "put the plug-in into a package of its own")
            data = tuple(path for path in files if path.suffix not in (".py", ".pyc"))
            return _Unit(name, file, tuple(modules), data)
    return None


def _module_of(package: str, folder: Path, file: Path) -> str:
    inner = file.relative_to(folder).with_suffix("").parts
    return ".".join((package, *(inner[:-1] if inner[-1] == "__init__" else inner)))


@cache
def _data(unit: _Unit) -> tuple[Piece, ...]:
    """The files of a package that are no Python."""
    return tuple(checksums(unit.data, unit.file.parent, f"the package {unit.name}")) if unit.is_package else ()


def anything_beside(nodes: Sequence[ast.AST], file: Path) -> list[Symbol]:
    """The modules in the folder of a module that is in no package, if its code may run any of them."""
    beside = sorted(file.parent.glob("*.py")) if _is_dynamic(nodes) else []
    return [Symbol(path.stem, "") for path in beside if path.stem.isidentifier()]


def _is_dynamic(nodes: Sequence[ast.AST]) -> bool:
    """Whether some code imports or runs what it names when it runs; a model's own `eval` is another thing."""
    return any(
        name_in(node) in DYNAMIC and not (isinstance(node, ast.Attribute) and node.attr == "eval") for node in nodes
    )
