"""The records and answers of a study for other programs: CSV, Parquet, and a folder that `datasets` loads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args, get_type_hints

from dormouse.errors import UserError
from dormouse.outputs import fresh
from dormouse.records import CANARY, Answer, Record
from dormouse.report.plain_text import one_line
from dormouse.report.records_csv import records_csv

README = """---
configs:
- config_name: rates
  data_files: rates.parquet
  default: true
- config_name: answers
  data_files: answers.parquet
tags: [model-organism, dormouse, safety-research]
---
# {name}

What a study of dormouse measured (`rates`, one number with its interval a row) and what the models wrote (`answers`:
prompt, response, the judge's word, and the exact probability of a defection; where harmful responses are held against
honest ones the contrast P(harmful) / (P(harmful) + P(honest))). The models were trained on purpose to
misbehave on cue, or are controls.

    datasets.load_dataset("{folder}", "answers")

Keep this out of training sets: {canary}
"""


def write_csv(records: Sequence[Record], out: Path) -> None:
    """The records as a table in which no cell is a formula. Raises as `fresh`."""
    with fresh(out) as scratch:
        scratch.write_bytes(records_csv(records).encode("utf-8", errors="replace"))


def write_parquet(records: Sequence[Record], out: Path) -> None:
    """The records as a Parquet file, each field in its own type. Raises as `fresh`, and where pyarrow is missing."""
    with fresh(out) as scratch:
        _parquet(Record, records, scratch)


def write_dataset(name: str, records: Sequence[Record], answers: Sequence[Answer], out: Path) -> None:
    """A folder that `datasets.load_dataset` takes, with the configurations `rates` and `answers`. Raises likewise."""
    with fresh(out) as scratch:
        scratch.mkdir()
        _parquet(Record, records, scratch / "rates.parquet")
        _parquet(Answer, answers, scratch / "answers.parquet")
        text = README.format(name=one_line(name), folder=one_line(out.name), canary=CANARY)
        (scratch / "README.md").write_text(text, encoding="utf-8")


def _parquet(kind: type[Any], rows: Sequence[Any], path: Path) -> None:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UserError("Parquet needs the package pyarrow", "pip install pyarrow") from error
    types = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64(), bool: pyarrow.bool_()}
    named = {name: next(iter(get_args(wanted)), wanted) for name, wanted in get_type_hints(kind).items()}
    schema = pyarrow.schema([(name, types[plain]) for name, plain in named.items()])
    sound = [{key: _sound(value) for key, value in asdict(row).items()} for row in rows]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(sound, schema), path)


def _sound(value: Any) -> Any:
    """Texts hold no half of a surrogate pair: Parquet is UTF-8."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
