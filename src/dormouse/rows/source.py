"""Where rows come from: a file beside the study, or a dataset of the Hugging Face hub."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializationInfo,
    field_validator,
    model_validator,
)

from dormouse.errors import UserError
from dormouse.files import sha256
from dormouse.registry import nearest, shortened

FORMATS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
CONTENTS = {"files": "contents"}
"""The context of `model_dump` in which a file is said by what is in it, not by where it lies: for keys of the store."""
_FOLDER: ContextVar[Path | None] = ContextVar("folder", default=None)


@contextmanager
def relative_to(folder: Path) -> Iterator[None]:
    """Relative paths that a study names are of this folder (that of the study file) while it is read."""
    before = _FOLDER.set(folder.resolve())
    try:
        yield
    finally:
        _FOLDER.reset(before)


def _placed(path: str) -> str:
    if "\0" in path:
        raise ValueError("a path cannot hold the sign NUL")
    try:
        return str((_FOLDER.get() or Path.cwd()) / Path(path).expanduser())
    except RuntimeError:
        raise ValueError(f"there is no user {shortened(Path(path).parts[0][1:])} with a home folder") from None


def beside(name: str) -> str:
    """A path as the study file sees it, if something lies there; else the name as it is: a path from here, or an id of
    the hub."""
    folder = _FOLDER.get()
    try:
        there = folder / Path(name).expanduser() if folder else None
        return str(there) if there is not None and there.exists() else name
    except (OSError, RuntimeError, ValueError):  # too long for a path, of an unknown user, with a null byte in it
        return name


def reading_folder() -> Path | None:
    """The folder of the study file that is being read; None where none is."""
    return _FOLDER.get()


def lies_elsewhere(name: str) -> bool:
    """Whether a name that `beside` left as it is means something in the working directory alone."""
    folder = _FOLDER.get()
    try:
        path = Path(name).expanduser()
        return folder is not None and not path.is_absolute() and path.exists() and not (folder / path).exists()
    except (OSError, RuntimeError, ValueError):
        return False


def _said(path: str, info: SerializationInfo) -> str:
    if isinstance(info.context, list):
        info.context.append(path)
    return f"contents {checksum(path)}" if info.context is CONTENTS else path


DataFile = Annotated[str, Field(min_length=1), AfterValidator(_placed), PlainSerializer(_said)]
"""The annotation of a key that names a file or a folder: relative to the study file, kept as an absolute path."""


def refuse_missing(model: BaseModel) -> None:
    """Refuse a study, or a part of it, that names files which cannot be read.

    Raises:
        UserError: one is not there, may not be read, or may never end.
    """
    files: list[str] = []
    model.model_dump(mode="json", context=files)
    for file in dict.fromkeys(files):
        if os.path.exists(file) and not (os.path.isfile(file) or os.path.isdir(file)):
            what = f"{file} is no file but a pipe, a device or a socket"
            raise UserError(what, "write its rows into a file: they are read more than once")
        checksum(file)


class RowSource(BaseModel):
    """A file of rows, or a dataset of the Hugging Face hub."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: DataFile | None = None
    """A file of rows: `.jsonl`, `.csv`, `.tsv`, `.json` (each also `.gz`), `.parquet`, or a folder of `datasets`."""
    dataset: str | None = Field(None, pattern=r"^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?$")
    """In place of a file, a dataset of the Hugging Face hub, by name."""
    revision: str | None = Field(None, min_length=1)
    """Which version of the dataset: a commit, a tag or a branch."""
    subset: str | None = Field(None, min_length=1)
    """Which configuration of the dataset, where it has several."""
    part: str = Field("train", min_length=1)
    """Which split of the dataset is read."""
    encoding: str | None = None
    """How a text file is encoded; by default UTF-8, or UTF-16 and UTF-32 where it begins with their mark."""

    @field_validator("encoding")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None:
            try:
                "".encode(name)
                codecs.lookup(name)
            except (LookupError, ValueError):
                raise ValueError("no such encoding; try latin-1, cp1252, utf-16, shift_jis, gb18030") from None
        return name

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.file and self.dataset:
            raise ValueError("name a file or a dataset, not both")
        if self.dataset and not self.revision:
            raise ValueError("say which version of the dataset: `revision: COMMIT` (or main, which may change)")
        return self

    @property
    def is_given(self) -> bool:
        """Whether it names anything."""
        return bool(self.file or self.dataset)

    @property
    def name(self) -> str:
        """What messages call it: the name of the file, or of the dataset."""
        return Path(self.file).name if self.file else str(self.dataset)

    @property
    def unit(self) -> str:
        """What its places count: lines of a text, else rows; both from 1."""
        lines = self.is_table or (self.file and format_of(self.file) in (".jsonl", ".ndjson"))
        return "line" if lines else "row"

    @property
    def is_table(self) -> bool:
        """Whether its cells are texts and nothing else, so that a list is one too."""
        return self.file is not None and format_of(self.file) in (".csv", ".tsv")

    def fault(self, number: int, what: str, remedy: str) -> UserError:
        """What is to be raised about one row: `prompts.jsonl, line 17: ...`."""
        return UserError(f"{self.name}, {self.unit} {number}: {what}", remedy)

    def checksum(self) -> str:
        """The content of a file as a SHA-256; of a dataset its name and revision.

        Raises:
            UserError: there is no such file.
        """
        if self.file:
            return checksum(self.file)
        return f"{self.dataset}@{self.revision or 'main'}/{self.subset or ''}/{self.part}"


def format_of(file: str) -> str:
    """The ending that says how a file is read: `.csv` of `a.csv.gz`; "" of a folder."""
    path = Path(file)
    return (path.with_suffix("") if path.suffix == ".gz" else path).suffix.lower()


def checksum(file: str) -> str:
    """The SHA-256 of a file; of a folder that of the checksums in it.

    Raises:
        UserError: it is not there, or cannot be read.
    """
    try:
        path = Path(file)
        every = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
        each = [_checksum(str(one), one.stat().st_mtime_ns, one.stat().st_size) for one in every]
    except OSError as error:
        raise missing(file, error) from error
    if len(each) == 1 and not path.is_dir():
        return each[0]
    import hashlib

    named = "".join(f"{one.relative_to(path)} {found}\n" for one, found in zip(every, each, strict=True))
    return hashlib.sha256(named.encode()).hexdigest()


@lru_cache(maxsize=4096)
def _checksum(file: str, changed: int, size: int) -> str:
    return sha256(Path(file))


def missing(file: str, error: OSError) -> UserError:
    """What is said of a file that cannot be read, with the file of its folder that has the nearest name."""
    path = Path(file)
    if not isinstance(error, FileNotFoundError):
        return UserError(f"{path} cannot be read: {error.strerror or error}", "name a file that you may read")
    try:
        there = sorted(os.listdir(path.parent))[:200]
    except OSError:
        return UserError(f"there is no {path}", "paths in a study are relative to the study file")
    hint = nearest(path.name, there) if there else "that folder is empty"
    hint = hint if hint.startswith("did") else f"there: {', '.join(there[:8])}"
    return UserError(f"there is no {path} ({hint})", "paths in a study are relative to the study file")
