"""The house stands: who may import whom (../shared/design/house.md), and what a light command may load."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

import dormouse
from dormouse import registry

SOURCE = Path(dormouse.__file__).parent
_spec = importlib.util.spec_from_file_location("structure", Path(__file__).parents[1] / "benchmarks" / "structure.py")
assert _spec is not None
assert _spec.loader is not None
structure = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(structure)
GROUND = {"locks", "errors", "records", "registry", "files", "json_files", "entry", "renamed", "stopping", "rows"}
EVERYTHING = {room.stem for room in SOURCE.iterdir() if room.suffix == ".py" or room.is_dir()}
WORK = {"scenarios", "policies", "lm", "organisms", "interventions", "measurements"}
MAY_IMPORT = {
    "records": set(),
    "errors": set(),
    "files": {"errors"},
    "json_files": {"errors", "files"},
    "entry": {"errors", "files", "json_files"},
    "stopping": set(),
    "locks": {"errors"},
    "renamed": {"errors"},
    "registry": {"errors", "files", "records", "json_files", "renamed"},
    "rows": {"errors", "registry", "files"},
    "outputs": {"errors", "files", "entry", "store"},
    "sources": {"locks", "packages", "syntax", "files_read", "plugin_code", "live_code", "kept_code"},
    "kept_code": {"files", "syntax"},
    "plugin_code": {"errors", "packages", "syntax", "files_read"},
    "live_code": {"errors", "files_read", "live_values", "syntax"},
    "live_values": set(),
    "files_read": {"errors", "packages"},
    "syntax": {"packages"},
    "packages": {"errors", "files"},
    "metrics": {"errors", "registry"},
    "arguments": {"errors", "registry"},
    "store": GROUND,
    "scenarios": GROUND,
    "policies": GROUND | {"scenarios"},
    "lm": GROUND,
    "organisms": GROUND | {"policies", "scenarios", "lm", "store"},
    "interventions": GROUND | {"metrics", "lm", "scenarios", "store"},
    "locators": GROUND | {"lm", "scenarios", "store", "interventions.redteam"},
    "audits": EVERYTHING,
    "measurements": GROUND | {"metrics", "policies", "scenarios", "lm"},
    "studies": GROUND | WORK | {"arguments", "metrics", "store", "outputs"},
    "claims": GROUND | {"studies", "metrics", "measurements", "store"},
    "execution": GROUND | {"store"},
    "storage": GROUND | {"store", "execution"},
    "provenance": {"json_files", "claims", "records"},
    "report": GROUND | {"metrics", "provenance", "store", "claims.verdict"},
    "progress": {"terminal"},
    "pipeline": GROUND
    | WORK
    | {"locators", "metrics", "store", "sources", "studies", "claims", "execution", "storage"}
    | {"report", "provenance", "card", "outputs"},
    "terminal": {"errors", "registry", "stopping"},
    "options": {"registry"},
    "card": {
        "errors",
        "files",
        "records",
        "json_files",
        "entry",
        "renamed",
        "registry",
        "scenarios",
        "lm",
        "organisms",
    },
    "export": {"errors", "outputs", "records", "card", "lm"},
    **dict.fromkeys(
        ("__init__", "__main__", "api", "catalogue", "cli", "doctor", "chat_command", "integrations"), EVERYTHING
    ),
}
"""Room -> the rooms, or single modules of a room, that it may import. There is no way back: see the test of circles."""
FILES = sorted(SOURCE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> list[tuple[int, str]]:
    """(line, module) of every import in a file, inside functions too, relative ones made absolute."""
    package = ["dormouse", *path.relative_to(SOURCE).parts[:-1]]
    found = []
    for node in structure.nodes(path):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{source}.{alias.name}" for alias in node.names] if source == "dormouse" else [source]
            found += [(node.lineno, name) for name in names]
    return found


def breaches(path: Path) -> list[str]:
    room = room_of(path)
    allowed = MAY_IMPORT[room] | {room}
    return [
        f"{path}:{line}: {room} imports {name}"
        for line, name in imports(path)
        if name.split(".")[0] == "dormouse" and not ({".".join(name.split(".")[1:n]) for n in (2, 3)} & allowed)
    ]


def test_every_room_has_a_rule() -> None:
    assert {room_of(path) for path in FILES} <= set(MAY_IMPORT)


def test_nobody_imports_upward() -> None:
    assert [breach for path in FILES for breach in breaches(path)] == []


def test_nothing_goes_in_a_circle() -> None:
    """Not by an import inside a function either, nor by one under TYPE_CHECKING; nor from room to room."""
    graph = structure.imports()
    assert structure.circles(graph) == []
    rooms: dict[str, set[str]] = {}
    for name, others in graph.items():
        room = [*name.split("."), ""][1]
        rooms.setdefault(room, set()).update([*other.split("."), ""][1] for other in others)
    several = {room for room in rooms if (SOURCE / room).is_dir()}
    assert structure.circles({room: (rooms[room] & several) - {room} for room in several}) == []


def test_a_circle_is_seen() -> None:
    assert structure.circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]


def test_no_file_no_function_and_no_list_of_parameters_is_long() -> None:
    assert [str(path) for path in FILES if len(path.read_text().splitlines()) > 350] == []
    every = list(structure.functions())
    assert [name for name, node in every if structure.length(node) > 60] == []
    assert [name for name, node in every if structure.parameters(node) > 7] == []


def test_every_public_function_says_what_it_does() -> None:
    every = list(structure.public_functions())
    assert [name for name, node in every if not ast.get_docstring(node)] == []
    assert len(every) > 1000


def test_words_about_a_constant_stand_right_under_it() -> None:
    """Those that stand apart are soon taken for those of the next one. (A comment for ruff may stand between.)"""
    apart = []
    for path in FILES:
        for before, node in pairwise(structure.parsed(path).body):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                named = isinstance(before, ast.Assign | ast.AnnAssign | ast.AugAssign)
                apart += [] if named and node.lineno <= (before.end_lineno or 0) + 2 else [f"{path.name}:{node.lineno}"]
    assert apart == []


def test_what_travels_has_a_type() -> None:
    """Mappings of anything are for what is not ours: settings of plug-ins, files of others, plotly's layout."""
    assert structure.loose() < 2


def test_a_measurement_is_one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {kind: dict(registry.plugins(kind)) for kind in registry.KINDS}  # all are loaded before the copy is made
    monkeypatch.setattr(registry, "_registered", known)
    assert structure.shown_by_one_file() == {"column": True, "curve": True, "claim": True}


def test_a_breach_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail: inside functions, through `from dormouse import`, and relatively."""
    monkeypatch.setattr(sys.modules[__name__], "SOURCE", tmp_path)
    (tmp_path / "lm").mkdir()
    bad = tmp_path / "lm" / "bad.py"
    bad.write_text(
        "import dormouse\nfrom dormouse import policies\nfrom ..organisms import spec\n"
        "def f():\n    import dormouse.measurements.stats\nfrom dormouse.records import ModelRef\n"
    )
    assert [int(breach.split(":")[1]) for breach in breaches(bad)] == [1, 2, 3, 5]


@pytest.mark.parametrize("room", ["records", "errors", "files", "json_files", "registry", "store"])
def test_the_ground_floor_knows_no_torch(room: str) -> None:
    heavy = {"torch", "transformers", "peft", "safetensors", "plotly", "matplotlib", "scipy"}
    assert {name.split(".")[0] for _, name in imports(SOURCE / f"{room}.py")} & heavy == set()


READ_OTHERWISE = {
    "files.py": "path.read_bytes()",  # `read_whole` itself
    "audits/detector.py": "source.read_text(encoding='utf-8')",  # in the package, which may be zipped
    "integrations/play/server.py": "folder.joinpath",
}
PACKAGED = ("files(", "__file__", "'/proc/")
"""In what reads a file that came with dormouse, or one that the system makes."""


def test_files_are_read_whole_and_pipes_not_at_all() -> None:
    """A pipe in the place of a file was waited for, for ever."""
    others = []
    for path in FILES:
        name = path.relative_to(SOURCE).as_posix()
        known = (*PACKAGED, READ_OTHERWISE.get(name, "__file__"))
        calls = [node for node in structure.nodes(path) if isinstance(node, ast.Call)]
        reads = [ast.unparse(one) for one in calls if getattr(one.func, "attr", "") in ("read_text", "read_bytes")]
        others += [f"{name}: {one}" for one in reads if not any(part in one for part in known)]
    assert others == [], "use dormouse.files.read_whole"


LIGHT = (
    "from dormouse.cli import main; main(['--help'], standalone_mode=False)",
    "from dormouse.cli import main; main(['list'], standalone_mode=False)",
    "import dormouse; dormouse.read_study; dormouse.Store; dormouse.register",
    "import dormouse; dormouse.run; dormouse.Results; dormouse.Study; dormouse.load",
    "import dormouse.pipeline.plan, dormouse.pipeline.run, dormouse.lm.zoo",
    "import dormouse.audits.audit, dormouse.registry as r; [k() for k in r.plugins('locator').values()]",
)
HEAVY = ("torch", "transformers", "peft", "plotly")


def test_light_commands_load_nothing_heavy() -> None:
    """One after the other in one process: what none has loaded is not there after the last."""
    asks = f"; import sys; print('loaded', *[m for m in {HEAVY} if m in sys.modules])\n"
    script = "".join(does + asks for does in LIGHT)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert [line for line in done.stdout.splitlines() if line.startswith("loaded")] == ["loaded"] * len(LIGHT)


def test_the_index_is_short_and_whole() -> None:
    source = (SOURCE / "__init__.py").read_text()
    said = next(ast.literal_eval(one.value) for one in ast.parse(source).body if "__all__" in ast.unparse(one)[:7])
    assert sorted(said) == sorted(dormouse._ROOM), "what type checkers read is what there is"
    for name in dormouse.__all__:
        assert name == "CUES" or getattr(dormouse, name).__name__ == name
    with pytest.raises(AttributeError):
        _ = dormouse.nothing_of_that_name
    assert len(source.splitlines()) < 100


def test_no_two_files_of_tests_share_a_name() -> None:
    """They are imported by it: the second would not be collected."""
    names = [path.name for path in Path(__file__).parent.rglob("*.py") if path.parent.name not in ("dormouse_moon",)]
    assert len(names) == len(set(names)) + names.count("conftest.py") - 1, sorted(names)
