"""What a plug-in is made of: whole modules, and the data files that it reads.

A package with a plug-in counts whole, and so does a file with one. What they import counts too, module by module and
however deep, where its version says nothing: it came with no installed package. Plug-ins are small. So nothing has to
be known of how a name in them comes to its meaning.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dormouse.errors import UserError
from dormouse.packages import MOST_BYTES, OWN, REMEDY, _digest, _file, checksum, installed
from dormouse.syntax import Symbol, attributes_of, imported, is_text, plain, read_source, source_of, without_words

DYNAMIC = {"import_module", "__import__", "exec", "eval", "run_path", "run_module", "spec_from_file_location"}
"""Who uses one of these may run anything beside it: all of it counts."""
READING = {"__file__", "files", "resources", "get_data", "getfile", "getsourcefile"}
"""Who uses one of these may read what lies beside it."""
WRITING = {
    *("write_text", "write_bytes", "touch", "mkdir"),
    *("save", "savez", "savetxt", "save_file"),
    *("to_csv", "to_json", "to_parquet"),
}
"""What is called with the name of a file that it writes."""
MOST_MODULES = 1000
MOST_FILES = 10_000
"""How many are read of one package, or of one folder, each time that keys are made."""

Piece = tuple[str, str]


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
    unit = _unit(module)
    if unit and unit.is_package:
        uses += [Symbol(name, "") for name, _ in unit.modules] if _is_dynamic(nodes) else []
        pieces += _data(unit) if any(_name_in(node) in READING for node in nodes) else ()
    else:
        uses += anything_beside(nodes, file)
        pieces += read_by(tree, source, file)
    pieces += named_elsewhere(tree, file.parent)
    return Part(tuple(pieces), tuple(dict.fromkeys(uses)))


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
            files = list(_below(file.parent, f"the package {name}"))
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


def _below(folder: Path, whose: str) -> Iterator[Path]:
    """All files below a folder, in order, through links too; not those that tools keep beside what is read.

    Raises:
        UserError: there are more than MOST_FILES.
    """
    seen, number = set(), 0
    for place, folders, files in os.walk(folder, onerror=_refused, followlinks=True):
        real = os.path.realpath(place)
        folders[:] = sorted(name for name in folders if name[0] != "." and name != "__pycache__" and real not in seen)
        for name in sorted(files) if real not in seen else ():
            number += 1
            if number > MOST_FILES:
                raise _too_much(whose, f"{MOST_FILES:,} files")
            if (path := Path(place, name)).is_file():
                yield path
        seen.add(real)


def _refused(error: OSError) -> None:
    raise UserError(f"{error.filename} cannot be read: {error.strerror}", REMEDY) from None


def _too_much(whose: str, most: str) -> UserError:
    what = f"{whose} has more than {most}, and all of them count for what makes numbers"
    return UserError(what, "keep what the plug-in does not read elsewhere, or name in its code the files that it reads")


@cache
def _data(unit: _Unit) -> tuple[Piece, ...]:
    """The files of a package that are no Python."""
    return tuple(_checked(unit.data, unit.file.parent, f"the package {unit.name}")) if unit.is_package else ()


def _checked(files: Iterable[Path], folder: Path, whose: str) -> Iterator[Piece]:
    """Files by their places and what is in them.

    Raises:
        UserError: they have more than MOST_BYTES, or one of them cannot be read.
    """
    total = 0
    for path in sorted(set(files)):
        total += path.stat().st_size
        if total > MOST_BYTES:
            raise _too_much(whose, f"{MOST_BYTES // 2**30} GB of files that are no Python")
        yield os.path.relpath(path, folder).replace(os.sep, "/"), checksum(path)


def all_below(place: Path) -> list[Piece]:
    """What is in a file, or in all files of a folder.

    Raises:
        UserError: that is too much, or cannot be read.
    """
    whose = f"the folder {place}" if place.is_dir() else f"the file {place}"
    files = _below(place, whose) if place.is_dir() else [place]
    return list(_checked((one for one in files if one.suffix != ".pyc"), place, whose))


def anything_beside(nodes: Sequence[ast.AST], file: Path) -> list[Symbol]:
    """The modules in the folder of a module that is in no package, if its code may run any of them."""
    beside = sorted(file.parent.glob("*.py")) if _is_dynamic(nodes) else []
    return [Symbol(path.stem, "") for path in beside if path.stem.isidentifier()]


def _is_dynamic(nodes: Sequence[ast.AST]) -> bool:
    """Whether some code imports or runs what it names when it runs; a model's own `eval` is another thing."""
    return any(
        _name_in(node) in DYNAMIC and not (isinstance(node, ast.Attribute) and node.attr == "eval") for node in nodes
    )


def _name_in(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def read_by(tree: ast.AST, source: str, file: Path) -> list[Piece]:
    """The files that some code of a module in no package reads: those that its texts name beside it. Where it asks
    where it lies, also folders that it names, with all that is in them; and if it names nothing that is there, all
    files of its folder that are no Python.

    Raises:
        UserError: that is too much, or cannot be read.
    """
    folder, found, beside, texts = file.parent, set[Path](), _reads_beside(tree), _texts(tree)
    steps = [len(one) // len(".parent") - 1 for one in re.findall(r"(?:\.parent\b)+", source)]
    steps += [int(one) for one in re.findall(r"\.parents\[(\d)\]", source)]
    for place in [folder, *folder.parents[: max(steps, default=0)]]:
        for text in texts:
            found |= set(_named_by(text, place, folder if beside else None))
    if not found and beside:
        found = {path for path in folder.iterdir() if path.name[0] != "." and path.suffix not in (".py", ".pyc")}
    return list(_checked((path for path in found if path.is_file()), folder, f"what {file.name} reads beside itself"))


def named_elsewhere(tree: ast.AST, folder: Path | None = None) -> list[Piece]:
    """The files that some code reads and names by their whole paths, from the user's own folder (`~`), or from the
    working directory, also in a folder that it names (`Path("data") / "words.txt"`). What is opened to be written is
    what the code makes, and not what makes it.

    Args:
        folder: of the code itself, of which `read_by` knows more.

    Raises:
        UserError: that is too much, or cannot be read.
    """
    asks_home = any(_name_in(node) == "home" for node in ast.walk(tree))
    written = _written(tree)
    texts = [os.path.expanduser(text) for text in _texts(tree) if text not in written]
    roots = [os.curdir, *([os.path.expanduser("~")] if asks_home else [])]
    below = [os.path.join(root, text) for root in roots for text in texts]
    places = [*roots, *(place for place in dict.fromkeys(below) if os.path.isdir(place))]
    named = {os.path.realpath(os.path.join(place, text)) for place in places for text in texts}
    ours = folder.resolve() if folder else None
    found = [path for path in map(Path, sorted(named)) if path.is_file() and not (ours and path.is_relative_to(ours))]
    return [(Path(name).name, content) for name, content in _checked(found, Path("/"), "what a plug-in reads")]


def _written(tree: ast.AST) -> set[str]:
    """The texts in the names of files that some code writes, also where a name stands for them."""
    said = {
        target.id: _constants(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    found: set[str] = set()
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        opened = _name_in(call.func) == "open"
        modes = [*call.args[: 2 if isinstance(call.func, ast.Name) else 1], *(one.value for one in call.keywords)]
        mode = [text for one in modes for text in _constants(one) if re.fullmatch(r"[rbt+]*[wax][bt+]*", text)]
        if not (mode if opened else _name_in(call.func) in WRITING):
            continue
        place = call.args[0] if opened and isinstance(call.func, ast.Name) and call.args else call
        found |= _constants(place).union(*(said.get(_name_in(node), set()) for node in ast.walk(place)))
    return found


def _constants(tree: ast.AST) -> set[str]:
    return {one.value for one in ast.walk(tree) if isinstance(one, ast.Constant) and isinstance(one.value, str)}


def _texts(tree: ast.AST) -> list[str]:
    """The texts in some code that may name files: of one that is put together, what is open is a star."""
    found: dict[str, None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [one.value if isinstance(one, ast.Constant) else "*" for one in node.values]
            found["".join(map(str, parts))] = None
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found[node.value] = None
    return [text for text in found if 0 < len(text) < 256 and text.isprintable() and text.strip("*./")]


def _named_by(text: str, place: Path, folder: Path | None) -> Iterator[Path]:
    """The files that a text names: one; all below a folder, but for one around `folder`; or those of a pattern. The end
    of a name is one, and so is a text with holes (`{}.txt`)."""
    with suppress(OSError, ValueError):  # no name of a file
        path = place / text
        if path.is_file():
            yield path
        elif path.is_dir():
            if folder and not Path(text).is_absolute() and not folder.resolve().is_relative_to(path.resolve()):
                yield from (one for one in _below(path, f"the folder {path}") if one.suffix != ".pyc")
        elif re.search(r"[*?\[{%]|\.\w+$", text) and not re.search(r"\s|^/", text):
            pattern = re.sub(r"\{[^{}]*\}|%\w|\*\*/?", "*", text)
            named = place.glob(pattern if re.search(r"[*?\[]", pattern) else f"*{pattern}")
            yield from (path for path in named if path.suffix not in (".py", ".pyc"))


def _reads_beside(tree: ast.AST) -> bool:
    """Whether some code asks where it lies, for more than to put that on the path of modules."""
    paths = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func).startswith("sys.path.")]
    aside = {id(inner) for call in paths for inner in ast.walk(call)}
    return any(id(node) not in aside and _name_in(node) in READING for node in ast.walk(tree))
