"""A content-addressed store: the hash of what a stage is made from names the folder that it left behind.

A stage is written to a scratch folder, hashed, fsynced and then renamed into place, so that an entry is there whole or
not at all. One process builds an entry at a time (a lock that the kernel drops when its holder dies); others wait and
then read. An entry whose files do not fit their checksums is set aside and built again.

    store/entries/KIND/KEY/        the files of the stage, with manifest.json
    store/locks/KEY                held while the entry is being made
    store/scratch/KEY.PID/         half-made entries; never read
    store/resume/KEY/              what a stage needs to go on after it was killed; deleted with the last of its work
    store/damaged/                 what was set aside
    store/audit.jsonl              what was set aside, why, when and by whom: a line each
    store/trash/                   what was discarded and is being deleted
    store/studies/                 which study needs which entries (`storage/overview.py`)
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from dormouse import locks
from dormouse.entry import ENTRIES, Entry, examine, write_manifest
from dormouse.errors import DivergedError, UserError, refusal, utf8, warn
from dormouse.files import MAY_NOT, TAKES_NOTHING, fsync, remedy_of, settle
from dormouse.json_files import append_json_line

RESUME = "resume"
"""A folder that every stage finds in its own, and that no entry has. What a stage puts there it finds there again when
its process was killed: resume points of trainings. It is deleted when the entry is finished."""
LOCKS, SCRATCH, DAMAGED, TRASH, STUDIES = "locks", "scratch", "damaged", "trash", "studies"
ROOMS = (ENTRIES, LOCKS, SCRATCH, RESUME, DAMAGED, TRASH, STUDIES)
"""All that lies in a store."""
AUDIT = "audit.jsonl"

Build = Callable[[Path], None]


class StoreError(UserError):
    """No stage can be kept: the store cannot be used, or a model is not what the stages behind it take it for."""


class Store:
    """The store in a folder, made when something is first put there. Any number of processes may use it at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._verified: dict[str, Entry] = {}

    def place(self, kind: str, key: str) -> Path:
        """Where an entry lies, whether it is there yet or not."""
        return self.root / ENTRIES / kind / key

    def find(self, kind: str, key: str) -> Entry | None:
        """The entry, if it is there and whole."""
        if key in self._verified:
            return self._verified[key]
        folder = self.place(kind, key)
        manifest, faults = examine(folder, kind, key)
        if manifest and not faults:
            self._verified[key] = Entry(folder, manifest)
        return self._verified.get(key)

    def seems_whole(self, kind: str, key: str) -> bool:
        """Whether an entry is there, and nobody changed it since, as far as a quick look goes. One that cannot be read
        is not known to be damaged."""
        return all(fault.unreadable for fault in examine(self.place(kind, key), kind, key, quick=True)[1])

    def _set_aside(self, kind: str, key: str) -> None:
        """Under the lock: a moment earlier another process may have put a whole entry there. A line of AUDIT says so.

        Raises:
            UserError: the entry cannot be read, so that nobody knows whether it is damaged. It stays where it is.
        """
        folder = self.place(kind, key)
        _, faults = examine(folder, kind, key)
        if unreadable := [fault for fault in faults if fault.unreadable]:
            raise UserError(
                f"the store entry {folder} cannot be read: {unreadable[0].why} ({unreadable[0].file})",
                f"{remedy_of(unreadable[0].refused, 'remove that folder: it is made anew')}; "
                "or use a store of your own: --store",
            )
        moved = self.root / DAMAGED / f"{key}.{time.time_ns()}"
        why = utf8(", ".join(f"{fault.file}: {fault.why}" for fault in faults) or "nobody knows")
        with self._usable():
            folder.rename(moved)
            self._audit("set aside", kind=kind, key=key, why=why, to=moved.name)
        warn(f"the store entry {folder} is damaged ({why}); it was set aside and is made again", level=3)

    def _audit(self, what: str, **more: str) -> None:
        """Say in AUDIT what was done to something in the store: what, why, when and by whom."""
        said = {"time": round(time.time(), 3), "what": what, **more, "user": os.getuid(), "pid": os.getpid()}
        append_json_line(self.root / AUDIT, said)

    def get(self, kind: str, key: str, about: Mapping[str, object], build: Build) -> tuple[Entry, bool]:
        """The entry, built if it is not there: (entry, whether it was built now). A damaged one is set aside, with a
        warning.

        Args:
            about: what the entry was made from, for the reader of its manifest.
            build: fills the folder that it is given, where it finds an empty folder `resume/`, or what it left in it
                before it was killed. May raise: then nothing is kept but `resume/`, and that not on DivergedError.

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
                self._set_aside(kind, key)
            return self._build(kind, key, about, build), True

    def _build(self, kind: str, key: str, about: Mapping[str, object], build: Build) -> Entry:
        scratch, resume = self.root / SCRATCH / f"{key}.{os.getpid()}", self.root / RESUME / key
        started = time.monotonic()
        try:
            with self._usable():
                self._make_room(key, scratch, resume)
            self._fill(build, scratch)
            with self._usable():
                (scratch / RESUME).unlink(missing_ok=True)
                manifest = write_manifest(scratch, kind, key, about, time.monotonic() - started)
                final = self._put(scratch, kind, key)
            shutil.rmtree(resume, ignore_errors=True)
        except DivergedError:
            shutil.rmtree(resume, ignore_errors=True)
            raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return Entry(final, manifest)

    def _make_room(self, key: str, scratch: Path, resume: Path) -> None:
        """Under the lock, so that what others left of the entry is of dead builders."""
        for left in (self.root / SCRATCH).glob(f"{key}.*"):
            shutil.rmtree(left)
        self._forget_finished()
        scratch.mkdir()
        resume.mkdir(exist_ok=True)
        (scratch / RESUME).symlink_to(Path("..") / ".." / RESUME / key)

    def _fill(self, build: Build, scratch: Path) -> None:
        """Do a stage's own work, and tell a disk that is full from a file of the stage's own that cannot be read."""
        try:
            build(scratch)
        except UserError:
            raise
        except Exception as error:
            refused = refusal(error)
            if refused is None or not self._is_about_us(refused):
                raise
            raise unusable(self.root, refused) from error

    def _is_about_us(self, refused: OSError) -> bool:
        """Whether the store is what the operating system refused to somebody at work in it. Who writes is rarely told
        the name of the file."""
        if not isinstance(refused.filename, str | bytes | os.PathLike):
            return refused.errno in TAKES_NOTHING
        ours = Path(os.fsdecode(refused.filename)).resolve().is_relative_to(self.root.resolve())
        return ours and refused.errno in (*TAKES_NOTHING, *MAY_NOT)

    def _put(self, scratch: Path, kind: str, key: str) -> Path:
        """Have what was built reach the disk, and then its place."""
        for path in [*scratch.rglob("*"), scratch]:
            settle(path)
        final = self.place(kind, key)
        final.parent.mkdir(exist_ok=True)
        scratch.rename(final)
        fsync(final.parent)
        return final

    @contextmanager
    def _usable(self) -> Iterator[None]:
        """For the store's own work: what the operating system refuses there is refused to every stage."""
        try:
            yield
        except OSError as error:
            raise unusable(self.root, error) from error

    def was_cut_off(self, key: str) -> bool:
        """Whether a process was killed while it built the entry, and nobody has begun it again."""
        return any((self.root / SCRATCH).glob(f"{key}.*")) and not self.busy(key)

    def _forget_finished(self) -> None:
        """Delete what was left for stages to go on from whose entries are there by now."""
        for left in (self.root / RESUME).iterdir():
            if any(self.root.glob(f"{ENTRIES}/*/{left.name}")):
                shutil.rmtree(left, ignore_errors=True)

    def busy(self, key: str) -> bool:
        """Whether a process is building the entry at this moment."""
        return bool(locks.is_held(self.root / LOCKS / key, locks.LOCK_SH))

    def discard(self, path: Path, key: str) -> bool:
        """Take something of a key out of the store, unless a process builds that key: whether that was so. It is gone
        whole and at once; its space is free after `empty_trash`."""
        self._verified.pop(key, None)
        for name in (LOCKS, TRASH):
            (self.root / name).mkdir(exist_ok=True)
        with locks.opened(self.root / LOCKS / key) as file:
            try:
                locks.flock(file, locks.LOCK_EX | locks.LOCK_NB)
            except BlockingIOError:
                return False
            with suppress(FileNotFoundError):
                path.rename(self.root / TRASH / f"{path.name}.{time.time_ns()}")
        return True

    def empty_trash(self) -> None:
        """Delete what was discarded, also by a process that was killed before it came to this."""
        rooms = [*self.root.glob(f"{ENTRIES}/*"), *(self.root / name for name in (SCRATCH, RESUME, DAMAGED, TRASH))]
        for room in filter(Path.is_dir, rooms):
            fsync(room)  # else a power cut could bring back a part of what is deleted
        for left in self.root.glob(f"{TRASH}/*"):
            with suppress(FileNotFoundError):  # another empties it, too
                if left.is_dir() and not left.is_symlink():
                    shutil.rmtree(left)
                else:
                    left.unlink()

    @contextmanager
    def _lock(self, key: str) -> Iterator[None]:
        with self._usable():
            for name in (ENTRIES, LOCKS, SCRATCH, RESUME, DAMAGED, TRASH):  # the last for a prune on a full disk
                (self.root / name).mkdir(parents=True, exist_ok=True)
            file = locks.opened(self.root / LOCKS / key)
            locks.flock(file, locks.LOCK_EX)
        with file:
            yield


def unusable(root: Path, error: OSError) -> StoreError:
    """The error for a store that the operating system refuses, with what can be done."""
    if error.errno in locks.ABSENT:
        return StoreError(f"the file system of the store in {root} has no file locks", locks.REMEDY)
    return StoreError(
        f"the store in {root} cannot be used: {error.strerror or error}",
        "free some space or fix the permissions there, or set DORMOUSE_HOME to another folder. "
        "What was finished is kept: the same command goes on from there",
    )
