"""The logs of several trainings as one: every step with its training, every row with its number."""

from dormouse.json_files import json_text, read_json_lines
from dormouse.lm.joined_logs import join_logs
from dormouse.records import SHOWN_ROWS, TRAINING, TrainingStep


def log(folder, parts, rows):
    """A log whose every step shows the last row."""
    folder.mkdir()
    steps = [TrainingStep(1, 0.5, 1.0, 0.1, (len(rows) - 1,), part) for part in parts]
    (folder / TRAINING).write_text("".join(json_text(step) + "\n" for step in steps))
    (folder / SHOWN_ROWS).write_text("".join(f'"{row}"\n' for row in rows))
    return folder


def test_a_log_of_several_trainings_is_joined_with_others(tmp_path):
    """Each rung of fine-pruning is a training of its own: what comes after it in a chain counts on from the last."""
    folders = [log(tmp_path / "rungs", [1, 2], "ab"), tmp_path / "noise", log(tmp_path / "sft", [1], "cde")]
    join_logs(folders, tmp_path)
    steps = read_json_lines(tmp_path / TRAINING, TrainingStep)
    assert [(step.part, step.shown) for step in steps] == [(1, (1,)), (2, (1,)), (4, (4,))]
    assert (tmp_path / SHOWN_ROWS).read_text() == '"a"\n"b"\n"c"\n"d"\n"e"\n'


def test_of_edits_alone_there_is_no_log(tmp_path):
    join_logs([tmp_path / "noise"], tmp_path)
    assert not list(tmp_path.iterdir())
