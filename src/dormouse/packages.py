"""Packages behind a stage: their files, their versions, and the data files of dormouse that are read."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from dormouse.errors import UserError
from dormouse.files import read_whole, sha256

OWN = "dormouse"
MOST_BYTES = 2**30
"""What is read of data files beside some code, each time that keys are made."""
REMEDY = "it belongs to what makes numbers: give yourself the right to read it, or keep it elsewhere"
UNDER = {"transformers": ("tokenizers", "jinja2", "safetensors"), "peft": ("safetensors",)}
"""What makes numbers under a package that is imported."""


@cache
def _file(module: str) -> Path | None:
    """The Python file of a module, found without importing it (most of an outsider's have been imported already)."""
    top, *inner = module.split(".")
    if top == OWN:
        roots = [Path(__file__).parent]
    elif top == "__main__":
        return None
    else:
        loaded = getattr(sys.modules.get(module), "__file__", None)
        if loaded and Path(loaded).suffix == ".py" and Path(loaded).is_file():
            return Path(loaded)
        origin, roots = _place(top)
        if not inner and not roots:  # a package of one file
            return origin if origin and origin.suffix == ".py" and origin.is_file() else None
    places = [root.joinpath(*inner) for root in roots]
    candidates = [p for place in places for p in (place.parent / f"{place.name}.py", place / "__init__.py")]
    return next((p for p in candidates if p.is_file()), None)


@cache
def _place(top: str) -> tuple[Path | None, list[Path]]:
    """Where a package is: its file, and its folders if it has any."""
    package = sys.modules.get(top)
    origin, folders = getattr(package, "__file__", None), getattr(package, "__path__", None)
    if package is None:
        with suppress(ImportError, ValueError):
            spec = importlib.util.find_spec(top)
            origin = spec.origin if spec and spec.has_location else None
            folders = spec.submodule_search_locations if spec else None
    return Path(origin) if origin else None, [Path(folder) for folder in folders or ()]


NAMED = {"yaml": "PyYAML", "sklearn": "scikit-learn", "PIL": "pillow"}
"""Packages that are not installed under the name by which they are imported."""


@cache
def _data(package: str) -> tuple[tuple[str, str], ...]:
    """Every file below a package of dormouse that is no Python, and its checksum."""
    source = _file(package)
    if source is None or source.name != "__init__.py":
        return ()
    files = (path for path in source.parent.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc"))
    return tuple((path.name, checksum(path)) for path in sorted(files))


def checksum(path: Path) -> str:
    """That of a file's content, read piece by piece. Raises as `read_bytes`."""
    with _reading(path):
        return sha256(path)


def read_bytes(path: Path) -> bytes:
    """A file that is part of what makes numbers.

    Raises:
        UserError: it cannot be read.
    """
    with _reading(path):
        return read_whole(path)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}", REMEDY) from None


@cache
def installed(top: str) -> bool:
    """Whether a package is part of Python or came with an installed one: then its version says what it is. One that is
    installed in place (`pip install -e`) or found on the path changes under the same version."""
    if top in sys.stdlib_module_names or top in sys.builtin_module_names:
        return True
    origin, folders = _place(top)
    if not folders and origin is None:
        return True
    place = (folders[0] if folders else origin or Path()).parent
    if {"site-packages", "dist-packages"} & set(place.parts) or any(place.glob("*.dist-info")):
        return any(version != "absent" for _, version in _distributions(top))
    return NAMED.get(top, top).lower().replace("_", "-") in _needed()


@cache
def _needed() -> frozenset[str]:
    """The distributions that dormouse itself needs, or can use: wherever they lie, they are no part of a plug-in."""
    with suppress(importlib.metadata.PackageNotFoundError):
        said = importlib.metadata.requires("dormouse-lab") or ()
        return frozenset(re.split(r"[^A-Za-z0-9._-]", one.lower())[0] for one in said)
    return frozenset()


@cache
def _versions(packages: frozenset[str]) -> Mapping[str, str]:
    """Distribution -> version, of imported packages and of what makes numbers under them."""
    every = packages | {under for package in packages for under in UNDER.get(package, ())}
    wanted = sorted(every - set(sys.stdlib_module_names) - {OWN, "__main__", ""})
    found = {name: distribution for package in wanted for name, distribution in _distributions(package)}
    return dict(sorted(found.items()))


@cache
def _distributions(package: str) -> tuple[tuple[str, str], ...]:
    named = NAMED.get(package, package)
    with suppress(importlib.metadata.PackageNotFoundError):  # as most are: all that is installed is not looked through
        return ((named.lower(), importlib.metadata.version(named)),)
    names = _by_import().get(package, [package])
    found = []
    for name in names:
        try:
            found.append((name.lower(), importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            found.append((name.lower(), "absent"))
    return tuple(found)


@cache
def _by_import() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


def _digest(value: Any) -> str:
    return hashlib.sha256(repr(value).encode("utf-8", "surrogatepass")).hexdigest()[:32]
