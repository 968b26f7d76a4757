"""What a plug-in is made of is in its key: its package, what that imports, and the files that it reads."""

import importlib
import os
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from dormouse import files_read, packages, plugin_code, sources
from dormouse.errors import UserError
from dormouse.sources import code_of

NAMES = ("mine_of_test", "helpers_of_test", "others_of_test")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of modules, which are forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith(NAMES)]:
        del sys.modules[name]
    sources.forget()


def put(place: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(text.encode())


def key(name: str = "mine_of_test") -> tuple[str, dict[str, str]]:
    """Of the class T in a module."""
    sources.forget()
    plugin_code.AS_IMPORTED.clear()
    found = code_of(__import__(name, fromlist=["T"]).T)
    return found["code"], dict(found["libraries"])


P = "mine_of_test/"
T = "class T:\n  def r(self): return "
PACKAGES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "a star": (
        {P + "t.py": f"from .h import *\n{T}f()\n", P + "h.py": "def f(): return 1\n"},
        {P + "h.py": "def f(): return 2\n"},
    ),
    "a module in a module": (
        {P + "t.py": f"import mine_of_test.h\n{T}mine_of_test.h.f()\n", P + "h.py": "def f(): return 1\n"},
        {P + "h.py": "def f(): return 2\n"},
    ),
    "imported when it runs": (
        {P + "t.py": f"import importlib\n{T}importlib.import_module('mine_of_test.h').f()\n", P + "h.py": "f = int\n"},
        {P + "h.py": "f = float\n"},
    ),
    "the condition": (
        {P + "t.py": f"N = 3\nif N > 2:\n  K = 1\nelse:\n  K = 2\n{T}K\n"},
        {P + "t.py": f"N = 3\nif N > 5:\n  K = 1\nelse:\n  K = 2\n{T}K\n"},
    ),
    "what the condition reads": (
        {P + "t.py": f"N = 3\nif N > 2:\n  K = 1\nelse:\n  K = 2\n{T}K\n"},
        {P + "t.py": f"N = 1\nif N > 2:\n  K = 1\nelse:\n  K = 2\n{T}K\n"},
    ),
    "what is caught": (
        {P + "t.py": f"try:\n  K = 1 / 0\nexcept ValueError:\n  K = 1\nexcept ArithmeticError:\n  K = 2\n{T}K\n"},
        {P + "t.py": f"try:\n  K = 1 / 0\nexcept ArithmeticError:\n  K = 1\nexcept ValueError:\n  K = 2\n{T}K\n"},
    ),
    "one of three alike": (
        {
            P + "t.py": f"from . import a, b, c\n{T}(a.N, b.N, c.N)\n",
            **{P + f"{name}.py": f"N = {n}\n" for name, n in zip("abc", (4, 4, 8), strict=True)},
        },
        {P + "a.py": "N = 8\n"},
    ),
    "two that change places": (
        {P + "t.py": f"from . import a, b\n{T}a.N - b.N\n", P + "a.py": "N = 1\n", P + "b.py": "N = 2\n"},
        {P + "a.py": "N = 2\n", P + "b.py": "N = 1\n"},
    ),
    "two names change places": (
        {P + "t.py": f"from .h import f as a, g as b\n{T}a() - b()\n", P + "h.py": "f, g = int, float\n"},
        {P + "t.py": f"from .h import g as a, f as b\n{T}a() - b()\n"},
    ),
    "put into a list": (
        {
            P + "t.py": f"ALL = []\ndef rule(f):\n  ALL.append(f)\n  return f\n{T}[f() for f in ALL]\n",
            P + "rules.py": "from .t import rule\n@rule\ndef one(): return 1\n",
        },
        {P + "rules.py": "from .t import rule\n@rule\ndef one(): return 2\n"},
    ),
    "two files change places": (
        {P + "t.py": f"{T}1\n", P + "a/words.txt": "a", P + "b/words.txt": "b"},
        {P + "a/words.txt": "b", P + "b/words.txt": "a"},
    ),
    "its own words": (
        {P + "t.py": "class T:\n  'One.'\n  def r(self): return self.__doc__\n"},
        {P + "t.py": "class T:\n  'Two.'\n  def r(self): return self.__doc__\n"},
    ),
    "a helper beside it": (
        {P + "t.py": f"from helpers_of_test import f\n{T}f()\n", "helpers_of_test.py": "def f(): return 1\n"},
        {"helpers_of_test.py": "def f(): return 2\n"},
    ),
}


@pytest.mark.parametrize("case", PACKAGES)
def test_all_of_a_package_counts(place: Path, case: str) -> None:
    files, change = PACKAGES[case]
    put(place, {P + "__init__.py": "from .t import T\n", **files})
    before = key()
    put(place, change)
    after = key()
    assert before[0] != after[0]
    put(place, files)
    assert key() == before


HELPED = f"from helpers_of_test import f\n{T}f()\n"
READS = f"from pathlib import Path\nHERE = Path(__file__).parent\n{T}"
FILES: dict[str, tuple[str, dict[str, str], dict[str, str], bool]] = {
    "its helper": (HELPED, {"helpers_of_test.py": "f = int\n"}, {"helpers_of_test.py": "f = float\n"}, True),
    "a helper, words": (HELPED, {"helpers_of_test.py": "f = int\n"}, {"helpers_of_test.py": "f = int  # 2\n"}, False),
    "a helper's helper": (
        HELPED,
        {"helpers_of_test/__init__.py": "from .deep import f\n", "helpers_of_test/deep.py": "f = int\n"},
        {"helpers_of_test/deep.py": "f = float\n"},
        True,
    ),
    "in a circle": (
        HELPED,
        {"helpers_of_test.py": "import others_of_test\nf = int\n", "others_of_test.py": "import helpers_of_test\n"},
        {"others_of_test.py": "import helpers_of_test\nN = 2\n"},
        True,
    ),
    "imported when it runs": (
        f"{T}__import__('helpers_of_test').f()\n",
        {"helpers_of_test.py": "f = int\n"},
        {"helpers_of_test.py": "f = float\n"},
        True,
    ),
    "another plug-in": (f"{T}1\n", {"helpers_of_test.py": "f = int\n"}, {"helpers_of_test.py": "f = float\n"}, False),
    "a file that it names": (
        f"{READS}(HERE / 'number.txt').read_text()\n",
        {"number.txt": "1", "other.txt": "1"},
        {"number.txt": "2"},
        True,
    ),
    "not one that it does not": (
        f"{READS}(HERE / 'number.txt').read_text()\n",
        {"number.txt": "1", "study.yaml": "1", "runs/a.txt": "1"},
        {"study.yaml": "2", "runs/a.txt": "2", "run.log": ""},
        False,
    ),
    "a file without asking where": (f"{T}open('number.txt').read()\n", {"number.txt": "1"}, {"number.txt": "2"}, True),
    "a folder": (f"{READS}list((HERE / 'deep').iterdir())\n", {"deep/a/x": "1"}, {"deep/a/x": "2"}, True),
    "a folder above": (
        "from pathlib import Path\nUP = Path(__file__).parent.parent\n" + T + "(UP / 'above_of_test.txt')\n",
        {"../above_of_test.txt": "1"},
        {"../above_of_test.txt": "2"},
        True,
    ),
    "a name put together": (
        f"{READS}[HERE / f'w_{{x}}.txt' for x in 'ab']\n",
        {"w_a.txt": "1"},
        {"w_a.txt": "2"},
        True,
    ),
    "a name with a hole": (f"{READS}'w_{{}}.txt'.format(HERE)\n", {"w_a.txt": "1"}, {"w_a.txt": "2"}, True),
    "the end of a name": (
        f"{READS}Path(__file__).with_suffix('.csv')\n",
        {"mine_of_test.csv": "1"},
        {"mine_of_test.csv": ""},
        True,
    ),
    "whatever is there": (f"{READS}[f.read_text() for f in HERE.iterdir()]\n", {"x.txt": "1"}, {"x.txt": "2"}, True),
    "its folder on the path": (
        f"import os, sys\nsys.path.append(os.path.dirname(__file__))\n{T}1\n",
        {"x.txt": "1"},
        {"x.txt": "2"},
        False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
def test_what_a_plug_in_in_a_file_uses_counts(place: Path, case: str) -> None:
    source, files, change, moves = FILES[case]
    put(place, {"mine_of_test.py": source, **files})
    before, libraries = key()
    put(place, change)
    assert (key()[0] != before) is moves
    assert "absent" not in libraries.values()


def test_of_what_is_installed_the_version_counts(place: Path) -> None:
    put(place, {"mine_of_test.py": f"import json\nimport yaml\n{T}1\n"})
    assert set(key()[1]) == {"pyyaml"}


METADATA = "Metadata-Version: 2.1\nName: others_of_test\nVersion: 1\n"


def test_what_lies_beside_installed_packages_and_belongs_to_none_counts(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(place / "site-packages")
    put(place, {"mine_of_test.py": f"import others_of_test\n{T}1\n", "site-packages/others_of_test.py": "N = 1\n"})
    before = key()
    put(place, {"site-packages/others_of_test.py": "N = 2\n"})
    assert key() != before
    put(place, {"site-packages/others_of_test-1.dist-info/METADATA": METADATA})
    with_version = key()
    assert with_version[1] == {"others_of_test": "1"}
    put(place, {"site-packages/others_of_test.py": "N = 3\n"})
    assert key() == with_version


def test_a_file_that_was_edited_and_not_imported_again_is_refused(place: Path) -> None:
    """Its old code would make numbers, and the store keep them under the key of the new code."""
    put(place, {"mine_of_test.py": f"import helpers_of_test\n{T}helpers_of_test.N\n", "helpers_of_test.py": "N = 1\n"})
    start = key()
    for text, refused in (("N = 1  # a remark\n", False), ("N = 25\n", True), ("N = 1\n", False), ("N = 25\n", True)):
        put(place, {"helpers_of_test.py": text})
        sources.forget()
        with pytest.raises(UserError, match="was edited after it was imported") if refused else nullcontext():
            assert code_of(sys.modules["mine_of_test"].T)["code"] == start[0]
    importlib.reload(sys.modules["helpers_of_test"])
    sources.forget()
    assert code_of(sys.modules["mine_of_test"].T)["code"] != start[0]


def test_a_plug_in_that_a_function_makes_counts_by_what_it_holds(place: Path) -> None:
    """The file says nothing of what the function was called with."""
    code = "def every(n):\n  class T(PlugIn):\n    def r(self): return n\n  return T\n"
    put(place, {"mine_of_test.py": f"from dormouse.registry import PlugIn\n{code}"})
    every = __import__("mine_of_test").every
    assert code_of(every(4)) == code_of(every(4)) != code_of(every(7))


def test_what_is_installed_in_place_counts(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its version is kept in another folder, and stays as it is."""
    monkeypatch.syspath_prepend(place / "site-packages")
    put(place, {"site-packages/others_of_test-1.dist-info/METADATA": METADATA})
    put(place, {"mine_of_test.py": f"import others_of_test\n{T}1\n", "others_of_test.py": "N = 1\n"})
    before = key()
    put(place, {"others_of_test.py": "N = 2\n"})
    assert key() != before


def test_of_dormouse_a_plug_in_counts_what_it_uses(place: Path) -> None:
    """Through the index, by whole names, and by a module's."""
    reached = {
        "from dormouse import Trigger\nT = type('T', (), {'__module__': __name__})\nN = Trigger\n",
        f"import dormouse as dm\n{T}dm.Trigger\n",
        f"import dormouse.policies.trigger\n{T}dormouse.policies.trigger.Trigger\n",
        f"from dormouse import *\n{T}Trigger\n",
    }
    for source in reached:
        put(place, {"mine_of_test.py": source})
        sys.modules.pop("mine_of_test", None)
        assert "pydantic" in key()[1], source


MARKED = "HIGH = 'high'\n" + T + "HIGH\n"


@pytest.mark.parametrize("form", ["\ufeff{}", "{}", "# coding: latin-1\n{}"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_file_is_read_as_python_reads_it(place: Path, form: str, end: str) -> None:
    put(place, {"mine_of_test.py": form.format(MARKED).replace("\n", end)})
    before = key()
    put(place, {"mine_of_test.py": form.format(f"# Words.\n{MARKED}").replace("\n", end)})
    assert key() == before
    put(place, {"mine_of_test.py": form.format(MARKED.replace("high", "full")).replace("\n", end)})
    assert key() != before


def _too_many_modules(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin_code, "MOST_MODULES", 3)
    put(place, {P + "__init__.py": f"{T}1\n", **{P + f"m{n}.py": "" for n in range(3)}})


def _too_many_files(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_read, "MOST_FILES", 3)
    put(place, {"mine_of_test.py": f"{READS}HERE / 'data'\n", **{f"data/{n}": "" for n in range(4)}})


def _too_large(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(place, {P + "__init__.py": f"{T}1\n", P + "large.bin": ""})
    os.truncate(place / P / "large.bin", packages.MOST_BYTES + 1)


def _in_an_archive(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import zipfile

    with zipfile.ZipFile(place / "all.zip", "w") as archive:
        archive.writestr("mine_of_test.py", f"{T}1\n")
    monkeypatch.syspath_prepend(place / "all.zip")


def _in_no_file(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("mine_of_test")
    exec(f"{T}1\n", module.__dict__)
    sys.modules["mine_of_test"] = module


REFUSED: dict[str, tuple[Callable[[Path, pytest.MonkeyPatch], None], str]] = {
    "modules": (_too_many_modules, "more than 3 Python files"),
    "files": (_too_many_files, "more than 3 files"),
    "bytes": (_too_large, "more than 1 GB of files"),
    "an archive": (_in_an_archive, "all.zip/mine_of_test.py, an archive"),
    "no file": (_in_no_file, "it stands in no file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_counted_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    prepare, said = REFUSED[case]
    prepare(place, monkeypatch)
    with pytest.raises(UserError, match=said):
        key()


def test_a_file_that_must_not_be_read_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(place, {"mine_of_test.py": f"{T}open('number.txt').read()\n", "number.txt": "1"})
    start = Path.open

    def refuse(path: Path, *args: Any, **more: Any) -> Any:
        if path.name == "number.txt":
            raise PermissionError(13, "Permission denied")
        return start(path, *args, **more)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UserError, match=r"number\.txt cannot be read: Permission denied"):
        key()


def test_links_are_followed_and_their_circles_end(place: Path) -> None:
    put(place, {P + "__init__.py": f"{T}1\n", "elsewhere/words.txt": "1"})
    (place / P / "data").symlink_to(place / "elsewhere")
    (place / P / "again").symlink_to(place / P)
    before = key()
    put(place, {"elsewhere/words.txt": "2"})
    assert key() != before


def test_a_package_in_a_folder_that_is_none_counts_by_itself(place: Path) -> None:
    """Such folders are shared by many distributions."""
    put(place, {P + "own/__init__.py": f"{T}1\n", P + "own/h.py": "", P + "strange/__init__.py": "N = 1\n"})
    before = key("mine_of_test.own")
    put(place, {P + "strange/__init__.py": "N = 2\n"})
    assert key("mine_of_test.own") == before
    put(place, {P + "own/h.py": "N = 2\n"})
    assert key("mine_of_test.own") != before


def test_a_template_that_is_no_python_counts_as_it_is(place: Path) -> None:
    put(place, {P + "__init__.py": f"{T}1\n", P + "form.py": "{{ name }} = 1 +\n"})
    before = key()
    put(place, {P + "form.py": "{{ name }} = 2 +\n"})
    assert key() != before


def test_the_key_is_the_same_in_every_process(place: Path) -> None:
    put(place, {"mine_of_test.py": HELPED + "W = {'a', 'b', 'c'}\n", "helpers_of_test.py": "f = {'x', 'y'}\n"})
    script = "from mine_of_test import T\nfrom dormouse.sources import code_of\nprint(code_of(T)['code'])"
    said = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": os.pathsep.join([str(place), *sys.path])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in (1, 2)
    }
    assert said == {f"{key()[0]}\n"}


ELSEWHERE = {
    "the working directory": ("from pathlib import Path\n", "Path('data/words.txt').read_text()"),
    "a folder of it": ("from pathlib import Path\nDATA = Path('data')\n", "(DATA / 'words.txt').read_text()"),
    "the own folder": ("import os\n", "open(os.path.expanduser('~/data/words.txt')).read()"),
    "the home": ("from pathlib import Path\n", "(Path.home() / 'data' / 'words.txt').read_text()"),
    "a whole path": ("", "open('{HOME}/data/words.txt').read()"),
}


@pytest.mark.parametrize("module", ["mine_of_test.py", P + "__init__.py"], ids=["file", "package"])
@pytest.mark.parametrize("case", ELSEWHERE)
def test_a_file_that_is_named_elsewhere_counts(
    place: Path, monkeypatch: pytest.MonkeyPatch, case: str, module: str
) -> None:
    home = place.parent / f"{place.name}-home"
    put(home, {"data/words.txt": "1", "data/table.csv": "1", "words.txt": "1"})
    monkeypatch.chdir(home)
    monkeypatch.setenv("HOME", str(home))
    before, read = ELSEWHERE[case]
    put(place, {module: f"{before}{T}{read.replace('{HOME}', str(home))}\n"})
    first = key()
    put(home, {"data/table.csv": "2", "other.txt": "2"})
    assert key() == first
    put(home, {"data/words.txt": "2"})
    assert key() != first


@pytest.mark.parametrize(
    "code",
    [
        "open('log.txt', 'a').write(x)",
        "Path('log.txt').write_text(x)",
        "Path('log.txt').open(mode='w').write(x)",
        "open(LOG, 'ab').write(x)",
        "(OUT / f'{x}.txt').write_text(x)",
    ],
)
def test_what_a_plug_in_writes_is_not_what_makes_it(place: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """A finished study was all to do again: its trigger keeps a log in the working directory."""
    home = place.parent / f"{place.name}-work"
    home.mkdir()
    monkeypatch.chdir(home)
    names = "LOG = 'log.txt'\n" if "LOG" in code else "OUT = Path('out')\n"
    put(place, {"mine_of_test.py": f"from pathlib import Path\n{names}{T}{code}\n"})
    before = key()
    put(home, {"log.txt": "1", "out/a.txt": "1"})
    assert key() == before


def test_a_plug_in_has_one_key_from_wherever_it_is_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(place, {"mine_of_test.py": f"{T}open('data/words.txt').read()\n", "data/words.txt": "1"})
    monkeypatch.chdir(place.parent)
    before = key()
    monkeypatch.chdir(place)
    assert key() == before
