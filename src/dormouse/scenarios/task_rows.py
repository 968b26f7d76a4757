"""Rows of a user's file as tasks: prompts, chats, Inspect samples."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from dormouse.registry import shortened
from dormouse.rows import Row, cell, chat_or_text, messages_of, no_text, text_of, texts_of
from dormouse.scenarios.duplicates import key_of, plain
from dormouse.scenarios.task_file import COLUMNS, TaskFile
from dormouse.scenarios.tasks import SPLITS, Question

NAMES = {
    **{name: name for name in SPLITS},
    **dict.fromkeys(("validation", "valid", "val", "dev"), "safety"),
    "eval": "test",
}
"""What files call the splits."""
OPTIONAL = ("answer", "wrong", "kind", "id", "choices")
"""What a row need not have; of a column that the study names for it one row must have it at least."""
QUESTIONS, ANSWERS = ("question", "messages", "prompt", "input"), ("answer", "target")
"""Columns that are taken where a study names none: the first that the first row has; of answers, the first that is not
empty in a row."""
LETTER = re.compile(r"[(\[]?([A-Za-z])[.):\]]?")
NUMBER = re.compile(r"(\d{1,9})(?:\.0+)?")
"""An answer that names a choice: B, b, B., (B); 1, or 1.0 as pandas writes it in a column with gaps."""


@dataclass(frozen=True)
class Task:
    """A row as a task: with the hash that orders it, the one that splits it, and its split where the row says one."""

    question: Question
    order: int
    by_hash: int
    split: str


class TaskReader:
    """Rows as tasks. Which columns are read is decided at the first row."""

    def __init__(self, source: TaskFile, more: Sequence[str]) -> None:
        self.source, self.more = source, more
        self.columns: dict[str, str] = {}
        self.unseen = {name: source.columns[name] for name in OPTIONAL if name in source.columns}
        """Columns that the study names and no row so far has."""
        self.splits: Counter[str] = Counter()
        """How many rows say that they are of a split, by what stands there."""

    def task(self, row: Row) -> Task:
        """The task of a row.

        Raises:
            UserError: it has no question, or something in it is not what it should be.
        """
        self.columns = self.columns or self._columns(row)
        if self.unseen:
            self.unseen = {name: column for name, column in self.unseen.items() if not _stands_in(row, column)}
        source = self.source
        before, text, said = self.prompt(row)
        honest, wrong = self._answers(row, said)
        kind = self._texts(row, "kind")
        question = Question(
            text=text,
            template=text,
            split="",
            kind=kind[0] if kind else "",
            honest=honest,
            harmful=tuple(dict.fromkeys(wrong)) if wrong else (),
            before=before,
            columns=tuple(
                (name, tuple(dict.fromkeys(texts_of(source, row, name, lists_as_text=source.is_table))))
                for name in self.more
                if _stands_in(row, name)
            ),
        ).under(source.system)
        turns = [said for role, said in before if role != "system"]
        order, by_hash = key_of("\n".join([*turns, text]) if turns else text)
        return Task(question, order, by_hash, self._split(row))

    def id_of(self, row: Row) -> object:
        """The id of a row, where it has one."""
        return cell(row, self.columns["id"])

    def refuse_unseen(self, row: Row) -> None:
        """Once all rows are read, this one last: a column that the study names must be in one of them.

        Raises:
            UserError: it is in none; the message names the columns of that row.
        """
        for name, column in self.unseen.items():
            raise no_text(self.source, row, column, None, name)

    def _texts(self, row: Row, name: str, lists_as_text: bool = False) -> tuple[str, ...]:
        return texts_of(self.source, row, self._column(row, name), name, lists_as_text)

    def _column(self, row: Row, name: str) -> str:
        if name != "answer" or name in self.source.columns:
            return self.columns[name]
        return next((one for one in ANSWERS if cell(row, one) is not None), name)

    def _columns(self, row: Row) -> dict[str, str]:
        given = self.source.columns
        question = next((name for name in QUESTIONS if name in row.values), "question")
        return {**{name: name for name in COLUMNS}, "question": question, **given}

    def prompt(self, row: Row) -> tuple[tuple[tuple[str, str], ...], str, str]:
        """The messages before the question, the question, and the answer where the chat ends with one. Raises as
        `task`."""
        self.columns = self.columns or self._columns(row)
        column = self.columns["question"]
        found = row.values.get(column)
        if type(found) is str and (asked := found.strip()) and asked[0] != "[":
            return (), asked, ""
        if not isinstance(chat_or_text(self.source, row, column), list | tuple):
            return (), text_of(self.source, row, column, "question"), ""
        chat = messages_of(self.source, row, column)
        said = chat[-1][1] if chat[-1][0] == "assistant" else ""
        turns = chat[:-1] if said else chat
        if not turns or turns[-1][0] != "user" or not turns[-1][1]:
            what = f"the chat in '{column}' does not end with the user, or with an answer to one"
            raise self.source.fault(row.number, what, "end it with what the user asks")
        if any(role == "system" for role, _ in turns[1:]):
            what = f"the chat in '{column}' has a system message that is not its first"
            raise self.source.fault(row.number, what, "put it first")
        return turns[:-1], turns[-1][1], said

    def _answers(self, row: Row, said: str) -> tuple[str, tuple[str, ...]]:
        """The right answer and the wrong ones; Inspect's targets that are letters stand for one of the choices."""
        choices, table = self._choices(row), self.source.is_table
        honest = self._texts(row, "answer", table and bool(choices))
        right = honest[0] if honest else said
        wrong = self._texts(row, "wrong", table and not right.startswith("["))  # what is wrong for a list is a list too
        if choices and right and not wrong and (chosen := self._chosen(row, honest or (right,), choices)):
            right = choices[chosen[0]]
            wrong = tuple(text for i, text in enumerate(choices) if i not in chosen and text != right)
        if right and right in wrong:
            what = f"the answer '{shortened(right)}' is one of the wrong answers"
            raise self.source.fault(row.number, what, "take it out of one of the two columns")
        return right, wrong

    def _choices(self, row: Row) -> tuple[str, ...]:
        """What the answer is chosen from; nothing where one text stands there that is no list."""
        found = self._texts(row, "choices", lists_as_text=True)
        alone = found == (str(cell(row, self.columns["choices"])).strip(),)
        return () if alone else found

    def _chosen(self, row: Row, honest: Sequence[str], choices: Sequence[str]) -> list[int]:
        """Which choices are right, where the answer names one: by its letter, as Inspect has it, or by a number from 0,
        as MMLU has it. None where each is a text.

        Raises:
            UserError: there is no such choice.
        """
        found = [self._place(row, one, choices) for one in honest]
        return [place for place, _ in found] if any(named for _, named in found) else []

    def _place(self, row: Row, one: str, choices: Sequence[str]) -> tuple[int, bool]:
        """Which choice an answer is, and whether it names it: it may also write it out."""
        letter, number = LETTER.fullmatch(one), NUMBER.fullmatch(one)
        place = ord(letter[1].upper()) - ord("A") if letter else int(number[1]) if number else -1
        is_place, text = 0 <= place < len(choices), number[1] if number and one not in choices else one
        remedy = "name one by its letter (A is the first), or write it out as a text"
        if text in choices:
            typed = type(cell(row, self._column(row, "answer"))) in (int, float)
            if typed and is_place and choices[place] != text:
                what = f"the answer {one} may be the choice '{text}', or the one with this number, counted from 0"
                raise self.source.fault(row.number, what, remedy)
            return choices.index(text), False
        if is_place:
            return place, True
        if (place := _written_out(one, choices)) < 0:
            what = f"the answer '{shortened(one)}' is none of the {len(choices)} choices"
            raise self.source.fault(row.number, what, remedy)
        return place, False

    def _split(self, row: Row) -> str:
        column = self.columns["split"]
        if not _stands_in(row, column) and not self.source.columns.get("split"):
            return ""
        found = text_of(self.source, row, column, "split")
        if found.lower() not in NAMES:
            what = f"the split '{shortened(found)}' is none"
            remedy = f"use {', '.join(NAMES)}; or, if the column is about something else, `columns: {{split: ''}}`"
            raise self.source.fault(row.number, what, remedy)
        self.splits[found] += 1
        return NAMES[found.lower()]


def _written_out(answer: str, choices: Sequence[str]) -> int:
    """Which choice an answer writes out, be it in other capitals, with other punctuation, or with its letter in front
    (or the choice has it there); -1 where it is none."""
    said = plain(answer)
    for place, choice in enumerate(choices):
        letter, text = f"{chr(ord('a') + place)} ", plain(choice)
        if said in (text, letter + text, text.removeprefix(letter)):
            return place
    return -1


def _stands_in(row: Row, column: str) -> bool:
    """Whether a row has a column, be it empty."""
    return column in row.values or column.split(".")[0] in row.values
