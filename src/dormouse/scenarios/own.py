"""A study's own tasks: rows of a file or a dataset as questions, in three splits that share nothing."""

from __future__ import annotations

import tempfile
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import IO

import numpy as np
from numpy.typing import NDArray

from dormouse.errors import UserError
from dormouse.records import TaskIntake
from dormouse.rows import Row, read_rows
from dormouse.scenarios.sieve import ALIKE, SHARES, TWICE, Bank, Sieve
from dormouse.scenarios.task_file import TaskFile
from dormouse.scenarios.task_rows import NAMES, Task, TaskReader
from dormouse.scenarios.tasks import Question

FEWEST = 4
"""Questions that a split needs."""
SPARE = 2
"""How many times as many rows are kept as are wanted: some fall out as near-duplicates."""
HELD = 250_000
"""Ids that are held in memory at a time."""
Fault = tuple[str, str]
"""What is wrong with a task, and what to do."""


@dataclass(frozen=True)
class OwnTasks:
    """The tasks of a study, by bank and split, and what became of the rows."""

    questions: Mapping[tuple[str, str], tuple[Question, ...]]
    intake: TaskIntake


def own_tasks(
    source: TaskFile,
    wanted: Mapping[str, int],
    banks: Sequence[Bank] = (Bank(),),
    fault: Callable[[Question], Fault | None] = lambda question: None,
    more: Callable[[Question], Question | None] = lambda question: question,
) -> OwnTasks:
    """The tasks of each bank: of each split the rows with the smallest hashes, as many as are wanted.

    Rows come one at a time, and no more are held than are wanted (twice). The split of a row is that of its column
    `split`, else a hash of its text; so texts that differ in capitals, blanks or punctuation are in one split, and are
    used once. Of rows that are nearly the same (see `duplicates`) those of a later split are left out.

    Args:
        wanted: split -> how many tasks.
        fault: what is wrong with a task, if anything, by those who will use it.
        more: a task with what another file says of it; None: it cannot be used.

    Raises:
        UserError: a row cannot be used (and `bad_rows` is `stop`), or a split has fewer than four tasks.
    """
    columns = tuple(dict.fromkeys(name for bank in banks for name in (*bank.columns, bank.twin) if name))
    sieve = Sieve(banks, {split: SPARE * n + 16 for split, n in wanted.items()})
    if any(bank.looks_ahead for bank in banks):
        _each(TaskReader(source, columns), _Log(source), fault, more, sieve.see)
        sieve.all_seen()
    log, reader = _Log(source), TaskReader(source, columns)
    _each(reader, log, fault, more, sieve.add)
    questions = {(bank.name, split): found for bank in banks for split, found in sieve.tasks(bank, wanted).items()}
    for bank in banks:
        _refuse_empty_side(source, bank, sieve)
    for (name, split), few in questions.items():
        if len(few) < FEWEST:
            raise _too_few(reader, name, split, len(few), log.rows, sieve.dropped)
        if len(few) < wanted[split]:
            log.notes[f"{name}/{split}"] = f"the {split} split has {len(few):,} such tasks of {wanted[split]:,} wanted"
    used = {f"{split} ({name})" if name else split: len(found) for (name, split), found in questions.items()}
    dropped = {why: n for why, n in (*log.dropped.items(), *sieve.dropped.items()) if n}
    notes = (*log.notes.values(), *sieve.notes.values())
    return OwnTasks(questions, TaskIntake(source.name, source.checksum(), log.rows, used, dropped, notes))


def _each(
    reader: TaskReader,
    log: _Log,
    fault: Callable[[Question], Fault | None],
    more: Callable[[Question], Question | None],
    use: Callable[[Task], None],
) -> None:
    """Use the tasks that can be used, in order; what becomes of the other rows is in the log.

    Raises:
        UserError: see `own_tasks`.
    """
    for row in read_rows(reader.source):
        log.rows += 1
        try:
            task = _task(reader, row, fault)
            log.ids.add(reader.id_of(row), row.number)
            whole = more(task.question)
            if whole is None:
                log.dropped["not in the file of pairs"] += 1
            else:
                use(replace(task, question=whole) if whole is not task.question else task)
        except UserError as error:
            log.refuse(error, row.number)
    log.close()
    reader.refuse_unseen(row)


def _task(reader: TaskReader, row: Row, fault: Callable[[Question], Fault | None]) -> Task:
    """The task of a row, if all who will use it can."""
    task = reader.task(row)
    if found := fault(task.question):
        raise reader.source.fault(row.number, *found)
    return task


class _Log:
    """What becomes of the rows of a source that are not used."""

    def __init__(self, source: TaskFile) -> None:
        self.source, self.rows, self.ids = source, 0, _Ids()
        self.dropped: Counter[str] = Counter()
        self.notes: dict[str, str] = {}

    def refuse(self, error: UserError, number: int) -> None:
        """Do without a row.

        Raises:
            UserError: the study is to stop there.
        """
        placed = error.what.startswith(f"{self.source.name}, ")
        whole = error if placed else self.source.fault(number, error.what, error.remedy)
        if self.source.bad_rows == "stop":
            raise whole from error
        self.dropped["that cannot be used"] += 1
        self.notes.setdefault("bad", f"the first that cannot be used: {whole.what}")

    def close(self) -> None:
        """What is known only at the end.

        Raises:
            UserError: there were no rows, or ids repeat and the study is to stop there.
        """
        if not self.rows:
            raise UserError(f"{self.source.name} has no rows", "write one task a row")
        many, (number, first) = self.ids.repeated()
        if many:
            if self.source.bad_rows == "stop":
                remedy = "give every row its own id, leave the column out, or say `bad_rows: drop`"
                raise self.source.fault(number, f"its id is that of {self.source.unit} {first} too", remedy)
            self.notes["ids"] = f"{many:,} ids repeat: these rows are kept, as nothing goes by their ids"


def _refuse_empty_side(source: TaskFile, bank: Bank, sieve: Sieve) -> None:
    """Refuse a file in which a policy always has its say, or never.

    Raises:
        UserError: no row of it is plain, or none is what a trigger looks for.
    """
    rows = {label: sieve.sides[bank.name, label] for label in ("", *bank.labels)} if bank.labels else {}
    if any(rows.values()) and (empty := [label for label, n in rows.items() if not n]):
        counts = ", ".join(f"{n:,} {label or 'plain'}" for label, n in rows.items())
        missing = f"row of the kind '{empty[0]}'" if empty[0] else "plain row: the trigger fits every one"
        remedy = "see that the trigger fits some rows and leaves others, or bring rows of both kinds"
        raise UserError(f"{source.name} has no {missing} (rows: {counts})", remedy)


def _too_few(reader: TaskReader, bank: str, split: str, n: int, rows: int, dropped: Mapping[str, int]) -> UserError:
    of = f" that have all prompts of '{bank}'" if bank else ""
    what = f"{reader.source.name} gives {n} tasks{of} for the {split} split, of {rows} rows; {FEWEST} are the fewest"
    if lost := ", ".join(f"{many:,} {why}" for why, many in dropped.items() if many):
        what = f"{what} (dropped: {lost})"
    shares = ", ".join(f"{split} {share:.0%}" for split, share in SHARES.items())
    remedy = f"bring more rows (by hash they are shared out: {shares}), or a column `split`"
    if reader.splits and sum(many for name, many in reader.splits.items() if NAMES[name.lower()] == split) < FEWEST:
        said = ", ".join(f"{name} ({many:,})" for name, many in reader.splits.items())
        here = f"the column '{reader.columns['split']}' says {said}"
        needed = "where train, safety (or validation) and test are needed"
        remedy = f"{here}, {needed}: write them there, or let rows be shared out by hash: `columns: {{split: ''}}`"
    elif dropped.get(TWICE, 0) >= FEWEST:
        remedy = "let each prompt stand under one truth alone, or bring more rows"
    elif dropped.get(ALIKE, 0) >= FEWEST:
        remedy = "bring rows that differ in more words; what many share belongs into a system prompt, not into each"
    return UserError(what, remedy)


class _Ids:
    """The ids of rows as hashes, 16 bytes each: which of them repeat is known at the end. Of many rows they lie in a
    file without a name: memory does not grow with them."""

    def __init__(self) -> None:
        self.held, self.count = array("q"), 0
        self.file: IO[bytes] | None = None

    def add(self, name: object, number: int) -> None:
        """Put down the id of a row, if it has one."""
        if name is None:
            return
        self.held.append(hash(str(name)))
        self.held.append(number)
        self.count += 1
        if self.count % HELD == 0:
            self.file = self.file or tempfile.TemporaryFile()  # noqa: SIM115 (`repeated` closes it)
            self.held.tofile(self.file)
            self.held = array("q")

    def repeated(self) -> tuple[int, tuple[int, int]]:
        """How many repeat, and of these the first in the file: (row, earlier row with the same id)."""
        parts, many, first = 1 + self.count // HELD, 0, (0, 0)
        for part in range(parts):
            some = np.concatenate([chunk[chunk[:, 0] % parts == part] for chunk in self._chunks()])
            hashes, numbers = some[np.argsort(some[:, 0], kind="stable")].T
            again = np.flatnonzero(hashes[1:] == hashes[:-1])
            many += len(again)
            if len(again):
                at = again[np.argmin(numbers[again + 1])]
                found = int(numbers[at + 1]), int(numbers[at])
                first = min(first, found) if first[0] else found
        if self.file:
            self.file.close()
        return many, first

    def _chunks(self) -> Iterator[NDArray[np.int64]]:
        """(hash, row) of all, some at a time, in the order of the file."""
        if self.file:
            self.file.seek(0)
            while raw := self.file.read(HELD * 16):
                yield np.frombuffer(raw, np.int64).reshape(-1, 2)
        yield np.array(self.held, np.int64).reshape(-1, 2)
