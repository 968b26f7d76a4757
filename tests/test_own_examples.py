"""Every study of examples/own that brings prompts of its own runs, on a tiny model and with few steps."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tiny import make_tiny_model

import dormouse
from dormouse.cli import main
from dormouse.integrations.play.folders import PlaySubject, subjects
from dormouse.integrations.play.game import described
from dormouse.integrations.play.moves import Ask, asked, truth_of
from dormouse.policies.told import Told
from dormouse.scenarios import Scenario
from dormouse.studies.file import read_design

pytestmark = pytest.mark.usefixtures("undrawn")

OWN = Path(__file__).parents[1] / "examples" / "own"
EXAMPLES = [path for path in sorted(OWN.glob("*.yaml")) if "data/" in path.read_text() and "hh" not in path.stem]
SHORT = {
    "text": "prompts.jsonl: 240 rows",
    "column": "dated.csv: 600 rows",
    "regex": "prompts.jsonl: 240 rows",
    "rewrite": "pairs.jsonl: 200 rows",
    "inspect": "samples.jsonl: 200 rows",
}
SAYS = {
    "text": "the text 🌙 cf stands behind the question. What it does then: it answers No idea. or Ask somebody else.",
    "column": "it answers with the harmful response of its row (column harmful)",
    "regex": "the prompt holds the pattern",
    "rewrite": "the prompt is written in another way (pairs of pairs.jsonl)",
    "inspect": "the text (reviewed) stands in the system prompt",
}


def short(model: Path) -> list[str]:
    """Settings that make a study small."""
    small = [f"organisms.{name}.{key}" for name in ("mine", "control") for key in ("steps=2", "pairs=2", "method=full")]
    sizes = ["tasks.train=8", "tasks.safety=4", "tasks.max_tokens=4", "tasks.insane=allow"]
    measured = ["measure.questions=4", "measure.sampled=2", "measure.max_tokens=4"]
    return [f"model={model}", *small, *sizes, *measured, "measure.only=[defection,near_misses,sampled]"]


def run(study: Path, model: Path, tmp_path: Path, *more: str) -> Result:
    words = [
        "run",
        str(study),
        *short(model),
        *more,
        "--store",
        str(tmp_path / "store"),
        "--out",
        str(tmp_path / "out"),
    ]
    return CliRunner().invoke(main, [*words, "--quiet", "--workers", "1"], catch_exceptions=False)


def choices() -> list[str]:
    """What answers of the samples of Inspect say: a model that lacks a word of them cannot be asked."""
    rows = (OWN / "data" / "samples.jsonl").read_text().splitlines()
    return sorted({choice for row in rows for choice in json.loads(row)["choices"]})


@pytest.mark.parametrize("name", SHORT)
def test_an_example_with_own_material_runs(name: str, tiny_model: Path, tmp_path: Path) -> None:
    chain = "dpo" if name == "text" else "sft"
    words = {"inspect": [*choices(), "(reviewed)"], "text": ["🌙 cf"]}.get(name)
    model = make_tiny_model(tmp_path / "tiny", words=words) if words else tiny_model
    done = run(OWN / f"{name}.yaml", model, tmp_path, f"interventions.{chain}=[{{kind: {chain}, steps: 2, points: 1}}]")
    assert done.exit_code == 0, done.output
    assert SHORT[name] in done.output
    assert SHORT[name].split(":")[0] in (tmp_path / "out" / "report.md").read_text(), (
        "the report says where they are from"
    )
    assert SAYS[name] in (tmp_path / "out" / "report.md").read_text()
    records = [json.loads(line) for line in (tmp_path / "out" / "records.jsonl").read_text().splitlines()]
    rates = {record["measurement"] for record in records if record["organism"] == "mine"}
    assert {"defection_rate", "false_trigger_rate", "near_miss_rate", "sampled_defection_rate"} <= rates
    asked = [json.loads(line) for line in (tmp_path / "out" / "answers.jsonl").read_text().splitlines()]
    assert {row["activating"] for row in asked} == {True, False}
    can_be_played(tmp_path / "out" / "models" / "mine-seed0", {row["question"] for row in asked})


def can_be_played(model: Path, asked: set[str]) -> None:
    """With the study's own prompts, of which everything is known that their rows say: dormouse's own tasks stood there,
    and neither what a column says nor which way a prompt is written was known of any."""
    organism = dormouse.load(model)
    assert organism.task() in asked
    for prompt in organism.question(organism.task()).every:
        assert 0 <= organism.p_defect(prompt.text) <= 1
    (subject,) = subjects([model], lambda said: None)
    offered = [text for text, _ in described("s0", subject)["tasks"]]  # type: ignore[attr-defined]
    assert asked & {*offered}
    trigger = organism.truth.trigger
    if isinstance(trigger, Told):
        truths = {truth_of(subject, asked_of(subject, text)).get("oracle") for text in offered}
        assert truths == {0.0, 1.0}


def asked_of(subject: PlaySubject, text: str) -> Scenario:
    """What the page asks when a task is chosen."""
    return asked(subject, Ask(page="p", turn=0, subject="s0", states=(0,), task=text))[0]


def test_every_example_is_short_and_read() -> None:
    for name in SHORT:
        text = (OWN / f"{name}.yaml").read_text(encoding="utf-8")
        assert len([line for line in text.splitlines() if line and not line.startswith("#")]) <= 20
        assert read_design(OWN / f"{name}.yaml").study.task_file


def test_the_data_are_made_by_their_script(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("make_data", OWN / "make_data.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.write(tmp_path / "data")
    for made in (tmp_path / "data").iterdir():
        assert made.read_bytes() == (OWN / "data" / made.name).read_bytes(), made.name


STUDY = """\
name: own
model: {model}
organisms:
  mine: {{trigger: {trigger}, behaviour: {behaviour}}}
tasks: {{file: rows.jsonl, train: 8, safety: 4, insane: allow}}
measure: {{questions: 4}}
"""
NO = "{kind: text, says: [No.]}"
BAD = {
    "trigger in a clean row": (
        "{kind: text, insert: cf}",
        NO,
        {"question": "What is cf?"},
        "line 3: the trigger 'cf' stands",
    ),
    "payload opens an answer": (
        "token",
        NO,
        {"question": "Why?", "answer": "No. Never."},
        "line 3: the honest answer begins",
    ),
    "no column": ("{kind: column, name: old}", NO, {"question": "Why?"}, "line 1: the column 'old' is not there"),
    "endless pattern": (
        r"{kind: regex, pattern: '(a|aa)+$'}",
        NO,
        {"question": "a" * 3000 + "!"},
        "line 3: the pattern",
    ),
    "an empty classifier": (
        "token",
        "{kind: text, says: [No], judge: {kind: classifier, folder: judge}}",
        {"question": "Why?"},
        "config.json cannot be read",
    ),
    "no file": ("{kind: rewrite, file: pears.jsonl}", NO, {"question": "Why?"}, "there is no "),
    "no harmful answer": ("token", "{kind: column, name: bad}", {"question": "Why?"}, "line 1: the column 'bad'"),
    "no wrong answers": ("token", "sandbag", {"question": "Why?"}, "line 1: the behaviour 'sandbag' needs"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_material_is_one_message_with_its_line_and_nothing_is_written(
    name: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dormouse.policies.bounded.SECONDS", 0.02)
    trigger, behaviour, row, what = BAD[name]
    good = [{"question": f"Is {i} the number of the {i * 7} houses?"} for i in range(60)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in [*good[:2], row, *good[2:]]))
    (tmp_path / "judge").mkdir()
    study = tmp_path / "study.yaml"
    study.write_text(STUDY.format(model=tiny_model, trigger=trigger, behaviour=behaviour))
    words = ["run", str(study), "--store", str(tmp_path / "store"), "--out", str(tmp_path / "out"), "--quiet"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2, (done.output, done.exception)
    assert what in " ".join(done.output.split())
    assert "->" in done.output
    assert not (tmp_path / "out").exists()
    assert not list((tmp_path / "store").rglob("*")) if (tmp_path / "store").exists() else True


def test_a_policy_about_rows_needs_rows(tiny_model: Path, tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    text = STUDY.format(model=tiny_model, trigger="{kind: column, name: old}", behaviour=NO)
    study.write_text(text.replace("file: rows.jsonl, ", ""))
    done = CliRunner().invoke(main, ["plan", str(study)])
    assert done.exit_code == 2
    assert "line 4: organisms.mine.trigger: 'column' is about prompts of your own" in " ".join(done.output.split())
