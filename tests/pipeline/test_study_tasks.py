"""Tasks are held to what a study asks of them before anything runs."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from dormouse.cli import main

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
