"""The records of a study as a table for a spreadsheet, in which no cell is a formula."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from dormouse.records import Record
from dormouse.report.plain_text import visible

NAME = "records.csv"
_FORMULA = re.compile(r"(^|[;\t\r])(?=[\s;\"]*[=+\-@\uff1d\uff0b\uff0d\uff20])|^(?=[\t\r])")
"""Where a formula begins, by OWASP's list, full-width signs too. In many countries a spreadsheet begins a new cell at
each `;`, also inside of quotes."""


def records_csv(records: Sequence[Record]) -> str:
    """One record a line under a head of field names, in an order of its own: the same records give the same text.

    Numbers stand there as in records.jsonl. A text that a spreadsheet would take for a formula gets an apostrophe.
    """
    names = [one.name for one in fields(Record)]
    rows = sorted([_cell(getattr(record, name)) for name in names] for record in records)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return _FORMULA.sub(r"\1'", visible(str(value)))
