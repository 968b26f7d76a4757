"""An entry of the store: a folder, what it says of itself, and whether it is still what was written."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dormouse.errors import UserError
from dormouse.files import NO_SUCH_FILE, sha256
from dormouse.json_files import Json, digest, json_text, plain, read_json

MANIFEST = "manifest.json"
ENTRIES = "entries"
"""The folder of a store in which its entries lie, by kind and key."""


@dataclass(frozen=True)
class FileSum:
    """The size of a file of an entry, in bytes, and its checksum."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What an entry says of itself: what it was made from, how many seconds that took, its files by name."""

    kind: str
    key: str
    about: Mapping[str, Json]
    seconds: float
    files: Mapping[str, FileSum]
    digest: str
    """Of all the rest."""

    @staticmethod
    def read(folder: Path) -> Manifest:
        """
        Raises:
            FileNotFoundError: there is no entry.
            UserError: it is no whole manifest.
        """
        return read_json(folder / MANIFEST, Manifest, "the next run makes the entry again")


@dataclass(frozen=True)
class Entry:
    """A finished stage: its folder and what its manifest says."""

    folder: Path
    manifest: Manifest

    def __truediv__(self, name: str) -> Path:
        return self.folder / name


@dataclass(frozen=True)
class FileFault:
    """What is wrong with a file of an entry."""

    file: str
    why: str
    refused: int = 0
    """The number of what the system said, where it does not let us read the file."""

    @property
    def unreadable(self) -> bool:
        """Whether nobody knows what is in the file."""
        return self.refused != 0

    @staticmethod
    def of(file: str, error: OSError) -> FileFault:
        """What a file or folder that the system does not give is: damaged, or unreadable."""
        if isinstance(error, FileNotFoundError):
            return FileFault(file, "is missing")
        number = error.errno or errno.EIO
        return FileFault(file, error.strerror or str(error), 0 if number in NO_SUCH_FILE else number)


def write_manifest(folder: Path, kind: str, key: str, about: Mapping[str, object], seconds: float) -> Manifest:
    """Seal a folder: from now on its files are those that are there, with their checksums."""
    files = {
        str(path.relative_to(folder)): {"size": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    said = plain({"kind": kind, "key": key, "about": about, "seconds": round(float(seconds), 3), "files": files})
    (folder / MANIFEST).write_text(json_text({**said, "digest": digest(said)}, indent=1))
    return Manifest.read(folder)


def examine(folder: Path, kind: str, key: str, quick: bool = False) -> tuple[Manifest | None, list[FileFault]]:
    """The manifest of an entry, and what is wrong with the entry: nothing, where every file fits its checksum.

    Args:
        quick: a file that nobody wrote to since the entry was sealed, by its time, is not read: of the weights of a
            large study that takes minutes. What a whole look found is `exposed` to it; a file that is younger and whole
            (a store that was copied without its times) gets the time of its entry, and is not read again.
    """
    try:
        about = (folder / MANIFEST).stat()
        if not stat.S_ISREG(about.st_mode):  # a pipe would be waited for
            return None, [FileFault(MANIFEST, "is no file")]
        manifest = Manifest.read(folder)
        said = plain(manifest)
        if digest({name: value for name, value in said.items() if name != "digest"}) != manifest.digest:
            return None, [FileFault(MANIFEST, "its checksum fails")]
        if (manifest.kind, manifest.key) != (kind, key):
            return None, [FileFault(MANIFEST, f"is that of {manifest.kind}/{manifest.key}")]
        sealed = about.st_mtime_ns if quick else 0
        found = [_fault(folder, name, at, sealed) for name, at in manifest.files.items()]
        found += [FileFault(name, "is not of this entry") for name in _files(folder) - {MANIFEST, *manifest.files}]
    except OSError as error:
        return None, [FileFault.of(MANIFEST, error)]
    except UserError as error:
        if isinstance(error.__cause__, OSError):
            return None, [FileFault.of(MANIFEST, error.__cause__)]
        return None, [FileFault(MANIFEST, "is no whole manifest")]
    return manifest, [fault for fault in found if fault]


def expose(folder: Path, faults: Iterable[FileFault]) -> None:
    """Have a quick look see what a whole one found: a file that an ill disk changed is as old as it was."""
    with suppress(OSError):
        sealed = (folder / MANIFEST).stat().st_mtime_ns
        for path in (folder / fault.file for fault in faults if not fault.unreadable and fault.file != MANIFEST):
            if path.is_file() and path.stat().st_mtime_ns <= sealed:
                young = max(time.time_ns(), sealed + 10**9)  # the clock may be behind the one that sealed it
                os.utime(path, ns=(young, young))


def entry_around(folder: Path) -> Path | None:
    """The entry that a folder lies in; None where it lies in none."""
    around = (folder, *folder.parents[:3])
    return next((one for one in around if one.parent.parent.name == ENTRIES and (one / MANIFEST).is_file()), None)


def _files(folder: Path) -> set[str]:
    """All that lies in a folder and is no folder itself, by relative path."""
    return {Path(above, name).relative_to(folder).as_posix() for above, _, names in os.walk(folder) for name in names}


def _fault(folder: Path, name: str, at: FileSum, sealed: int) -> FileFault | None:
    """What is wrong with a file; one that is older than `sealed` is not read."""
    try:
        there = (folder / name).stat()
        if not stat.S_ISREG(there.st_mode):
            return FileFault(name, "is no file")
        if there.st_size != at.size:
            return FileFault(name, f"has {there.st_size} bytes, not {at.size}")
        if there.st_mtime_ns <= sealed:
            return None
        if sha256(folder / name) != at.sha256:
            return FileFault(name, "its checksum fails")
        if sealed:
            with suppress(OSError):
                os.utime(folder / name, ns=(sealed, sealed))
        return None
    except OSError as error:
        return FileFault.of(name, error)
