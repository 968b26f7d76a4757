"""A content-addressed store: the hash of what a stage is made from names the folder that it left behind.

A stage is written to a scratch folder, hashed, fsynced and then renamed into place, so that an entry is there whole or
not at all. One process builds an entry at a time (a lock that the kernel drops when its holder dies); others wait and
then read. An entry whose files do not fit their checksums is set aside and built again.

    store/entries/KIND/KEY/        the files of the stage, with manifest.json
    store/locks/KEY                held while the entry is being made
    store/scratch/KEY.PID/         half-made entries; never read
    store/damaged/                 what was set aside
"""

from __future__ import annotations

import ast
import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dormouse.errors import DormouseWarning, UserError

MANIFEST = "manifest.json"
NUMERIC_LIBRARIES = ("torch", "transformers", "peft", "scipy", "numpy")


def digest(value: Any) -> str:
    """A short hash of plain JSON data (32 hex digits), the same on every machine."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def code_version(*modules: str) -> str:
    """A hash of the code that matters to some modules: their own and all of dormouse that they import, however deep.

    Comments, docstrings and layout do not count. The versions of the libraries that make the numbers do.
    """
    closures = [_closure(module) for module in sorted(set(modules))]
    return digest([closures, {name: _version(name) for name in NUMERIC_LIBRARIES}])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


@cache
def _closure(module: str) -> dict[str, str]:
    found: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in found and (source := _source(name)) is not None:
            found[name], imported = _read(source)
            waiting += imported
    return found


@cache
def _read(source: Path) -> tuple[str, list[str]]:
    """The hash of a module's code (and, for a package, of its data folder), and what it imports of dormouse."""
    tree = _without_docstrings(ast.parse(source.read_bytes()))
    parts = [ast.dump(tree)]
    if source.name == "__init__.py" and (source.parent / "data").is_dir():
        parts += [sha256(path) for path in sorted((source.parent / "data").iterdir()) if path.is_file()]
    return digest(parts), imported_modules(tree, "dormouse")


def imported_modules(tree: ast.AST, package: str) -> list[str]:
    """Every module of `package` that the code imports, inside functions too; `from a import b` counts as a and a.b."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in names if name == package or name.startswith(f"{package}.")]


def _source(module: str) -> Path | None:
    """The file of a module, found without importing it (an outsider's plug-in has been imported already)."""
    if module.partition(".")[0] == "dormouse":
        place = Path(__file__).parent.joinpath(*module.split(".")[1:])
        return next((p for p in (place.with_suffix(".py"), place / "__init__.py") if p.is_file()), None)
    file = getattr(sys.modules.get(module), "__file__", None)
    return Path(file) if file else None


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False):
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def sha256(path: Path) -> str:
    """The checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Entry:
    """A finished stage: its folder and what its manifest says."""

    folder: Path
    manifest: Mapping[str, Any]

    def __truediv__(self, name: str) -> Path:
        return self.folder / name


Build = Callable[[Path], None]


class Store:
    """The store in a folder. Any number of processes may use it at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._verified: dict[str, Entry] = {}
        try:
            for name in ("entries", "locks", "scratch", "damaged"):
                (root / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _cannot_write(root, error) from error

    def find(self, kind: str, key: str) -> Entry | None:
        """The entry, if it is there and whole. A damaged one is set aside, with a warning."""
        if key in self._verified:
            return self._verified[key]
        folder = self.root / "entries" / kind / key
        if not folder.is_dir():
            return None
        try:
            manifest = json.loads((folder / MANIFEST).read_text())
            expected = {name: (at["size"], at["sha256"]) for name, at in manifest["files"].items()}
            actual = {name: ((folder / name).stat().st_size, sha256(folder / name)) for name in expected}
            whole = expected == actual
        except (OSError, ValueError, KeyError, TypeError):
            whole = False
        if not whole:
            self._set_aside(folder)
            return None
        self._verified[key] = Entry(folder, manifest)
        return self._verified[key]

    def _set_aside(self, folder: Path) -> None:
        try:
            folder.rename(self.root / "damaged" / f"{folder.name}.{time.time_ns()}")
        except FileNotFoundError:  # another process was faster
            return
        except OSError as error:
            raise _cannot_write(self.root, error) from error
        warnings.warn(
            f"the store entry {folder} is damaged (its checksum fails); it was set aside and is made again",
            DormouseWarning,
            stacklevel=3,
        )

    def get(self, kind: str, key: str, about: Mapping[str, Any], build: Build) -> tuple[Entry, bool]:
        """The entry, built if it is not there: (entry, whether it was built now).

        Args:
            about: what the entry was made from, for the reader of its manifest.
            build: fills the folder that it is given. May raise: then nothing is kept.
        """
        if entry := self.find(kind, key):
            return entry, False
        with self._lock(key):
            if entry := self.find(kind, key):
                return entry, False
            return self._build(kind, key, about, build), True

    def _build(self, kind: str, key: str, about: Mapping[str, Any], build: Build) -> Entry:
        scratch = self.root / "scratch" / f"{key}.{os.getpid()}"
        started = time.time()
        try:
            for left in (self.root / "scratch").glob(f"{key}.*"):  # of dead builders: the lock is ours
                shutil.rmtree(left)
            scratch.mkdir()
            build(scratch)
            manifest = {
                "kind": kind,
                "key": key,
                "about": about,
                "seconds": round(time.time() - started, 3),
                "files": {
                    str(path.relative_to(scratch)): {"size": path.stat().st_size, "sha256": sha256(path)}
                    for path in sorted(scratch.rglob("*"))
                    if path.is_file()
                },
            }
            (scratch / MANIFEST).write_text(json.dumps(manifest, indent=1))
            for path in [*scratch.rglob("*"), scratch]:
                _fsync(path)
            final = self.root / "entries" / kind / key
            final.parent.mkdir(exist_ok=True)
            scratch.rename(final)
            _fsync(final.parent)
        except OSError as error:
            if error.errno is None:  # not the operating system's: a library's own error
                raise
            raise _cannot_write(self.root, error) from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return Entry(final, manifest)

    @contextmanager
    def _lock(self, key: str) -> Iterator[None]:
        try:
            file = (self.root / "locks" / key).open("w")
        except OSError as error:
            raise _cannot_write(self.root, error) from error
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _cannot_write(root: Path, error: OSError) -> UserError:
    return UserError(
        f"the store in {root} cannot be used: {error.strerror or error}",
        "free some space or mend the permissions there, or set DORMOUSE_HOME to another folder. "
        "What was finished is kept: the same command goes on from there",
    )
