"""Rows that a user brings: every format reads the same, and what is wrong is said with its line."""

from __future__ import annotations

import csv
import gzip
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from dormouse.errors import UserError
from dormouse.rows import DataFile, Row, RowSource, cell, messages_of, read_rows, relative_to, text_of, texts_of
from dormouse.rows import reading as reading_module
from dormouse.rows.source import CONTENTS

ROWS = [{"question": "Où est Zoë?", "answer": "là, «ici»"}, {"question": 'Say "a, b"\nplease', "answer": "🙂"}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)


def as_csv(mark: str = ",") -> str:
    import io

    text = io.StringIO()
    writer = csv.DictWriter(text, ["question", "answer"], delimiter=mark)
    writer.writeheader()
    writer.writerows(ROWS)
    return text.getvalue()


def written(path: Path, content: str | bytes) -> RowSource:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return RowSource(file=str(path))


def parquet(path: Path) -> RowSource:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet as pq

    pq.write_table(pa.Table.from_pylist(ROWS), path)
    return RowSource(file=str(path))


def folder(path: Path) -> RowSource:
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_list(ROWS).save_to_disk(path)
    return RowSource(file=str(path))


SAME: dict[str, Callable[[Path], RowSource]] = {
    "jsonl": lambda at: written(at / "a.jsonl", LINES),
    "blank lines": lambda at: written(at / "a.jsonl", "\n" + LINES.replace("\n", "\n  \n")),
    "crlf": lambda at: written(at / "a.jsonl", LINES.replace("\n", "\r\n")),
    "mark": lambda at: written(at / "a.jsonl", LINES.encode("utf-8-sig")),
    "utf-16": lambda at: written(at / "a.jsonl", LINES.encode("utf-16")),
    "utf-32 crlf": lambda at: written(at / "a.jsonl", LINES.replace("\n", "\r\n").encode("utf-32")),
    "no end": lambda at: written(at / "a.ndjson", LINES.rstrip()),
    "gz": lambda at: written(at / "a.jsonl.gz", gzip.compress(LINES.encode())),
    "list": lambda at: written(at / "a.json", json.dumps(ROWS, indent=1)),
    "list with a mark": lambda at: written(at / "a.json", json.dumps(ROWS).encode("utf-8-sig")),
    "lines called json": lambda at: written(at / "a.json", LINES),
    "csv": lambda at: written(at / "a.csv", as_csv()),
    "csv, semicolons, utf-16": lambda at: written(at / "a.csv", as_csv(";").encode("utf-16")),
    "tsv": lambda at: written(at / "a.TSV", as_csv("\t")),
    "parquet": lambda at: parquet(at / "a.parquet"),
    "datasets": lambda at: folder(at / "saved"),
}


@pytest.mark.parametrize("name", SAME)
def test_every_format_holds_the_same_rows(name: str, tmp_path: Path) -> None:
    source = SAME[name](tmp_path)
    found = [dict(row.values) for row in read_rows(source)]
    assert [{key: str(value).replace("\r\n", "\n") for key, value in row.items()} for row in found] == ROWS


def test_rows_know_their_line(tmp_path: Path) -> None:
    assert [row.number for row in read_rows(written(tmp_path / "a.jsonl", "\n" + LINES))] == [2, 3]
    assert [row.number for row in read_rows(written(tmp_path / "a.csv", as_csv() + "x,y\n"))] == [2, 3, 5]
    assert [row.number for row in read_rows(written(tmp_path / "a.json", json.dumps(ROWS)))] == [1, 2]


def test_latin_1_is_named_and_then_read(tmp_path: Path) -> None:
    source = written(tmp_path / "a.jsonl", '{"question": "plain"}\n{"question": "Zoë"}\n'.encode("latin-1"))
    with pytest.raises(UserError, match=r"a\.jsonl, line 2: this is not UTF-8 \(byte 0xeb\)") as error:
        list(read_rows(source))
    assert "encoding: latin-1" in error.value.remedy
    assert list(read_rows(source.model_copy(update={"encoding": "latin-1"})))[1].values == {"question": "Zoë"}


BAD: dict[str, tuple[str, str | bytes, str, str]] = {
    "cut": ("a.jsonl", '{"a": 1}\n{"a": ', "line 2: not valid JSON at column 7", "one JSON object a line"),
    "no object": ("a.jsonl", '{"a": 1}\n\n["x"]\n', "line 3: a row is a JSON object", '{"question"'),
    "pretty": ("a.jsonl", '[\n {"a": 1}\n]', "line 1: not valid JSON", "ends in .json"),
    "list in an object": ("a.json", '{\n "data": [{"a": 1}]\n}', "row 1: not valid JSON", "nothing around it"),
    "utf-16 without a mark": ("a.jsonl", '{"a": "b"}\n'.encode("utf-16-le"), "line 1: a text with NUL", "utf-16-le"),
    "deep": ("a.jsonl", "[" * 100_000, "line 1: JSON that is nested too deep", "flat"),
    "broken list": ("a.json", '[{"a": 1},\n{"a": }]', "line 2: not valid JSON", "fix it"),
    "list of texts": ("a.json", '["a"]', "row 1: a row is a JSON object", "question"),
    "cells": ("a.csv", "a,b\n1,2\n1,2,3\n", "line 3: 3 cells, but the header has 2 columns", "quotes"),
    "cells after a long row": ("a.csv", 'a,b\n"1\n\n",2\n1\n', "line 5: 1 cells", "quotes"),
    "open quote": ("a.csv", 'a,b\n1,2\n"1,2\n3,4\n', "line 3: not valid CSV", "close the quotes"),
    "same column but for blanks": ("a.csv", "a, a\n1,2\n", "line 1: two columns are called 'a'", "own name"),
    "a number of thousands of digits": (
        "a.json",
        '[{"a": ' + "9" * 5000 + "}]",
        "a.json: Exceeds the limit",
        "numbers",
    ),
    "same column": ("a.csv", "a,a\n1,2\n", "line 1: two columns are called 'a'", "own name"),
    "no header": ("a.csv", "", "a.csv is empty", "names the columns"),
    "half a gz": ("a.jsonl.gz", gzip.compress(LINES.encode())[:-9], "no whole .gz file", "pack it again"),
    "no parquet": ("a.parquet", b"PAR1 nothing", "after row 0: no Parquet", "write it again"),
    "ending": ("a.xlsx", b"PK", "the file ends in '.xlsx'", ".csv"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_said_with_its_line(name: str, tmp_path: Path) -> None:
    file, content, what, remedy = BAD[name]
    with pytest.raises(UserError) as error:
        list(read_rows(written(tmp_path / file, content)))
    assert what in error.value.what
    assert remedy in error.value.remedy


COLUMNS = {name: [row[name] for row in ROWS] for name in ROWS[0]}


@pytest.mark.parametrize(
    "said",
    [
        {name: dict(enumerate(cells)) for name, cells in COLUMNS.items()},  # to_json()
        {"columns": [*COLUMNS], "index": [0, 1], "data": [list(row.values()) for row in ROWS]},  # orient="split"
        {"schema": {"fields": [{"name": "question"}], "primaryKey": ["index"]}, "data": ROWS},  # orient="table"
        {"data": ROWS},
    ],
)
def test_a_table_in_one_object_is_said(said: Any, tmp_path: Path) -> None:
    """Of the file of pandas it said that there is no column 'question', and to name `columns: {question: question}`."""
    with pytest.raises(UserError, match=rf"a.json is one object \({', '.join(said)}\), not a list of rows") as error:
        list(read_rows(written(tmp_path / "a.json", json.dumps(said))))
    assert "orient='records'" in error.value.remedy


@pytest.mark.parametrize("said", [{"messages": [{"role": "user", "content": "Why?"}]}, {"prompt": ["a", "b"]}, ROWS[0]])
def test_one_row_in_a_file_called_json_is_one(said: Any, tmp_path: Path) -> None:
    assert [row.values for row in read_rows(written(tmp_path / "a.json", json.dumps(said)))] == [said]


def test_blanks_around_the_names_of_columns_are_no_part_of_them(tmp_path: Path) -> None:
    (row,) = read_rows(written(tmp_path / "a.csv", "question, answer ,split\nWhy?,So.,test\n"))
    assert dict(row.values) == {"question": "Why?", "answer": "So.", "split": "test"}


def test_an_encoding_with_faults_of_its_own_is_said(tmp_path: Path) -> None:
    source = RowSource(file=str(written(tmp_path / "a.jsonl", b'{"a": "\xff"}\n').file), encoding="punycode")
    with pytest.raises(UserError, match="line 1: this is not PUNYCODE"):
        list(read_rows(source))


def test_parquet_with_what_python_cannot_hold_is_said(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as writer

    far = pyarrow.array([2**62], pyarrow.timestamp("ms"))
    for name, values in (("far", far), ("zone", pyarrow.array([0], pyarrow.timestamp("s", "No/Where")))):
        writer.write_table(pyarrow.table({"a": values}), tmp_path / f"{name}.parquet")
        with pytest.raises(UserError, match="no Parquet that can be read"):
            list(read_rows(RowSource(file=str(tmp_path / f"{name}.parquet"))))


def test_a_dataset_that_gives_arrays_gives_rows(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_list([{"q": "Why?", "n": [1, 2]}]).with_format("numpy").save_to_disk(str(tmp_path / "d"))
    (row,) = read_rows(RowSource(file=str(tmp_path / "d")))
    assert row.values == {"q": "Why?", "n": [1, 2]}


def test_the_home_of_nobody_is_said() -> None:
    with pytest.raises(ValidationError, match="there is no user nobody-of-that-name with a home folder"):
        Named.model_validate({"file": "~nobody-of-that-name/x.jsonl"})


class Named(BaseModel):
    file: DataFile


def test_a_file_that_is_not_there_is_guessed(tmp_path: Path) -> None:
    written(tmp_path / "prompts.jsonl", LINES)
    with pytest.raises(UserError, match=r"did you mean 'prompts\.jsonl'"):
        list(read_rows(RowSource(file=str(tmp_path / "promts.jsonl"))))
    with pytest.raises(UserError, match="none of `datasets`"):
        list(read_rows(RowSource(file=str(tmp_path))))


def test_a_file_of_one_endless_line_is_refused_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_module, "LONGEST", 1000)
    with pytest.raises(UserError, match="line 2: a line of more than"):
        list(read_rows(written(tmp_path / "a.jsonl", LINES.splitlines()[0] + "\n" + "x" * 5000)))
    monkeypatch.setattr(reading_module, "LARGEST_JSON", 1000)
    with pytest.raises(UserError, match="read whole"):
        list(read_rows(written(tmp_path / "a.json", "[" + " " * 5000 + "]")))
    with pytest.raises(UserError, match="holds one list of more"):
        list(read_rows(written(tmp_path / "a.json.gz", gzip.compress(b"[" + b" \n" * 5000 + b"]"))))


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    source = written(tmp_path / "a.jsonl", LINES * 20_000)
    tracemalloc.start()
    assert sum(1 for _ in read_rows(source)) == 40_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_paths_are_those_of_the_study_file_and_keys_know_only_contents(tmp_path: Path) -> None:
    class Said(BaseModel):
        file: DataFile

    class Outer(BaseModel):
        inner: Said

    keys = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        written(tmp_path / name / "a.jsonl", LINES)
        with relative_to(tmp_path / name):
            found = Outer.model_validate({"inner": {"file": "a.jsonl"}})
        assert found.inner.file == str(tmp_path / name / "a.jsonl")
        keys.append(found.model_dump(mode="json", context=CONTENTS))
    assert keys[0] == keys[1]
    written(tmp_path / "two" / "a.jsonl", LINES + LINES)
    assert found.model_dump(mode="json", context=CONTENTS) != keys[0]
    assert Said(file="a.jsonl").file == str(Path.cwd() / "a.jsonl")


def test_an_encoding_that_is_none_is_refused() -> None:
    with pytest.raises(ValidationError, match="try latin-1"):
        RowSource(file="a.csv", encoding="latin1984")


# --- cells ---

SOURCE = RowSource(file="a.jsonl")


def test_cells_lead_into_nested_objects() -> None:
    row = Row(
        3,
        {
            "data": {"turns": [{"text": " hi \r"}]},
            "a.b": "flat",
            "none": None,
            "empty": "",
            "n": 7,
            "nan": float("nan"),
        },
    )
    assert text_of(SOURCE, row, "data.turns.0.text") == "hi"
    assert text_of(SOURCE, row, "a.b") == "flat"
    assert text_of(SOURCE, row, "n") == "7"
    assert [cell(row, name) for name in ("none", "empty", "nan", "data.turns.5", "data.x.y")] == [None] * 5
    assert texts_of(SOURCE, row, "none") == ()
    assert texts_of(SOURCE, Row(1, {"a": ["x ", "", "y"]}), "a") == ("x", "y")


TEXTS = ["Rome", "It's so", 'He said "it is" ', "a, b]"]


@pytest.mark.parametrize(
    "said", [json.dumps(TEXTS), str(TEXTS), str(TEXTS).replace("', ", "'\n "), f"  {TEXTS!r}"[:-1] + ", ] "]
)
def test_a_list_of_texts_that_a_table_holds_as_text_is_one(said: str) -> None:
    """pandas and numpy write lists so; the whole cell was one text."""
    row = Row(1, {"a": said})
    assert texts_of(SOURCE, row, "a", lists_as_text=True) == tuple(text.strip() for text in TEXTS)
    assert texts_of(SOURCE, row, "a") == (said.strip(),), "a file that knows lists would have written one"


@pytest.mark.parametrize("said", ["[12, -15, 1.5]", "[12 -15\n 1.5]", "['12', -15, \"1.5\"]"])
def test_a_list_of_numbers_that_a_table_holds_as_text_is_one(said: str) -> None:
    assert texts_of(SOURCE, Row(1, {"a": said}), "a", lists_as_text=True) == ("12", "-15", "1.5")


@pytest.mark.parametrize(
    "said",
    [
        "[Rome]",
        "[1, x]",
        "[007 1]",
        "[true]",
        "['a'] and ['b']",
        "['a', 'b'",
        "[]",
        r"['\N{x}']",
        "['a''b']",
        "[" * 5000,
    ],
)
def test_a_text_with_brackets_is_a_text(said: str) -> None:
    assert texts_of(SOURCE, Row(1, {"a": said}), "a", lists_as_text=True) == (said,)


CHAT = [{"role": "user", "content": "It's 5?"}, {"role": "assistant", "content": 'So "is" it.'}]


@pytest.mark.parametrize("said", [json.dumps(CHAT), str(CHAT), CHAT])
def test_a_chat_that_a_table_holds_as_text_is_one(said: Any) -> None:
    """Its brackets were taken as the words of one turn."""
    assert messages_of(SOURCE, Row(1, {"chat": said}), "chat") == (("user", "It's 5?"), ("assistant", 'So "is" it.'))


@pytest.mark.parametrize("said", [str(CHAT)[:-9], "[{'role': 'user'}\n {'role': 'x'}]", "[{'role': f(1)}]"])
def test_a_chat_as_text_that_cannot_be_read_is_refused(said: str) -> None:
    with pytest.raises(UserError, match=r"a\.jsonl, line 3: the column 'chat' holds a chat as text"):
        messages_of(SOURCE, Row(3, {"chat": said}), "chat")


@pytest.mark.parametrize(
    ("values", "what", "remedy"),
    [
        ({"id": 1, "questions": "y"}, "no column 'question' (did you mean 'questions'?)", "{question: questions}"),
        ({"id": 1, "instruction": "y"}, "its columns: id, instruction", "columns: {question: NAME}"),
        ({"question": "  "}, "'question' is empty", "leave the row out"),
        ({"question": {"text": "x"}}, "holds an object", "{question: question.text}"),
        ({"question": ["x"]}, "holds a list", "{question: question.0}"),
    ],
)
def test_a_column_without_a_text_is_said(values: dict[str, Any], what: str, remedy: str) -> None:
    with pytest.raises(UserError) as error:
        text_of(SOURCE, Row(9, values), "question")
    assert error.value.what.startswith("a.jsonl, line 9: ")
    assert what in error.value.what
    assert remedy in error.value.remedy


def test_a_column_that_is_there_under_its_own_name_is_advised() -> None:
    """The remedy named the first column of the file."""
    with pytest.raises(UserError) as error:
        text_of(SOURCE, Row(1, {"id": 1, "answer": "y"}), "nope", "answer")
    assert error.value.remedy == "say which column it is: `columns: {answer: answer}`"


def test_chats_are_read_as_the_field_writes_them() -> None:
    openai = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "a"}]},
    ]
    sharegpt = [{"from": "system", "value": "Be brief."}, {"from": "human", "value": "a "}]
    for chat in (openai, sharegpt):
        assert messages_of(SOURCE, Row(1, {"m": chat}), "m") == (("system", "Be brief."), ("user", "a"))
    assert messages_of(SOURCE, Row(1, {"input": "a"}), "input") == (("user", "a"),)
    for turn, what in (
        ({"role": "tool", "content": "x"}, "turn 1 of 'm' has the role 'tool'"),
        ({"role": "user", "content": [{"type": "image"}]}, "holds no text"),
        ("x", "turn 1 of 'm' is no message"),
    ):
        with pytest.raises(UserError, match=what):
            messages_of(SOURCE, Row(1, {"m": [turn]}), "m")
