"""A content-addressed store: the hash of what a stage is made from names the folder that it left behind.

A stage is written to a scratch folder, hashed, fsynced and then renamed into place, so that an entry is there whole or
not at all. One process builds an entry at a time (a lock that the kernel drops when its holder dies); others wait and
then read. An entry whose files do not fit their checksums is set aside and built again.

    store/entries/KIND/KEY/        the files of the stage, with manifest.json
    store/locks/KEY                held while the entry is being made
    store/scratch/KEY.PID/         half-made entries; never read
    store/resume/KEY/              what a stage needs to go on after it was killed; deleted with the last of its work
    store/damaged/                 what was set aside
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dormouse.errors import DormouseWarning, UserError

MANIFEST = "manifest.json"
RESUME = "resume"
"""A folder that every stage finds in its own, and that no entry has. What a stage puts there it finds there again when
its process was killed: resume points of trainings. It is deleted when the entry is finished."""


def digest(value: Any) -> str:
    """A short hash of plain JSON data (32 hex digits), the same on every machine."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def sha256(path: Path) -> str:
    """The checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Entry:
    """A finished stage: its folder and what its manifest says."""

    folder: Path
    manifest: Mapping[str, Any]

    def __truediv__(self, name: str) -> Path:
        return self.folder / name


Build = Callable[[Path], None]


class StoreError(UserError):
    """The folder of the store cannot be used: no stage can be kept."""


class Store:
    """The store in a folder, made when something is first put there. Any number of processes may use it at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._verified: dict[str, Entry] = {}

    def place(self, kind: str, key: str) -> Path:
        """Where an entry lies, whether it is there yet or not."""
        return self.root / "entries" / kind / key

    def find(self, kind: str, key: str) -> Entry | None:
        """The entry, if it is there and whole."""
        if key in self._verified:
            return self._verified[key]
        folder = self.place(kind, key)
        try:
            manifest = json.loads((folder / MANIFEST).read_text())
            said = manifest.pop("digest")
            expected = {name: (at["size"], at["sha256"]) for name, at in manifest["files"].items()}
            actual = {name: ((folder / name).stat().st_size, sha256(folder / name)) for name in expected}
            whole = (kind, key, digest(manifest)) == (manifest["kind"], manifest["key"], said) and expected == actual
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        if whole:
            self._verified[key] = Entry(folder, manifest)
        return self._verified.get(key)

    def _set_aside(self, folder: Path) -> None:
        """Under the lock: a moment earlier another process may have put a whole entry there."""
        try:
            folder.rename(self.root / "damaged" / f"{folder.name}.{time.time_ns()}")
        except OSError as error:
            raise _cannot_write(self.root, error) from error
        warnings.warn(
            f"the store entry {folder} is damaged (its checksum fails); it was set aside and is made again",
            DormouseWarning,
            stacklevel=3,
        )

    def get(self, kind: str, key: str, about: Mapping[str, Any], build: Build) -> tuple[Entry, bool]:
        """The entry, built if it is not there: (entry, whether it was built now). A damaged one is set aside, with a
        warning.

        Args:
            about: what the entry was made from, for the reader of its manifest.
            build: fills the folder that it is given, where it finds an empty folder `resume/`, or what it left in it
                before it was killed. May raise: then nothing is kept, but for `resume/` if it was no UserError.

        Raises:
            UserError: the folder of the store cannot be written to, or the disk is full.
        """
        if entry := self.find(kind, key):
            return entry, False
        with self._lock(key):
            if entry := self.find(kind, key):
                return entry, False
            folder = self.place(kind, key)
            if folder.is_dir():
                self._set_aside(folder)
            return self._build(kind, key, about, build), True

    def _build(self, kind: str, key: str, about: Mapping[str, Any], build: Build) -> Entry:
        scratch, resume = self.root / "scratch" / f"{key}.{os.getpid()}", self.root / RESUME / key
        started = time.time()
        try:
            for left in (self.root / "scratch").glob(f"{key}.*"):  # of dead builders: the lock is ours
                shutil.rmtree(left)
            self._forget_finished()
            scratch.mkdir()
            resume.mkdir(exist_ok=True)
            (scratch / RESUME).symlink_to(Path("..") / ".." / RESUME / key)
            build(scratch)
            (scratch / RESUME).unlink(missing_ok=True)
            manifest = {
                "kind": kind,
                "key": key,
                "about": about,
                "seconds": round(time.time() - started, 3),
                "files": {
                    str(path.relative_to(scratch)): {"size": path.stat().st_size, "sha256": sha256(path)}
                    for path in sorted(scratch.rglob("*"))
                    if path.is_file()
                },
            }
            manifest = json.loads(json.dumps(manifest))  # as it will be read
            (scratch / MANIFEST).write_text(json.dumps({**manifest, "digest": digest(manifest)}, indent=1))
            for path in [*scratch.rglob("*"), scratch]:
                _fsync(path)
            final = self.place(kind, key)
            final.parent.mkdir(exist_ok=True)
            scratch.rename(final)
            _fsync(final.parent)
            shutil.rmtree(resume, ignore_errors=True)
        except UserError:
            shutil.rmtree(resume, ignore_errors=True)  # the same would happen again
            raise
        except Exception as error:
            refused = _refused(error)
            if refused is None:
                raise
            raise _cannot_write(self.root, refused) from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return Entry(final, manifest)

    def _forget_finished(self) -> None:
        """Delete what was left for stages to go on from whose entries are there by now."""
        for left in (self.root / RESUME).iterdir():
            if any(self.root.glob(f"entries/*/{left.name}")):
                shutil.rmtree(left, ignore_errors=True)

    def busy(self, key: str) -> bool:
        """Whether a process is building the entry at this moment."""
        try:
            with (self.root / "locks" / key).open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    @contextmanager
    def _lock(self, key: str) -> Iterator[None]:
        try:
            for name in ("entries", "locks", "scratch", RESUME, "damaged"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
            file = (self.root / "locks" / key).open("w")
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            raise _cannot_write(self.root, error) from error
        with file:
            yield


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _refused(error: Exception) -> OSError | None:
    """What the operating system refused, if that is what an error is about. Libraries in Rust (safetensors, tokenizers)
    have errors of their own for it, and give its number in words.
    """
    if isinstance(error, OSError):
        return error if error.errno else None
    number = re.search(r"\(os error (\d+)\)", str(error))
    return OSError(int(number[1]), os.strerror(int(number[1]))) if number else None


def _cannot_write(root: Path, error: OSError) -> StoreError:
    return StoreError(
        f"the store in {root} cannot be used: {error.strerror or error}",
        "free some space or mend the permissions there, or set DORMOUSE_HOME to another folder. "
        "What was finished is kept: the same command goes on from there",
    )
