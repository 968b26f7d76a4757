"""What lies in a store, and for which studies; and whether it is still what was written."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dormouse.entry import ENTRIES, MANIFEST, FileFault, examine, expose
from dormouse.errors import UserError
from dormouse.execution.estimate import megabytes
from dormouse.files import remedy_of
from dormouse.storage.references import Reference, references, runs
from dormouse.store import DAMAGED, RESUME, SCRATCH, TRASH, Store

LEFT = {SCRATCH: "half-made", RESUME: "half-made: to go on from", DAMAGED: "damaged: set aside"}
"""What lies in a store beside entries. It is counted, and pruned, as if each of these were a kind."""
NEEDED_BY_NONE = (SCRATCH, DAMAGED)
KEY = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True)
class Item:
    """An entry, or something that was left in the store (LEFT)."""

    kind: str
    key: str
    path: Path
    bytes: int
    made: float
    """When: seconds since 1970."""

    def of(self, studies: Iterable[Reference]) -> list[Reference]:
        """Those of the studies whose stage this is, or was to become."""
        return [study for study in studies if self.key in study.needs]

    def needed(self, studies: Iterable[Reference]) -> list[Reference]:
        """Those of the studies that would have to make it again."""
        return [] if self.kind in NEEDED_BY_NONE else self.of(studies)


def items(store: Store) -> list[Item]:
    """All that lies in a store.

    Raises:
        UserError: there is no store.
    """
    found = [item for kind in _kinds(store) for item in _inside(kind, kind.name)]
    return found + [item for room in LEFT for item in _inside(store.root / room, room)]


def _kinds(store: Store) -> list[Path]:
    """The folders of entries, one a kind.

    Raises:
        UserError: there is no store.
    """
    if not (store.root / ENTRIES).is_dir():
        raise UserError(
            f"there is no store in {store.root}", "`dormouse run` makes it; name another with --store or DORMOUSE_HOME"
        )
    return sorted(path for path in (store.root / ENTRIES).iterdir() if path.is_dir())


def _inside(folder: Path, kind: str) -> list[Item]:
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        key = path.name.rpartition(".")[0] if kind in NEEDED_BY_NONE else path.name
        if key and not key.startswith(".") and (kind in LEFT or _is_ours(path)):
            with suppress(FileNotFoundError):  # finished, or deleted, just now
                found.append(Item(kind, key, path, _bytes(path), path.lstat().st_mtime))
    return found


def _is_ours(path: Path) -> bool:
    """Whether something among the entries is one, or the rest of one: a link may lead to anything of the user's."""
    if not path.is_symlink() and not path.parent.is_symlink():
        return True
    return KEY.fullmatch(path.name) is not None and os.path.isfile(path / MANIFEST)


def _bytes(path: Path) -> int:
    """The size of a file, or of all files in a folder. Links count for themselves."""
    files = [Path(folder, name) for folder, _, names in os.walk(path) for name in names] or [path]
    total = 0
    for file in files:
        with suppress(OSError):
            total += file.lstat().st_size if not file.is_dir() else 0
    return total


@dataclass(frozen=True)
class Sum:
    """How many things, and their size together."""

    entries: int = 0
    bytes: int = 0

    @staticmethod
    def of(found: Iterable[Item]) -> Sum:
        """How many they are, and their bytes."""
        sizes = [item.bytes for item in found]
        return Sum(len(sizes), sum(sizes))

    @property
    def size(self) -> str:
        """`812 B`, `3.4 kB`, `12 MB`."""
        if self.bytes < 1e5:
            return f"{self.bytes} B" if self.bytes < 1000 else f"{self.bytes / 1e3:.1f} kB"
        return megabytes(self.bytes)

    def __str__(self) -> str:
        return f"{self.entries} {'entry' if self.entries == 1 else 'entries'}, {self.size}"


@dataclass(frozen=True)
class Use:
    """What a study uses of a store."""

    name: str
    out: Path
    gone: bool
    """Whether its run folder is not there (any more, or just now)."""
    running: bool
    planned: int
    """Entries that it needs, there or not."""
    used: Sum
    alone: Sum
    """Of these, what no other study needs."""


@dataclass(frozen=True)
class Overview:
    """A store: what lies there by study and by kind, and what nobody needs."""

    root: Path
    whole: Sum
    studies: Sequence[Use]
    unused: Sum
    """Entries that no study needs."""
    kinds: Mapping[str, Sum]
    left: Mapping[str, Sum]
    """Half-made and damaged things."""
    being_made: int
    """Of the half-made, those that a process is about."""

    def lines(self) -> list[str]:
        """What a person reads."""
        wide = max([12, *(len(use.name) for use in self.studies)])
        said = [f"{self.root}: {self.whole}", "", f"{'study':{wide}} {'entries':>8} {'of':>6} {'size':>9} {'alone':>9}"]
        for use in self.studies:
            state = " (runs now)" if use.running else " (not there)" if use.gone else ""
            sums = f"{use.used.entries:8} {use.planned:6} {use.used.size:>9} {use.alone.size:>9}"
            said.append(f"{use.name:{wide}} {sums}  {use.out}{state}")
        said += [f"{'(unused)':{wide}} {self.unused.entries:8} {'':6} {self.unused.size:>9}", ""]
        said.append(f"{'kind':{wide}} {'entries':>8} {'':6} {'size':>9}")
        remarks = {**LEFT, TRASH: "pruned: the next prune deletes it"}
        if self.being_made:
            remarks[SCRATCH] += f", {self.being_made} being made now"
        for kind, one in {**self.kinds, **self.left}.items():
            said.append(f"{kind:{wide}} {one.entries:8} {'':6} {one.size:>9}  {remarks.get(kind, '')}".rstrip())
        return said


def overview(store: Store) -> Overview:
    """What lies in a store, and for whom. Writes nothing.

    Raises:
        UserError: there is no store, or it is not known what a study needs.
    """
    found, studies = items(store), references(store)
    entries = [item for item in found if item.kind not in LEFT]
    uses = []
    for study in studies:
        used = [item for item in entries if item.needed([study])]
        alone = [item for item in used if len(item.needed(studies)) == 1]
        state = (not os.path.isdir(study.out), runs(study), len(study.needs))
        uses.append(Use(study.name, study.out, *state, Sum.of(used), Sum.of(alone)))
    trash = [Item(TRASH, path.name, path, _bytes(path), 0.0) for path in (store.root / TRASH).glob("*")]
    return Overview(
        store.root,
        Sum.of(entries),
        uses,
        Sum.of(item for item in entries if not item.needed(studies)),
        by_kind(entries),
        by_kind([item for item in found if item.kind in LEFT] + trash),
        sum(item.kind == SCRATCH and store.busy(item.key) for item in found),
    )


def by_kind(found: Iterable[Item]) -> dict[str, Sum]:
    """Kind -> the sum of its items."""
    kinds: dict[str, list[Item]] = {}
    for item in found:
        kinds.setdefault(item.kind, []).append(item)
    return {kind: Sum.of(of) for kind, of in kinds.items()}


# --- check ---


@dataclass(frozen=True)
class Hurt:
    """An entry of which a file is not as it was written, or cannot be read."""

    kind: str
    key: str
    faults: tuple[FileFault, ...]


@dataclass(frozen=True)
class StoreCheck:
    """What became of the entries of a store since they were written."""

    whole: Sum
    damaged: Sequence[Hurt]
    unreadable: Sequence[Hurt]
    """Entries without a damage that could be seen, where not all could be read."""

    def lines(self) -> list[str]:
        """What a person reads."""
        said = []
        for state, found in (("damaged", self.damaged), ("unreadable", self.unreadable)):
            said += [f"{state}: {Path(hurt.kind, hurt.key, f.file)}: {f.why}" for hurt in found for f in hurt.faults]
        counts = [f"{len(self.damaged)} damaged", *([f"{len(self.unreadable)} unreadable"] if self.unreadable else [])]
        said.append(f"checked {self.whole}: {', '.join(counts)}")
        if self.damaged:
            said.append("  -> a run that needs a damaged entry sets it aside and makes it again")
        numbers = [fault.refused for hurt in self.unreadable for fault in hurt.faults]
        said += dict.fromkeys(f"  -> {remedy_of(one, 'remove it: a run makes it again')}" for one in numbers)
        return said


def check(store: Store) -> StoreCheck:
    """Read every file of every entry and compare it with its checksum. Writes nothing; what is damaged is as new as if
    it had just been written, so that a run sees it.

    Raises:
        UserError: there is no store.
    """
    entries: list[Item] = []
    hurt: list[Hurt] = []
    for kind in _kinds(store):
        try:
            entries += (inside := _inside(kind, kind.name))
        except OSError as error:
            hurt.append(Hurt(kind.name, "", (FileFault.of("", error),)))
        else:
            hurt += [Hurt(item.kind, item.key, faults) for item in inside if (faults := _faults(item))]
    unreadable = [one for one in hurt if all(fault.unreadable for fault in one.faults)]
    return StoreCheck(Sum.of(entries), [one for one in hurt if one not in unreadable], unreadable)


def _faults(item: Item) -> tuple[FileFault, ...]:
    """What is wrong with an entry. What seems damaged is looked at once more: others may have taken it away, or made it
    again, meanwhile."""
    _, faults = examine(item.path, item.kind, item.key)
    if not all(fault.unreadable for fault in faults):
        faults = examine(item.path, item.kind, item.key)[1] if os.path.lexists(item.path) else []
    expose(item.path, faults)
    return tuple(faults)
