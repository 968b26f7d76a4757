"""Packages behind a stage: their versions, and the data files that are read."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

OWN = "dormouse"
UNDER = {"transformers": ("tokenizers", "jinja2", "safetensors"), "peft": ("safetensors",)}
"""What makes numbers under a package that is imported."""


@cache
def _file(module: str) -> Path | None:
    """The file of a module, found without importing it (an outsider's package has been imported already)."""
    top, *inner = module.split(".")
    package = sys.modules.get(top)
    if not inner and not hasattr(package, "__path__"):  # a package of one file
        file = getattr(package, "__file__", None)
        return Path(file) if file and Path(file).suffix == ".py" and top != "__main__" else None
    roots = [Path(__file__).parent] if top == OWN else [Path(root) for root in getattr(package, "__path__", ())]
    places = [root.joinpath(*inner) for root in roots]
    candidates = [p for place in places for p in (place.parent / f"{place.name}.py", place / "__init__.py")]
    return next((p for p in candidates if p.is_file()), None)


NAMED = {"yaml": "PyYAML", "sklearn": "scikit-learn", "PIL": "pillow"}
"""Packages that are not installed under the name by which they are imported."""


@cache
def _data(package: str) -> tuple[tuple[str, str], ...]:
    """Every file below a package that is no Python, and its checksum."""
    source = _file(package)
    if source is None or source.name != "__init__.py":
        return ()
    files = (path for path in source.parent.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc"))
    return tuple((path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in sorted(files))


@cache
def _whole(package: str) -> tuple[tuple[str, str], ...]:
    """Every Python file of a package, and its checksum."""
    source = _file(package)
    if source is None:
        return ()
    files = sorted(source.parent.rglob("*.py")) if source.name == "__init__.py" else [source]
    return tuple((path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files)


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
