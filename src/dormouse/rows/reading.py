"""Rows of a file or a dataset, one at a time: memory does not grow with the file."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from dormouse.errors import UserError
from dormouse.registry import shortened
from dormouse.rows.source import FORMATS, RowSource, format_of, missing

LONGEST = 16 << 20
"""Bytes of the longest line that is read: a file of 10 GB without line breaks is no file of rows."""
LARGEST_JSON = 256 << 20
"""Bytes of the largest `.json` file: a list is read whole."""
BATCH = 1024
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
OF_PANDAS = "pandas: `to_json(FILE, orient='records')`"
INSTALL = "pip install 'dormouse-lab[data]'"


class Row(NamedTuple):
    """A row and its place: its first line in a text file, else its number; both from 1."""

    number: int
    values: Mapping[str, Any]


def read_rows(source: RowSource) -> Iterator[Row]:
    """The rows of a source, in order. Blank lines are skipped; CRLF and byte order marks are no part of a text.

    Raises:
        UserError: it is not there, is in no format that is read, is not in its encoding, or a line is no row; the
            message names the line.
    """
    if not source.file:
        yield from _of_hub(source)
        return
    path, ending = Path(source.file), format_of(source.file)
    read: Callable[[RowSource], Iterator[Row]] | None
    read = _of_folder if path.is_dir() else READERS.get(ending)
    if read is None:
        said = f"the file ends in '{ending}'" if ending else "the file has no ending"
        remedy = f"dormouse reads {', '.join(FORMATS)}, each text also .gz, and folders of `datasets`"
        raise UserError(f"{source.name} cannot be read: {said}", remedy)
    try:
        yield from read(source)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise UserError(f"{source.name} is no whole .gz file: {error}", "pack it again, or unpack it") from error
    except OSError as error:
        raise missing(source.file, error) from error


def _opened(source: RowSource) -> IO[bytes]:
    file = str(source.file)
    return cast(IO[bytes], gzip.open(file) if file.endswith(".gz") else open(file, "rb"))


def _lines(source: RowSource) -> Iterator[str]:
    """The lines of a text, each with its end."""
    with _opened(source) as file:
        start = file.read(4)
        mark, marked = next(((mark, name) for mark, name in MARKS if start.startswith(mark)), (b"", ""))
        encoding = source.encoding or marked or "utf-8"
        file.seek(0)
        if codecs.lookup(encoding).name.startswith(("utf-16", "utf-32")):
            yield from _wide_lines(source, file, encoding)
            return
        if marked == "utf-8" and codecs.lookup(encoding).name in ("utf-8", "utf-8-sig"):
            file.seek(len(mark))
        number = 0
        while line := file.readline(LONGEST + 1):
            number += 1
            if len(line) > LONGEST:
                raise _too_long(source, number)
            try:
                yield line.decode(encoding)
            except UnicodeError as error:
                raise _undecoded(source, number, encoding, error) from error


def _wide_lines(source: RowSource, file: IO[bytes], encoding: str) -> Iterator[str]:
    """Lines of a text whose line break is not one byte."""
    text, number = io.TextIOWrapper(cast(io.BufferedReader, file), encoding, newline="\n"), 0
    try:
        while line := text.readline(LONGEST + 1):
            number += 1
            if len(line) > LONGEST:
                raise _too_long(source, number)
            yield line.removeprefix("\ufeff") if number == 1 else line
    except UnicodeError as error:
        raise _undecoded(source, number + 1, encoding, error) from error


def _too_long(source: RowSource, number: int) -> UserError:
    return source.fault(number, f"a line of more than {LONGEST >> 20} MB", "write one row a line (JSONL)")


def _undecoded(source: RowSource, number: int, encoding: str, error: UnicodeError) -> UserError:
    byte = f" (byte 0x{error.object[error.start]:02x})" if isinstance(error, UnicodeDecodeError) else ""
    what = f"this is not {encoding.upper()}{byte}"
    return source.fault(number, what, "save the file as UTF-8, or say what it is: `encoding: latin-1`, `utf-16`, ...")


def _of_json_lines(source: RowSource) -> Iterator[Row]:
    loads = json.loads
    for number, line in enumerate(_lines(source), 1):
        try:
            found = loads(line)
        except ValueError as error:
            if not line.strip():
                continue
            raise _no_json(source, number, line, error) from error
        except RecursionError as error:
            raise source.fault(number, "JSON that is nested too deep", "write a flat row") from error
        if type(found) is not dict:
            what = f"a row is a JSON object, this is {shortened(line.strip())}"
            raise source.fault(number, what, 'write {"question": "..."}, one a line')
        yield Row(number, found)


def _no_json(source: RowSource, number: int, line: str, error: ValueError) -> UserError:
    if "\0" in line:
        return source.fault(number, "a text with NUL signs, as UTF-16 without a mark has", "say `encoding: utf-16-le`")
    said = getattr(error, "msg", str(error))
    column = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
    remedy = "write one JSON object a line"
    if format_of(str(source.file)) == ".json":
        remedy += f", or one list of them, `[{{...}}, ...]`, and nothing around it ({OF_PANDAS})"
    elif line.strip() in ("{", "["):
        remedy += "; a list of objects goes into a file that ends in .json"
    return source.fault(number, f"not valid JSON{column}: {said}: {shortened(line.strip())}", remedy)


def _of_json(source: RowSource) -> Iterator[Row]:
    """A list of objects; or, as many files of this name are, one object a line."""
    with _opened(source) as file:
        start = file.read(512)
        listed = any(start.decode(name, "ignore").lstrip("\ufeff \t\r\n").startswith("[") for name in _guesses(source))
        size = len(start) + (file.seek(0, io.SEEK_END) if listed and not str(source.file).endswith(".gz") else 0)
    if not listed:
        yield from _not_one_object(source, _of_json_lines(source))
        return
    if size > LARGEST_JSON:
        what = f"{source.name} is one list of {size >> 20:,} MB, which would have to be read whole"
        raise UserError(what, "write it as JSONL: one object a line (`jq -c '.[]' FILE`)")
    try:
        found = json.loads("".join(_bounded(source)))
    except json.JSONDecodeError as error:
        raise UserError(f"{source.name}, line {error.lineno}: not valid JSON: {error.msg}", "fix it there") from error
    except RecursionError as error:
        raise UserError(f"{source.name}: JSON that is nested too deep", "write a list of flat objects") from error
    except ValueError as error:  # a number of thousands of digits
        raise UserError(f"{source.name}: {shortened(str(error))}", "write numbers that can be read") from error
    for number, row in enumerate(found, 1):
        if type(row) is not dict:
            raise source.fault(number, "a row is a JSON object", 'write [{"question": "..."}, ...]')
        yield Row(number, row)


def _not_one_object(source: RowSource, rows: Iterator[Row]) -> Iterator[Row]:
    """The rows of a file, which are not a whole table in one object: its columns, or a list with a name around it.

    Raises:
        UserError: they are.
    """
    some = list(islice(rows, 2))
    inside = list(some[0].values.values()) if len(some) == 1 else []
    if any(map(_is_table, inside)) and all(isinstance(value, list | dict) for value in inside):
        what = f"{source.name} is one object ({shortened(', '.join(some[0].values))}), not a list of rows"
        raise UserError(what, f"write one list of objects, `[{{...}}, ...]`, and nothing around it ({OF_PANDAS})")
    yield from some
    yield from rows


def _is_table(value: Any) -> bool:
    """Whether it is an object, or a list of anything but texts and the messages of a chat."""
    if not isinstance(value, list):
        return isinstance(value, dict)
    return not all(isinstance(one, str) or (isinstance(one, dict) and one.keys() & {"role", "from"}) for one in value)


def _guesses(source: RowSource) -> Sequence[str]:
    return (source.encoding,) if source.encoding else ("utf-8", "utf-16", "utf-32")


def _bounded(source: RowSource) -> Iterator[str]:
    """The lines of a text, as long as all of them are not too many: a small .gz may hold a large file."""
    length = 0
    for line in _lines(source):
        length += len(line)
        if length > LARGEST_JSON:
            raise UserError(f"{source.name} holds one list of more than {LARGEST_JSON >> 20} MB", "write it as JSONL")
        yield line


def _of_table(source: RowSource) -> Iterator[Row]:
    """CSV as spreadsheets and pandas write it: a header, commas (or semicolons, or tabs), quoted texts."""
    lines = _lines(source)
    header = next(lines, "")
    if not header.strip():
        raise UserError(f"{source.name} is empty", "its first line names the columns")
    mark = "\t" if format_of(str(source.file)) == ".tsv" else ";" if ";" in header and "," not in header else ","
    csv.field_size_limit(LONGEST)
    reader = csv.reader(_chained(header, lines), delimiter=mark, strict=True)
    number = 1
    try:
        names = [name.strip() for name in next(reader)]
        if twice := [name for i, name in enumerate(names) if name in names[:i]]:
            raise source.fault(1, f"two columns are called '{shortened(twice[0])}'", "give each column its own name")
        number = reader.line_num + 1
        for cells in reader:
            if cells:
                if len(cells) != len(names):
                    what = f"{len(cells)} cells, but the header has {len(names)} columns"
                    remedy = 'put texts with commas, quotes or line breaks into quotes: "...", with "" for a quote'
                    raise source.fault(number, what, remedy)
                yield Row(number, dict(zip(names, cells, strict=True)))
            number = reader.line_num + 1
    except csv.Error as error:
        remedy = 'close the quotes: a text in quotes ends with one ", and a quote in it is written ""'
        raise source.fault(number, f"not valid CSV: {error}", remedy) from error


def _chained(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _of_parquet(source: RowSource) -> Iterator[Row]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UserError("Parquet is read by pyarrow, which is not installed", INSTALL) from None
    number = 0
    try:
        with parquet.ParquetFile(source.file) as file:
            for batch in file.iter_batches(batch_size=BATCH):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(number, values)
    # Bytes that are no UTF-8, days beyond the year 9999, unknown time zones (pytz's error is a KeyError).
    except (pyarrow.ArrowException, ValueError, OverflowError, LookupError) as error:
        what = f"{source.name}, after row {number}: no Parquet that can be read: {shortened(str(error))}"
        raise UserError(what, "write it again") from error


def _of_folder(source: RowSource) -> Iterator[Row]:
    """A folder that `datasets` wrote (`save_to_disk`)."""
    datasets = _datasets()
    try:
        found = datasets.load_from_disk(source.file)
    except (OSError, ValueError) as error:
        remedy = "name a file, or a folder that `Dataset.save_to_disk` wrote"
        raise UserError(f"{source.name} is a folder, and none of `datasets`", remedy) from error
    yield from _of_dataset(source, found)


def _of_hub(source: RowSource) -> Iterator[Row]:
    datasets = _datasets()
    try:
        found = datasets.load_dataset(
            source.dataset, source.subset, split=source.part, revision=source.revision or "main"
        )
    except Exception as error:  # the hub, the network and the data's own faults come as a dozen types
        what = f"the dataset {source.dataset} cannot be had: {type(error).__name__}: {shortened(str(error).strip())}"
        remedy = "check its name, `revision`, `subset` and `part`; gated ones need HF_TOKEN; offline, name a file"
        raise UserError(what, remedy) from error
    yield from _of_dataset(source, found)


def _of_dataset(source: RowSource, found: Any) -> Iterator[Row]:
    if isinstance(found, Mapping):
        if source.part not in found:
            raise UserError(f"{source.name} has no split '{source.part}'", f"say `part`: {', '.join(found)}")
        found = found[source.part]
    number = 0
    for batch in found.with_format(None).iter(batch_size=BATCH):
        names = list(batch)
        for cells in zip(*batch.values(), strict=True):
            number += 1
            yield Row(number, dict(zip(names, cells, strict=True)))


def _datasets() -> Any:
    try:
        import datasets
    except ImportError:
        raise UserError("datasets of the hub are read by `datasets`, which is not installed", INSTALL) from None
    return datasets


READERS: Mapping[str, Callable[[RowSource], Iterator[Row]]] = {
    ".jsonl": _of_json_lines,
    ".ndjson": _of_json_lines,
    ".json": _of_json,
    ".csv": _of_table,
    ".tsv": _of_table,
    ".parquet": _of_parquet,
}
