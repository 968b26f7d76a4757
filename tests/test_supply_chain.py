"""What is installed is what was tested: a lock with hashes that agrees with the pins, and licences that allow use."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
ALLOWED = re.compile(
    r"\b(0?BSD|ISC|MIT|Apache|PSF|Python Software Foundation|MPL|Mozilla|HPND|Unlicense|CC0|Zlib|LGPL|Lesser General"
    r"|CNRI|BSL-1|Public Domain)",
    re.IGNORECASE,
)
"""Permissive licences, and those that ask for changes to their own files alone."""


def pins(file: str) -> dict[str, str]:
    found = re.findall(
        r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==([^\s;\\]+)", (ROOT / file).read_text(), re.MULTILINE
    )
    return {canonicalize_name(name): version for name, version in found}


def wanted() -> Iterator[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for group in (project["dependencies"], *project["optional-dependencies"].values()):
        yield from map(Requirement, group)


def test_the_lock_has_the_versions_that_are_pinned() -> None:
    lock, constraints = pins("requirements-lock.txt"), pins("constraints.txt")
    assert len(lock) > 150
    assert {name: version for name, version in lock.items() if constraints.get(name, version) != version} == {}
    needed = {canonicalize_name(one.name) for one in wanted() if one.name != "dormouse-lab"}
    assert needed - lock.keys() == set(), "run `make lock`"


def test_everything_in_the_lock_has_a_hash() -> None:
    blocks = re.split(r"^(?=[A-Za-z0-9])", (ROOT / "requirements-lock.txt").read_text(), flags=re.MULTILINE)
    named = [block for block in blocks if re.match(r"[A-Za-z0-9]", block)]
    assert [block.splitlines()[0] for block in named if "--hash=sha256:" not in block] == []


def licence(name: str) -> str:
    about = distribution(name).metadata
    classifiers = [value for key, value in about.items() if key == "Classifier" and value.startswith("License")]
    return " ".join([about.get("License-Expression") or "", *classifiers, (about.get("License") or "")[:200]])


def needed(names: list[str]) -> set[str]:
    """The packages that these need, and what those need, as they are installed here."""
    found: set[str] = set()
    while names:
        name = canonicalize_name(names.pop())
        try:
            requires = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        if name not in found:
            found.add(name)
            names += [one.name for one in map(Requirement, requires) if not one.marker or one.marker.evaluate()]
    return found


def test_the_licences_of_what_dormouse_needs_allow_its_use() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    every = needed([Requirement(one).name for one in project["dependencies"]])
    assert len(every) > 40
    assert sorted(f"{name}: {licence(name)[:80]}" for name in every if not ALLOWED.search(licence(name))) == []
