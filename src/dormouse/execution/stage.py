"""A stage: the unit of work that the store keeps and an executor does."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from dormouse.entry import MANIFEST
from dormouse.records import ComputedIn
from dormouse.store import Store

Tick = Callable[[float, str], None]
"""Is told which share of a stage is done, and what it is about."""
LIBRARIES = 0.6
"""GB that a process needs before it holds a model."""


@dataclass(frozen=True)
class Stage:
    """A unit of work with a content address. `work(folder, tick)` fills the folder of its entry."""

    kind: str
    name: str
    key: str
    about: Mapping[str, object]
    parents: tuple[Stage, ...]
    work: Callable[[Path, Tick], None]
    memory: float = LIBRARIES
    """GB that it may need."""
    device: str = "auto"
    """Where it computes, as the study names it: `auto`, `cpu`, `cuda`, `cuda:1`."""
    computed_in: Callable[[], ComputedIn] | None = None
    """What that comes to in the process that does it; noted beside its work, and in no key."""

    def folder(self, store: Store) -> Path:
        """Where its entry lies in a store, or will lie."""
        return store.place(self.kind, self.key)

    def behind(self, kinds: Collection[str] = ()) -> dict[str, Stage]:
        """All that it stands on, by key, parents before children; with `kinds`, what it reaches by these alone."""
        found: dict[str, Stage] = {}

        def go(one: Stage) -> None:
            for parent in one.parents:
                if parent.key not in found and (not kinds or parent.kind in kinds):
                    go(parent)
                    found[parent.key] = parent

        go(self)
        return found

    def is_kept(self, store: Store) -> bool:
        """Whether a store has its entry, whole or not."""
        return (self.folder(store) / MANIFEST).is_file()
