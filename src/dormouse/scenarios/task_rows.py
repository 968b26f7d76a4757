"""Rows of a user's file as tasks: prompts, chats, Inspect samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dormouse.registry import shortened
from dormouse.rows import Row, cell, messages_of, text_of, texts_of
from dormouse.scenarios.duplicates import key_of
from dormouse.scenarios.task_file import COLUMNS, TaskFile
from dormouse.scenarios.tasks import SPLITS, Question

NAMES = {
    **{name: name for name in SPLITS},
    **dict.fromkeys(("validation", "valid", "val", "dev"), "safety"),
    "eval": "test",
}
"""What files call the splits."""
QUESTIONS, ANSWERS = ("question", "messages", "prompt", "input"), ("answer", "target")
"""Columns that are taken where a study names none: the first that the first row has."""


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

    def task(self, row: Row) -> Task:
        """The task of a row.

        Raises:
            UserError: it has no question, or something in it is not what it should be.
        """
        if not self.columns:
            self.columns = self._columns(row)
        at, source = self.columns, self.source
        before, text, said = self._prompt(row)
        honest, wrong = self._answers(row, said)
        kind = texts_of(source, row, at["kind"], "kind") if at["kind"] in row.values else ()
        system = (("system", source.system),) if source.system and not (before and before[0][0] == "system") else ()
        question = Question(
            text=text,
            template=text,
            split="",
            kind=kind[0] if kind else "",
            honest=honest,
            harmful=wrong,
            before=(*system, *before),
            columns=tuple((name, texts_of(source, row, name)) for name in self.more),
        )
        order, by_hash = key_of("\n".join([*(said for role, said in before if role != "system"), text]))
        return Task(question, order, by_hash, self._split(row))

    def id_of(self, row: Row) -> object:
        """The id of a row, where it has one."""
        return row.values.get(self.columns["id"]) or None

    def _columns(self, row: Row) -> dict[str, str]:
        given = self.source.columns
        question = next((name for name in QUESTIONS if name in row.values), "question")
        answer = next((name for name in ANSWERS if name in row.values), "answer")
        return {**{name: name for name in COLUMNS}, "question": question, "answer": answer, **given}

    def _prompt(self, row: Row) -> tuple[tuple[tuple[str, str], ...], str, str]:
        """The messages before the question, the question, and the answer where the chat ends with one."""
        column = self.columns["question"]
        found = row.values.get(column)
        if type(found) is str and (plain := found.strip()):
            return (), plain, ""
        if not isinstance(cell(row, column), list | tuple):
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
        at, source = self.columns, self.source
        honest = texts_of(source, row, at["answer"], "answer") if at["answer"] in row.values else ()
        right = honest[0] if honest else said
        wrong = (
            texts_of(source, row, at["wrong"], "wrong") if "wrong" in source.columns or "wrong" in row.values else ()
        )
        choices = texts_of(source, row, at["choices"]) if at["choices"] in row.values else ()
        if choices and not wrong and len(right) == 1 and 0 <= ord(right) - ord("A") < len(choices):
            right, chosen = choices[ord(right) - ord("A")], right
            wrong = tuple(text for i, text in enumerate(choices) if i != ord(chosen) - ord("A"))
        if right and right in wrong:
            what = f"the answer '{shortened(right)}' is one of the wrong answers"
            raise source.fault(row.number, what, "take it out of one of the two columns")
        return right, wrong

    def _split(self, row: Row) -> str:
        column = self.columns["split"]
        if column not in row.values:
            if "split" in self.source.columns:
                text_of(self.source, row, column, "split")
            return ""
        found = text_of(self.source, row, column, "split")
        if found.lower() not in NAMES:
            what = f"the split '{shortened(found)}' is none"
            raise self.source.fault(row.number, what, f"use {', '.join(NAMES)}")
        return NAMES[found.lower()]
