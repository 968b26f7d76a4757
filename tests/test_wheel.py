"""What is installed with dormouse: its code and the data that it reads, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
KINDS = {".py", ".yaml", ".html", ".css", ".js", ".json", ".typed"}


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The files of a wheel, built from a copy without what git does not know of."""
    at = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, at)
    shutil.copytree(ROOT / "src", at / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    code = "from setuptools import build_meta; build_meta.build_wheel('out')"
    done = subprocess.run([sys.executable, "-c", code], cwd=at, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = (at / "out").glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        return opened.namelist()


def test_what_the_wheel_holds(held: list[str]) -> None:
    ours = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src" / "dormouse").rglob("*") if path.is_file()}
    ours = {name for name in ours if "__pycache__" not in name}
    assert {name for name in held if name.startswith("dormouse/")} == ours, "all of it, data too"
    rest = {name.partition("/")[2] for name in held if not name.startswith("dormouse/")}
    assert rest == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "top_level.txt", "licenses/LICENSE"}
    assert {Path(name).suffix for name in ours} <= KINDS
    rules = [f"dormouse/audits/data/{name}.json" for name in ("conditional", "detector", "reader")]
    assert sorted(name for name in ours if name.endswith(".json")) == rules
    assert {"dormouse/py.typed", "dormouse/studies/quickstart.yaml", "dormouse/cli.py"} <= ours
