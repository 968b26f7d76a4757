"""Which studies use a store, and what each of them needs.

A study is a run folder here. Every run puts down which entries its study needs; nothing that a study needs is deleted
unless that study is named (`storage/overview.py`).

    store/studies/HASH.json        a run folder (HASH is that of its path): the study's name, and the keys that it needs
    store/studies/HASH.lock        held, shared, by every process that runs the study
    store/studies/lock             held while such a file is written, and while it is chosen what to delete
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from dormouse import locks
from dormouse.errors import UserError
from dormouse.files import fsync
from dormouse.json_files import digest, json_text, read_json
from dormouse.store import STUDIES, Store, StoreError, unusable


@dataclass(frozen=True)
class Reference:
    """A run folder, and the keys of all entries that its study needs."""

    name: str
    out: Path
    needs: frozenset[str]
    file: Path
    """What says so."""


@dataclass(frozen=True)
class ReferenceFile:
    """What stands in such a file. `time` is when the study last began (seconds since 1970), `needs` are keys, `form` is
    a hash that two forms of a study do not share."""

    name: str
    out: Path
    time: int
    needs: tuple[str, ...]
    form: str = ""


@contextmanager
def in_use(store: Store, out: Path, name: str, needs: Collection[str], form: str = "") -> Iterator[None]:
    """Put down that the study in a run folder needs these keys. As long as this lasts, the study cannot be pruned.

    Args:
        form: the same for every part of a study that finds out on the way what it needs (every look at a sequential
            one): what was put down under the same form, now or in an earlier run, stays needed. By default a hash of
            the keys: what an earlier form needed is not needed any more.

    A store that may only be read is left as it is: nobody can delete from it with the same permissions.

    Raises:
        StoreError: the store takes nothing; or it was deleted or moved meanwhile, which has a hundred other errors.
    """
    out = Path(os.path.realpath(out))
    keys = tuple(sorted(needs))
    said = ReferenceFile(name, out, round(time.time()), keys, form or digest(keys))
    path = store.root / STUDIES / f"{digest(str(out))}.json"
    written = False
    with ExitStack() as held:
        try:
            with references_locked(store):
                said = _with_others(path, said)
                file = held.enter_context(locks.opened(path.with_suffix(".lock")))
                locks.flock(file, locks.LOCK_SH)
                scratch = path.with_suffix(".part")
                scratch.write_text(json_text(said))
                fsync(scratch)
                scratch.replace(path)
                fsync(path.parent)
                written = True
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
                raise unusable(store.root, error) from error
        try:
            yield
        except Exception as error:
            if not written or path.exists():
                raise
            what = f"the store in {store.root} was taken away while the study ran"
            raise StoreError(what, "put it back, and give the command again: what is not in it is done anew") from error


def _with_others(path: Path, said: ReferenceFile) -> ReferenceFile:
    """What to put down beside what the same form of the study has put down, and those who run it now. Several processes
    may run one study into one folder; not two forms of it, of which each would write a part.

    Raises:
        UserError: another form of the study is being run into the folder.
    """
    running = runs(Reference(said.name, said.out, frozenset(), path))
    try:
        there = read_json(path, ReferenceFile)
    except FileNotFoundError:
        return said
    except UserError:
        if running:
            raise
        return said
    if there.form == said.form:
        return replace(said, needs=tuple(sorted({*there.needs, *said.needs})))
    if running:
        raise UserError(
            f"another form of '{said.name}' is being run into {said.out}",
            "wait for it, or name another folder with --out: what both need is done once all the same",
        )
    return said


@contextmanager
def references_locked(store: Store) -> Iterator[None]:
    """Meanwhile no study begins, and nobody else prunes."""
    (store.root / STUDIES).mkdir(parents=True, exist_ok=True)
    with locks.opened(store.root / STUDIES / "lock") as file:
        locks.flock(file, locks.LOCK_EX)
        yield


def references(store: Store) -> list[Reference]:
    """The studies that use a store, by name.

    Raises:
        UserError: one of the files that say so cannot be read. What its study needs is not known then.
    """
    found = []
    folder = store.root / STUDIES
    for path in (path for path in (folder.iterdir() if folder.is_dir() else ()) if path.suffix == ".json"):
        try:
            said = read_json(path, ReferenceFile)
            found.append(Reference(said.name, said.out, frozenset(said.needs), path))
        except FileNotFoundError:  # its study was pruned just now
            continue
        except UserError as error:
            raise UserError(
                f"it is not known what a study needs: {error.what}",
                "fix its permissions, or delete the file and run the study again: nothing is computed again",
            ) from error
    return sorted(found, key=lambda one: (one.name, str(one.out)))


def runs(one: Reference) -> bool:
    """Whether a process runs a study."""
    return bool(locks.is_held(one.file.with_suffix(".lock")))


def forget(one: Reference) -> None:
    """Give up a study that nobody runs; under `references_locked`."""
    one.file.unlink(missing_ok=True)
    with suppress(OSError):  # nobody holds it
        one.file.with_suffix(".lock").unlink()
