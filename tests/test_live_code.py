"""What a script or a notebook reads is in the keys of what stands in it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dormouse import sources
from dormouse.errors import UserError
from dormouse.sources import code_of

CONSOLE = """
import os, runpy, sys
import dormouse.sources, torch
from dormouse import UserError
for line in sys.stdin:
    if (child := os.fork()) == 0:
        sys.path[0] = line.rstrip("\\n")
        os.chdir(sys.path[0])
        runpy.run_path(os.path.join(sys.path[0], "go.py"), run_name="__main__")
        sys.stdout.flush()
        os._exit(0)
    print("ended", os.waitpid(child, 0)[1], flush=True)
"""
"""Runs go.py of one folder after the other, each in a process of its own that has not to import anything first."""

SCRIPT = """
import sys
from dormouse import UserError
from dormouse.sources import code_of
{before}
class T:
    def r(self):
        return {read}
try:
    print(code_of(T))
except UserError as error:
    print("refused", error.what)
"""


class Python:
    """Interpreters, one for each seed of hashes: in each a set has another order."""

    def __init__(self) -> None:
        self.begun: dict[int, subprocess.Popen[str]] = {}

    def run(self, place: Path, before: str, read: str, seed: int = 0) -> str:
        """What a script prints."""
        (place / "go.py").write_text(SCRIPT.format(before=before, read=read))
        if seed not in self.begun:
            env = {**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            self.begun[seed] = subprocess.Popen([sys.executable, "-c", CONSOLE], env=env, text=True, **pipes)
        console = self.begun[seed]
        assert console.stdin
        assert console.stdout
        console.stdin.write(f"{place}\n")
        console.stdin.flush()
        said = [console.stdout.readline()]
        while said[-1] and not said[-1].startswith("ended"):
            said.append(console.stdout.readline())
        assert said.pop() == "ended 0\n", said
        return "".join(said)

    def end(self) -> None:
        for console in self.begun.values():
            console.communicate()


@pytest.fixture(scope="module")
def python() -> Iterator[Python]:
    found = Python()
    yield found
    found.end()


VALUES = {
    "a mapping": ("X = {'low': {W}}", "X['low']"),
    "a list": ("X = [1, [{W}]]", "X"),
    "a set": ("X = {'a', 'b', 'c', {W}}", "X"),
    "no constant": ("X = float({W})", "X"),
    "an object": ("class C:\n    def __init__(self, n): self.n = n\nX = C({W})", "X.n"),
    "the class of an object": ("class C:\n    def f(self): return {W}\nX = C()", "X.f()"),
    "a data class": ("import dataclasses\n@dataclasses.dataclass\nclass C:\n    n: int\nX = C({W})", "X.n"),
    "an enumeration": ("import enum\nclass C(enum.Enum):\n    A = {W}\nX = C.A", "X.value"),
    "a record": ("from collections import defaultdict\nX = defaultdict(list, {'a': {W}})", "X"),
    "a pattern": ("import re\nX = re.compile(str({W}))", "X"),
    "an array": ("import numpy as np\nX = np.arange(3) + {W}", "X"),
    "a lambda": ("X = lambda n: n + {W}", "X(1)"),
    "a lambda in a list": ("Y = {W}\nX = [lambda n: n + Y]", "X[0](1)"),
    "a closure": ("def f(n):\n    return lambda: n\nX = f({W})", "X()"),
    "half of a call": ("from functools import partial\nX = partial(int, {W})", "X()"),
    "a function that remembers": ("from functools import cache\n@cache\ndef X(): return {W}", "X()"),
    "a function": ("def g(): return {W}\ndef X(): return g()", "X()"),
    "the later of two": ("if {W} == 0:\n    def X(): return 1\nelse:\n    def X(): return 2", "X()"),
    "a helper's function": ("from helper_of_test import f as X", "X()"),
    "a helper": ("import helper_of_test", "helper_of_test.f()"),
    "a helper's value": ("from helper_of_test import N as X", "X"),
    "a helper's object": ("from helper_of_test import C\nX = C()", "X.f()"),
    "a helper, imported inside": ("", "__import__('helper_of_test').f()"),
    "a file": ("from pathlib import Path\nX = Path(__file__).parent / 'number.txt'", "X.read_text()"),
    "a file that it names": ("", "open('number.txt').read()"),
    "what a function closes over": ("def f(n):\n    def g(): return n\n    return g\nX = f({W})", "X()"),
    "what a wrapper closes over": (
        "import functools\ndef f(n):\n    def wrap(g):\n        @functools.wraps(g)\n        def h(): return g() + n\n"
        "        return h\n    return wrap\ndef g(): return 1\nX = f({W})(g)",
        "X()",
    ),
    "a default that was read early": ("K = {W}\ndef X(k=K): return k\nK = 5", "X()"),
    "a default that was set": ("def X(k=3): return k\nX.__defaults__ = ({W},)", "X()"),
    "an attribute of a function": ("def X(): return X.k\nX.k = {W}", "X()"),
    "a function for each type": (
        "from functools import singledispatch\n@singledispatch\ndef X(n): return 3\n"
        "@X.register\ndef _(n: int): return {W}",
        "X(1)",
    ),
    "a class of a function": (
        "def f(n):\n    class C:\n        def g(self): return n\n    return C\nX = f({W})",
        "X().g()",
    ),
    "a base of a function": (
        "def f(n):\n    class C:\n        def g(self): return n\n    return C\nB = f({W})\nclass X(B): pass",
        "X().g()",
    ),
    "an attribute of a class": ("class X:\n    k = 3\nX.k = {W}", "X.k"),
    "an attribute that was read early": ("K = {W}\nclass X:\n    k = K\nK = 5", "X.k"),
    "a method that was set": ("class X:\n    def g(self): return 3\nX.g = lambda self: {W}", "X().g()"),
    "a property": ("K = {W}\nclass X:\n    g = property(lambda self, k=K: k)\nK = 5", "X().g"),
    "a default of a data class": (
        "import dataclasses\nK = {W}\n@dataclasses.dataclass\nclass X:\n    k: int = K\nK = 5",
        "X().k",
    ),
    "a default of pydantic": ("import pydantic\nK = {W}\nclass X(pydantic.BaseModel):\n    k: int = K\nK = 5", "X().k"),
    "a class of a call": ("X = type('X', (), {'k': {W}})", "X.k"),
    "a data class of a call": ("import dataclasses\nX = dataclasses.make_dataclass('X', [('k', int, {W})])", "X().k"),
    "a tuple with names": ("from collections import namedtuple\nX = namedtuple('X', 'k', defaults=({W},))", "X().k"),
    "an enumeration of a call": ("import enum\nX = enum.Enum('X', {'A': {W}})", "X.A.value"),
    "a template": ("from jinja2 import Template\nX = Template('a{W}')", "X.render()"),
    "a folder": ("from pathlib import Path\nX = Path('folder')", "[one.read_text() for one in X.iterdir()]"),
    "a tensor": ("import torch\nX = torch.arange(3.) + {W}", "X"),
    "a tensor that a class holds": (
        "import torch\nclass X:\n    k = torch.tensor([{W}], requires_grad=False, dtype=torch.bfloat16)",
        "X.k",
    ),
    "the type of a tensor": ("import torch\nX = torch.zeros(2, dtype=[torch.float32, torch.int32][{W}])", "X"),
    "a module": (
        "import torch\nX = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout({W}))\n"
        "for p in X.parameters(): p.data.fill_(1)",
        "X",
    ),
    "weights": ("import torch\nX = torch.nn.Linear(2, 2)\nfor p in X.parameters(): p.data.fill_({W})", "X"),
    "a generator of torch": ("import torch\nX = torch.Generator().manual_seed({W})", "X"),
    "a struct": ("import struct\nclass X:\n    k = struct.Struct('<{W}I')", "X.k"),
    "an alias of a type": ("from typing import Literal\nX = Literal[{W}]", "X"),
}


@pytest.mark.parametrize("case", VALUES)
def test_each_value_that_is_read_moves_the_key(python: Python, tmp_path: Path, case: str) -> None:
    before, read = VALUES[case]
    found = []
    for number, seed in ((0, 1), (1, 1), (0, 2)):
        (tmp_path / "folder").mkdir(exist_ok=True)
        for file in ("number.txt", "folder/number.txt"):
            (tmp_path / file).write_text(str(number))
        helper = "N = {W}\ndef f(): return {W}\nclass C:\n  def f(self): return {W}\n"
        (tmp_path / "helper_of_test.py").write_text(helper.replace("{W}", str(number)))
        shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)  # its clock has whole seconds
        found.append(python.run(tmp_path, before.replace("{W}", str(number)), read, seed))
    assert found[0].startswith("{'code'"), found
    assert found[0] == found[2] != found[1]


@pytest.mark.parametrize(
    ("before", "read"),
    [
        ("import logging, threading\nX, Y = logging.getLogger('a'), threading.Lock()", "X, Y"),
        ("import numpy as np", "np.arange(3)"),
        ("import dormouse as dm", "dm.UserError"),
        ("X = sys.stderr", "X"),
        ("from dormouse.policies.trigger import TriggerField as X", "X"),
        ("from math import sqrt as X", "X(2)"),
        ("X = []\nX.append(X)", "X"),
        (
            "from pydantic import validate_call\n@validate_call\ndef X(n: int): return n\nimport os\nY = os.getpid()",
            "X(1)",
        ),
        ("import numpy as np\nX = np.random.mtrand._rand", "X"),
        ("import ctypes\nX = ctypes.CDLL(None)", "X"),
        ("def X(): return 1\nX._torchdynamo_wrapper_id = id(X)", "X()"),
        (
            "import contextvars, ctypes, multiprocessing, sqlite3, weakref\nfrom concurrent.futures import *\n"
            "class C(ctypes.Structure): _fields_ = [('a', ctypes.c_int)]\n"
            "class X:\n    seen = weakref.WeakKeyDictionary()\n"
            "    var, store = contextvars.ContextVar('a'), sqlite3.connect(':memory:')\n"
            "    def k(self, a=ThreadPoolExecutor(1), b=multiprocessing.Lock()): return C()",
            "X().k()",
        ),
        ("def X(): return __name__ == '__main__'", "X()"),
        ("def eval(m, exec=3): return exec\ndef X(): return eval(1)", "X()"),
        ("class M(type):\n    def __getattr__(c, k): return 1\nclass X(metaclass=M): pass", "X.k"),
    ],
)
def test_what_holds_no_number_is_let_through(python: Python, tmp_path: Path, before: str, read: str) -> None:
    found = {python.run(tmp_path, before, read, seed) for seed in (1, 2)}
    assert len(found) == 1
    assert found.pop().startswith("{'code'")


EACH_OTHER = "def f():\n" + "".join(
    f"    def f{n}(): return {', '.join(f'f{m}' for m in range(9))}\n" for n in range(9)
)


@pytest.mark.parametrize(
    ("before", "read"), [(f"{EACH_OTHER}    return f0\nX = f()", "X()"), ("X = 1\nfor _ in range(40): X = [X, X]", "X")]
)
def test_what_many_name_is_said_once(python: Python, tmp_path: Path, before: str, read: str) -> None:
    """Of nine functions that name each other all ways through them were gone: nine factorial."""
    assert python.run(tmp_path, before, read).startswith("{'code'")


@pytest.mark.parametrize(
    "value",
    [
        "(n for n in range(3))",
        "open(__file__)",
        "[]\nfor _ in range(3000): X = [X]",
        "type('X', (), {'k': open(__file__)})",
    ],
)
def test_what_cannot_be_known_is_refused(python: Python, tmp_path: Path, value: str) -> None:
    assert "refused the value of X cannot be read" in python.run(tmp_path, f"X = {value}", "X")


@pytest.mark.parametrize("read", ["globals()['X']", "eval('X')", "sys.modules['__main__'].X"])
def test_what_is_looked_up_is_refused(python: Python, tmp_path: Path, read: str) -> None:
    assert "in the code of T can read anything" in python.run(tmp_path, "X = 1", read)


def test_a_function_whose_text_was_kept_nowhere_is_refused(python: Python, tmp_path: Path) -> None:
    assert "the code of X cannot be read" in python.run(tmp_path, "exec('def X(): return 1')", "X()")


def test_a_plug_in_of_a_function_counts_by_what_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same source, under the same name."""
    import linecache

    cell = "def every(n):\n    class Every:\n        def r(self):\n            return n\n    return Every\n"
    linecache.cache["<ipython-input-3>"] = (len(cell), None, cell.splitlines(True), "<ipython-input-3>")
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(cell, "<ipython-input-3>", "exec"), space)
    four, seven = space["every"](4), space["every"](7)
    assert code_of(four) == code_of(space["every"](4)) != code_of(seven)
    start = code_of(four)
    four.level = 0.5
    sources.forget()
    assert code_of(four) != start


COUNTS = """
def make(n):
    def count():
        nonlocal n
        n += 1
        return n
    return count
X = make(1)
"""


def test_what_a_function_takes_from_those_around_it_is_no_name_of_the_script(python: Python, tmp_path: Path) -> None:
    """It is read where it is, and a name of the script that is called alike is not."""
    assert python.run(tmp_path, f"n = 1{COUNTS}", "X()") == python.run(tmp_path, f"n = 2{COUNTS}", "X()")
    in_class = COUNTS.replace("def count():", "class count:\n      def f(self):").replace("        n", "          n")
    in_class = in_class.replace("        return n", "          return n")
    assert python.run(tmp_path, in_class, "X().f()").startswith("{'code'")


def test_what_python_keeps_of_a_class_does_not_count(python: Python, tmp_path: Path) -> None:
    """It notes the names of slots when an object is copied first."""
    before = "import copy\nclass X: pass\n"
    assert python.run(tmp_path, before, "X()") == python.run(tmp_path, f"{before}copy.copy(X())", "X()")


def test_a_value_that_nothing_reads_does_not_count(python: Python, tmp_path: Path) -> None:
    assert python.run(tmp_path, "X, Y = 1, 2", "Y") == python.run(tmp_path, "X, Y = 3, 2", "Y")
    assert python.run(tmp_path, "X = open('study.yaml', 'w')", "1") == python.run(tmp_path, "", "1")


def test_a_value_of_a_notebook_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    import linecache

    main, source = sys.modules["__main__"], "class T:\n    def r(self):\n        return WORDS\n"
    linecache.cache["<ipython-input-1>"] = (len(source), None, source.splitlines(True), "<ipython-input-1>")
    space = {"__name__": "__main__"}
    exec(compile(source, "<ipython-input-1>", "exec"), space)
    monkeypatch.setattr(main, "T", space["T"], raising=False)
    found = []
    for words in (["a"], ["b"], ["a"]):
        monkeypatch.setattr(main, "WORDS", words, raising=False)
        sources.forget()
        found.append(code_of(space["T"]))
    assert found[0] == found[2] != found[1]
    monkeypatch.setattr(main, "WORDS", iter([1]), raising=False)
    sources.forget()
    code_of(space["T"])
    monkeypatch.setattr(main, "WORDS", (n for n in [1]), raising=False)
    sources.forget()
    with pytest.raises(UserError, match="the value of WORDS cannot be read"):
        code_of(space["T"])


@pytest.mark.parametrize(
    ("cell", "before"),
    [
        ("class T:\n    def r(self):\n        return open('words.txt').read()\n", {}),
        ("class T:\n    def r(self):\n        return WORDS.read_text()\n", {"WORDS": Path("words.txt")}),
    ],
    ids=["named in the cell", "a path in a value"],
)
def test_a_file_that_a_cell_of_a_notebook_reads_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cell: str, before: dict[str, object]
) -> None:
    import linecache

    monkeypatch.chdir(tmp_path)
    linecache.cache["<ipython-input-2>"] = (len(cell), None, cell.splitlines(True), "<ipython-input-2>")
    space: dict[str, object] = {"__name__": "__main__"}
    exec(compile(cell, "<ipython-input-2>", "exec"), space)
    main = sys.modules["__main__"]
    monkeypatch.delattr(main, "__file__", raising=False)
    for name, value in {"T": space["T"], **before}.items():
        monkeypatch.setattr(main, name, value, raising=False)
    found = []
    for words in ("a", "b", "a"):
        (tmp_path / "words.txt").write_text(words)
        sources.forget()
        found.append(code_of(space["T"]))
    assert found[0] == found[2] != found[1]
