"""The files that the code of a plug-in reads: those that its texts name, and those that lie beside it."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from dormouse.errors import UserError
from dormouse.packages import MOST_BYTES, REMEDY, checksum

READING = {"__file__", "files", "resources", "get_data", "getfile", "getsourcefile"}
"""Who uses one of these may read what lies beside it."""
WRITING = {
    *("write_text", "write_bytes", "touch", "mkdir"),
    *("save", "savez", "savetxt", "save_file"),
    *("to_csv", "to_json", "to_parquet"),
}
"""What is called with the name of a file that it writes."""
MOST_FILES = 10_000
"""How many are read of one package, or of one folder, each time that keys are made."""

Piece = tuple[str, str]


def files_below(folder: Path, whose: str) -> Iterator[Path]:
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


def checksums(files: Iterable[Path], folder: Path, whose: str) -> Iterator[Piece]:
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
    files = files_below(place, whose) if place.is_dir() else [place]
    return list(checksums((one for one in files if one.suffix != ".pyc"), place, whose))


def name_in(node: ast.AST) -> str:
    """The name that some code says there: a variable's or an attribute's; nothing elsewhere."""
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
    return list(checksums((path for path in found if path.is_file()), folder, f"what {file.name} reads beside itself"))


def named_elsewhere(tree: ast.AST, folder: Path | None = None) -> list[Piece]:
    """The files that some code reads and names by their whole paths, from the user's own folder (`~`), or from the
    working directory, also in a folder that it names (`Path("data") / "words.txt"`). What is opened to be written is
    what the code makes, and not what makes it.

    Args:
        folder: of the code itself, of which `read_by` knows more.

    Raises:
        UserError: that is too much, or cannot be read.
    """
    asks_home = any(name_in(node) == "home" for node in ast.walk(tree))
    written = _written(tree)
    texts = [os.path.expanduser(text) for text in _texts(tree) if text not in written]
    roots = [os.curdir, *([os.path.expanduser("~")] if asks_home else [])]
    below = [os.path.join(root, text) for root in roots for text in texts]
    places = [*roots, *(place for place in dict.fromkeys(below) if os.path.isdir(place))]
    named = {os.path.realpath(os.path.join(place, text)) for place in places for text in texts}
    ours = folder.resolve() if folder else None
    found = [path for path in map(Path, sorted(named)) if path.is_file() and not (ours and path.is_relative_to(ours))]
    return [(Path(name).name, content) for name, content in checksums(found, Path("/"), "what a plug-in reads")]


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
        opened = name_in(call.func) == "open"
        modes = [*call.args[: 2 if isinstance(call.func, ast.Name) else 1], *(one.value for one in call.keywords)]
        mode = [text for one in modes for text in _constants(one) if re.fullmatch(r"[rbt+]*[wax][bt+]*", text)]
        if not (mode if opened else name_in(call.func) in WRITING):
            continue
        place = call.args[0] if opened and isinstance(call.func, ast.Name) and call.args else call
        found |= _constants(place).union(*(said.get(name_in(node), set()) for node in ast.walk(place)))
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
                yield from (one for one in files_below(path, f"the folder {path}") if one.suffix != ".pyc")
        elif re.search(r"[*?\[{%]|\.\w+$", text) and not re.search(r"\s|^/", text):
            pattern = re.sub(r"\{[^{}]*\}|%\w|\*\*/?", "*", text)
            named = place.glob(pattern if re.search(r"[*?\[]", pattern) else f"*{pattern}")
            yield from (path for path in named if path.suffix not in (".py", ".pyc"))


def _reads_beside(tree: ast.AST) -> bool:
    """Whether some code asks where it lies, for more than to put that on the path of modules."""
    paths = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func).startswith("sys.path.")]
    aside = {id(inner) for call in paths for inner in ast.walk(call)}
    return any(id(node) not in aside and name_in(node) in READING for node in ast.walk(tree))
