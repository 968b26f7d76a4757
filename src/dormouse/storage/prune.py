"""Delete from a store what is no longer wanted, and nothing that a study still needs."""

from __future__ import annotations

import os
import re
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dormouse.errors import UserError
from dormouse.registry import nearest
from dormouse.storage.overview import LEFT, Item, Sum, by_kind, items
from dormouse.storage.references import Reference, forget, references, references_locked, runs
from dormouse.store import Store

KINDS = ("base", "honest", "organism", "brought", "taught", "located", "treatment", "measure", "findings", "results")


@dataclass(frozen=True)
class Filters:
    """What is to be deleted: that which fits all that is given."""

    studies: tuple[str, ...] = ()
    """Names or run folders."""
    kinds: tuple[str, ...] = ()
    older: float | None = None
    """Seconds since it was made."""
    unused: bool = False

    @property
    def whole_studies(self) -> bool:
        """Whether nothing but studies is named: these are given up as a whole."""
        return bool(self.studies) and not self.kinds and self.older is None

    def fit(self, item: Item, named: Sequence[Reference], studies: Sequence[Reference], now: float) -> bool:
        """Whether an item fits all that is given.

        Args:
            named: the studies that `studies` names; the next argument are all.
            now: seconds since 1970.
        """
        return (
            (not self.studies or bool(item.of(named)))
            and (not self.kinds or item.kind in self.kinds)
            and (self.older is None or now - item.made > self.older)
            and (not self.unused or not item.needed(studies))
        )


@dataclass(frozen=True)
class Pruned:
    """What a prune deleted, or would delete."""

    dry: bool
    deleted: Sequence[Item] = ()
    needed: Mapping[Item, Sequence[Reference]] = field(default_factory=dict)
    """What fits the filters and stays, as these studies need it."""
    busy: Sequence[Item] = ()
    """What fits and stays, as a process makes it at this moment."""
    forgotten: Sequence[Reference] = ()
    """Studies that were given up."""

    def to_json(self) -> dict[str, object]:
        """What `dormouse store prune --json` prints."""

        def plain(item: Item) -> dict[str, object]:
            """An item without its place."""
            return {"kind": item.kind, "key": item.key, "bytes": item.bytes}

        return {
            "dry_run": self.dry,
            "bytes": sum(item.bytes for item in self.deleted),
            "deleted": [plain(item) for item in self.deleted],
            "needed": [{**plain(item), "by": [str(s.out) for s in by]} for item, by in self.needed.items()],
            "busy": [plain(item) for item in self.busy],
            "studies": [{"name": study.name, "out": str(study.out)} for study in self.forgotten],
        }

    def lines(self) -> list[str]:
        """What a person reads."""
        would = "would delete" if self.dry else "deleted"
        said = [f"{would} {Sum.of(self.deleted)}" if self.deleted else "nothing to delete"]
        for kind, one in by_kind(self.deleted).items():
            said.append(f"  {kind:10} {one.entries:6} {one.size:>9}")
        for study in self.forgotten:
            said.append(f"{'would forget' if self.dry else 'forgot'} the study {study.name} in {study.out}")
        if self.needed:
            names = sorted({study.name for by in self.needed.values() for study in by})
            said.append(f"kept {Sum.of(self.needed)}: needed by {', '.join(names)}")
        if self.busy:
            said.append(f"kept {Sum.of(self.busy)}: being made at this moment")
        return said


def age(text: str) -> float:
    """The seconds in `30` (days), `30d` or `12h`.

    Raises:
        UserError: it is no such span.
    """
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)([dh]?)", text.strip(), re.ASCII)
    if not found:
        raise UserError(f"'{text}' is no age", "say --older 30 for thirty days, or --older 12h for twelve hours")
    return float(found[1]) * (3600 if found[2] == "h" else 86_400)


def prune(store: Store, filters: Filters, dry: bool = False) -> Pruned:
    """Delete what fits all filters, but nothing that a study needs which is not named, and nothing that is being made.

    A study that is named, with no other filter, is given up: it runs again from what is left. May be killed at any
    moment: what was not deleted by then is whole, and the next prune does the rest.

    Args:
        dry: delete nothing, and say what would be.

    Raises:
        UserError: nothing says what to delete; a study or a kind is not there; a study that is named runs now; the
            store cannot be read or written.
    """
    if filters == Filters():
        raise UserError(
            "nothing says what to prune",
            "give --study, --kind, --older or --unused; --dry-run shows what would go, `dormouse store` what is there",
        )
    if filters.unused and filters.studies:
        raise UserError("what a study uses is never unused", "give either --study or --unused")
    found = items(store)
    try:
        if dry:
            return _choose(store, filters, found)
        try:
            with references_locked(store):
                return _delete(store, _choose(store, filters, found))
        finally:  # where this prune is refused, too: a study that one before it forgot is not there to be named again
            store.empty_trash()
    except OSError as error:
        at = f" ({error.filename})" if error.filename else ""
        raise UserError(
            f"the store in {store.root} cannot be pruned: {error.strerror or error}{at}",
            "fix the permissions there, or free a little space, and prune again: what is left in the store is whole",
        ) from error


def _choose(store: Store, filters: Filters, found: Sequence[Item]) -> Pruned:
    """What would be deleted."""
    studies = references(store)
    named = _named(studies, filters.studies)
    for study in named:
        if runs(study):
            raise UserError(f"the study {study.name} in {study.out} runs now", "wait for its end, or stop it")
    kinds = sorted({*KINDS, *LEFT, *(item.kind for item in found)})
    for kind in filters.kinds:
        if kind not in kinds:
            raise UserError(f"there is no kind '{kind}' in the store", nearest(kind, kinds))
    now = time.time()
    fit = [item for item in found if filters.fit(item, named, studies, now)]
    others = [study for study in studies if study not in named]
    needed = {item: by for item in fit if (by := item.needed(others))}
    free = [item for item in fit if item not in needed]
    busy = [item for item in free if store.busy(item.key)]
    deleted = [item for item in free if item not in busy]
    return Pruned(True, deleted, needed, busy, named if filters.whole_studies else ())


def _named(studies: Sequence[Reference], words: Iterable[str]) -> list[Reference]:
    """The studies that are meant: by the run folder, or else by the name, which several may have."""
    found: list[Reference] = []
    for word in words:
        at = Path(os.path.realpath(word))
        meant = [study for study in studies if study.out == at] or [study for study in studies if study.name == word]
        if not meant:
            raise UserError(f"no study '{word}' uses this store", nearest(word, [study.name for study in studies]))
        found += [study for study in meant if study not in found]
    return found


def _delete(store: Store, chosen: Pruned) -> Pruned:
    """Take out of the store what was chosen. Studies are forgotten last: a prune that is killed can be given again.

    Raises:
        UserError: some of the studies could not be forgotten.
    """
    deleted: list[Item] = []
    busy = list(chosen.busy)
    for item in chosen.deleted:
        (deleted if store.discard(item.path, item.key) else busy).append(item)
    kept: list[str] = []
    why = ""
    for study in chosen.forgotten:
        try:
            forget(study)
        except OSError as error:
            kept.append(str(study.out))
            why = f"{error.strerror or error} ({error.filename or study.file})"
    if kept:
        again = " ".join(f"--study {shlex.quote(out)}" for out in kept)
        what = f"deleted {Sum.of(deleted)}; not forgotten: {', '.join(kept)}: {why}"
        raise UserError(what, f"fix the permissions in {store.root}, and prune again with {again}")
    return Pruned(False, deleted, chosen.needed, busy, chosen.forgotten)
