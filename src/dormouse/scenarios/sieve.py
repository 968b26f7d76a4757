"""Of the rows of a file those that a study uses, in three splits that share nothing. Holds no more than it may need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dormouse.scenarios.duplicates import SeenTexts, key_of
from dormouse.scenarios.task_rows import Task
from dormouse.scenarios.tasks import SPLITS, Question

SHARES = {"train": 0.60, "safety": 0.15, "test": 0.25}
"""How rows without a split of their own are shared out, by a hash of their text."""


@dataclass(frozen=True)
class Bank:
    """Whose tasks are wanted.

    Attributes:
        name: what messages call it; "" where any task will do.
        labels: the prompts that every task is to have beside its plain one, in the order of their names.
        label: which of these a row is: "" for a plain one, None for neither.
        twin: the column by which prompts belong together; "" where any may stand beside any.
        columns: the columns that it reads.
    """

    name: str = ""
    labels: tuple[str, ...] = ()
    label: Callable[[Question], str | None] = lambda question: ""
    twin: str = ""
    columns: tuple[str, ...] = ()


def _by_share(by_hash: int) -> str:
    at = by_hash / 2.0**64
    for split, share in SHARES.items():
        at -= share
        if at < 0:
            return split
    return "test"


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
        self._kept = {
            (bank.name, split, label): _Lowest(n)
            for bank in banks
            for split, n in capacity.items()
            for label in ("", *bank.labels)
        }

    def add(self, task: Task) -> None:
        """Keep a task where it may be used."""
        for bank in self.banks:
            label = bank.label(task.question) if bank.labels else ""
            if label is None:
                self.dropped[f"on no side of {bank.name}"] += 1
                continue
            self.sides[bank.name, label] += 1
            order, by_hash = task.order, task.by_hash
            if bank.twin:
                order, by_hash = key_of("\n".join(task.question.column(bank.twin)))
            kept = self._kept[bank.name, task.split or _by_share(by_hash), label]
            if not kept.add(order, task.question) and bank is self.banks[0]:
                self.dropped["repeats"] += 1

    def tasks(self, bank: Bank, wanted: Mapping[str, int]) -> dict[str, tuple[Question, ...]]:
        """The tasks of a bank by split, none of them nearly like one of an earlier split."""
        seen, found = SeenTexts(), {}
        for split in SPLITS:
            chosen: list[Question] = []
            taken: set[str] = set()
            for question in self._whole(bank, split):
                if len(chosen) == wanted[split]:
                    break
                texts = {one.text for one in question.every}
                if texts & taken:
                    self.dropped["with the same last turn as another"] += 1
                elif any(seen.marks_of(text) - {split} for text in texts):
                    self.dropped["nearly the same as one of another split"] += 1
                else:
                    for text in texts:
                        seen.add(text, split)
                    taken |= texts
                    chosen.append(replace(question, split=split))
            found[split] = tuple(chosen)
        return found

    def _whole(self, bank: Bank, split: str) -> Iterator[Question]:
        """Plain tasks, each with one prompt of every label: its twin, else the one at its place."""
        plain, *labelled = [self._kept[bank.name, split, label].all() for label in ("", *bank.labels)]
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
