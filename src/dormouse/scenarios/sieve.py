"""Of the rows of a file those that a study uses, in three splits that share nothing. Holds no more than it may need."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dormouse.registry import shortened
from dormouse.scenarios.duplicates import SeenTexts, hashes_of, shared_shingles
from dormouse.scenarios.task_rows import Task
from dormouse.scenarios.tasks import SPLITS, Question

SHARES = {"train": 0.60, "safety": 0.15, "test": 0.25}
"""How rows without a split of their own are shared out, by a hash of their text."""
ALIKE, TWICE = "nearly the same as one of another split", "with two truths"
LOOKED_AT = 100
"""Tasks of a split by which it is known what most of them share."""


@dataclass(frozen=True)
class Bank:
    """Whose tasks are wanted.

    Attributes:
        name: what messages call it; "" where any task will do.
        labels: the prompts that every task is to have beside its plain one, in the order of their names.
        label: which of these a row is: "" for a plain one, None for neither.
        twin: the column by which prompts belong together; "" where any may stand beside any.
        columns: the columns that it reads.
        by_text: whether the words of a prompt say its label, so that none can have two.
    """

    name: str = ""
    labels: tuple[str, ...] = ()
    label: Callable[[Question], str | None] = lambda question: ""
    twin: str = ""
    columns: tuple[str, ...] = ()
    by_text: bool = False

    @property
    def looks_ahead(self) -> bool:
        """Whether what becomes of a row depends on all others: on its twin, or on its prompt with another label."""
        return bool(self.twin) or (bool(self.labels) and not self.by_text)


def _by_share(by_hash: int) -> str:
    at = by_hash / 2.0**64
    for split, share in SHARES.items():
        at -= share
        if at < 0:
            return split
    return "test"


def _place(bank: Bank, task: Task) -> tuple[int, str]:
    """What orders a task in a bank, and its split: twins, whose ids are the same as they stand, have the same ones."""
    order, by_hash = task.order, task.by_hash
    if bank.twin:
        order, by_hash = hashes_of("\n".join(task.question.column(bank.twin)))
    return order, task.split or _by_share(by_hash)


def _prompt(question: Question) -> int:
    return hashes_of(question.key)[0]


@dataclass
class _Lowest:
    """The tasks with the lowest numbers, each number once."""

    capacity: int
    held: dict[int, Question] = field(default_factory=dict)
    bar: int = 1 << 64

    def add(self, order: int, question: Question) -> bool:
        """Whether it was new, as far as is known."""
        if order >= self.bar:
            return True
        if order in self.held:
            return False
        self.held[order] = question
        if len(self.held) > 2 * self.capacity:
            kept = sorted(self.held)[: self.capacity]
            self.held = {one: self.held[one] for one in kept}
            self.bar = kept[-1] + 1
        return True

    def all(self) -> list[tuple[int, Question]]:
        """In the order of their numbers."""
        return sorted(self.held.items(), key=lambda item: item[0])[: self.capacity]


class Sieve:
    """Keeps of every split of every bank the rows that will be used, and some to spare."""

    def __init__(self, banks: Sequence[Bank], capacity: Mapping[str, int]) -> None:
        self.banks = banks
        self.dropped: Counter[str] = Counter()
        self.sides: Counter[tuple[str, str]] = Counter()
        """Rows by bank and label: on how many a policy has its say, and how many are plain."""
        self.notes: dict[str, str] = {}
        self._capacity = capacity
        self._seen: defaultdict[tuple[str, str, str], tuple[array[int], array[int]]] = defaultdict(
            lambda: (array("Q"), array("Q"))
        )
        """Of banks that look ahead, by split and label: of each row what joins it to others, and the hash of its
        prompt; 16 bytes."""
        self._joined: dict[tuple[str, str], set[int]] = {}
        """Of twins the lowest that have a row of every label."""
        self._two_truths: dict[str, set[int]] = {}
        """Prompts that stand under two labels of a bank."""
        self._kept = {
            (bank.name, split, label): _Lowest(n)
            for bank in banks
            for split, n in capacity.items()
            for label in ("", *bank.labels)
        }

    def see(self, task: Task) -> None:
        """Before any is kept, for banks that look ahead: which twins there are, and which prompts under which label."""
        for bank in self.banks:
            if bank.looks_ahead and (label := bank.label(task.question)) is not None:
                order, split = _place(bank, task)
                orders, prompts = self._seen[bank.name, split, label]
                orders.append(order)
                prompts.append(_prompt(task.question))

    def all_seen(self) -> None:
        """What is not to be kept is known: of a file in which few rows can be used the others would crowd these out."""
        for bank in (bank for bank in self.banks if bank.looks_ahead):
            labels = ("", *bank.labels)
            seen = {
                (split, label): tuple(np.array(column, np.uint64) for column in self._seen[bank.name, split, label])
                for split in self._capacity
                for label in labels
            }
            each = [np.unique(np.concatenate([seen[split, label][1] for split in self._capacity])) for label in labels]
            prompts, times = np.unique(np.concatenate(each), return_counts=True)
            twice = prompts[times > 1]
            self._two_truths[bank.name] = set(twice.tolist())
            for split in self._capacity if bank.twin else ():
                sides = [seen[split, label] for label in labels]
                self._join(bank, split, [orders[np.isin(keys, twice, invert=True)] for orders, keys in sides])
        self._seen.clear()

    def _join(self, bank: Bank, split: str, sides: Sequence[NDArray[np.uint64]]) -> None:
        """Of the ids of a split, side by side, those on all sides are twins."""
        joined = reduce(np.intersect1d, sides)
        alone = sum(int(np.isin(ids, joined, invert=True).sum()) for ids in sides)
        self.dropped[f"without a twin in '{bank.twin}'"] += alone
        self._joined[bank.name, split] = set(joined[: self._capacity[split]].tolist())

    def add(self, task: Task) -> None:
        """Keep a task where it may be used."""
        for bank in self.banks:
            label = bank.label(task.question) if bank.labels else ""
            if label is None:
                self.dropped[f"on no side of {bank.name}"] += 1
                continue
            self.sides[bank.name, label] += 1
            if bank.looks_ahead and _prompt(task.question) in self._two_truths[bank.name]:
                self.dropped[TWICE] += 1
                self.notes.setdefault("truths", f"the first with two truths: {shortened(task.question.text)}")
                continue
            order, split = _place(bank, task)
            if bank.twin and order not in self._joined[bank.name, split]:
                continue
            kept = self._kept[bank.name, split, label]
            if not kept.add(order, task.question) and bank is self.banks[0]:
                self.dropped["repeats"] += 1

    def tasks(self, bank: Bank, wanted: Mapping[str, int]) -> dict[str, tuple[Question, ...]]:
        """The tasks of a bank by split, none of them nearly like one of an earlier split."""
        whole = {split: list(self._whole(bank, split)) for split in SPLITS}
        some = [question for tasks in whole.values() for question in tasks[:LOOKED_AT]]
        seen = SeenTexts(shared_shingles([one.text for question in some for one in question.every]))
        found = {}
        for split in SPLITS:
            chosen: list[Question] = []
            taken: set[str] = set()
            for question in whole[split]:
                if len(chosen) == wanted[split]:
                    break
                texts = {one.text for one in question.every}
                if texts & taken:
                    self.dropped["with the same last turn as another"] += 1
                elif any(seen.marks_of(text) - {split} for text in texts):
                    self.dropped[ALIKE] += 1
                else:
                    for text in texts:
                        seen.add(text, split)
                    taken |= texts
                    chosen.append(replace(question, split=split))
            found[split] = tuple(chosen)
        return found

    def _whole(self, bank: Bank, split: str) -> Iterator[Question]:
        """Plain tasks, each with one prompt of every label: its twin, else the one at its place."""
        plain, *labelled = (self._kept[bank.name, split, label].all() for label in ("", *bank.labels))
        if bank.twin:
            each = [dict(kept) for kept in labelled]
            rows: Iterator[tuple[Any, ...]] = (
                (question, *(kept[order] for kept in each))
                for order, question in plain
                if all(order in kept for kept in each)
            )
        else:
            rows = zip((q for _, q in plain), *([q for _, q in kept] for kept in labelled), strict=False)
        for question, *variants in rows:
            pairs = tuple(zip(bank.labels, variants, strict=True))
            yield replace(question, variants=question.variants + pairs) if pairs else question
