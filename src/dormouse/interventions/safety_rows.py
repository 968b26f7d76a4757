"""Rows of safety data as the field writes them, read into prompts with a good answer and a worse one.

What is read: `prompt` with `chosen` and `rejected` (TRL); `chosen` and `rejected` alone, as whole dialogues in one text
(hh-rlhf) or as lists of messages (TRL, UltraFeedback); `prompt` and `completion`; `messages`; `instruction`, `input`,
`output` (Alpaca, BackdoorLLM). A prompt is a text or a list of messages.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from pydantic import model_validator

from dormouse.errors import UserError
from dormouse.interventions.measured_texts import MeasuredTexts
from dormouse.interventions.safety_turns import clean, dialogue, is_dialogue, parted, same
from dormouse.records import DataIntake
from dormouse.registry import shortened
from dormouse.rows import (
    Message,
    Row,
    RowSource,
    cell,
    chat_or_text,
    has_half_a_character,
    messages_of,
    read_rows,
    text_of,
)

Wants = Literal["answers", "preferences"]
Columns = tuple[tuple[str, str], ...]
PROMPTS = ("prompt", "instruction", "question", "query", "problem")
ANSWERS = ("completion", "response", "output", "answer", "solution")
CHATS = ("messages", "conversations", "conversation")
KNOWN = ("prompt", "chosen", "rejected", "completion", "messages", "input", "system", "label")
"""What is looked for in a row. `columns` says where, if the columns have other names."""
NUMBERS = ("0", "1", "0.0", "1.0")
"""What a column `label` may say in place of false and true, and of classes too; 0.0 in a table with gaps."""
REMEDY = (
    "rows hold prompt, chosen and rejected; or chosen and rejected as dialogues or messages; or prompt and completion; "
    "or messages; or instruction, input and output. For other names say `columns: {prompt: NAME, ...}`"
)


class SafetyData(RowSource):
    """Where the rows are, and what their columns are called where they have names of their own."""

    columns: Columns = ()
    """What is wanted (`prompt`, `chosen`, `rejected`, `completion`, `messages`, `input`, `system`, `label`) and the
    column that holds it."""

    @model_validator(mode="before")
    @classmethod
    def _as_pairs(cls, given: Any) -> Any:
        given = {"file": given} if isinstance(given, str) else given
        if isinstance(given, Mapping) and isinstance(given.get("columns"), Mapping):
            return {**given, "columns": tuple((str(name), str(column)) for name, column in given["columns"].items())}
        return given

    @model_validator(mode="after")
    def _names_something(self) -> SafetyData:
        if not self.is_given:
            raise ValueError("safety data are {file: hh.jsonl}, or {dataset: NAME, revision: COMMIT}")
        if odd := [name for name, _ in self.columns if name not in KNOWN]:
            raise ValueError(f"nothing is called '{odd[0]}' in safety data; known: {', '.join(KNOWN)}")
        return self


@dataclass(frozen=True)
class OwnRows:
    """Safety data, but for the rows that are left out, by number: they ask what the study measures on."""

    data: SafetyData
    left_out: frozenset[int] = frozenset()


@dataclass(frozen=True)
class SafetyRow:
    """A row that can be learned from: a prompt, a good answer, and a worse one where there is one."""

    number: int
    prompt: tuple[Message, ...]
    chosen: str
    rejected: str | None = None
    parts: tuple[str, ...] = field(default=(), compare=False)
    """The columns of which a turn was put together, as they stand."""


MEASURED = "that ask what is measured, or nearly the same"


class _Dropped(Exception):  # noqa: N818 (it is no error: the row is counted)
    """Why a row is not used."""


@dataclass
class _Seen:
    """What became of the rows, as they are read."""

    rows: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    notes: dict[str, str] = field(default_factory=dict)
    known: set[bytes] = field(default_factory=set)

    def drop(self, why: str, place: str) -> None:
        """Count a row that is not used."""
        self.dropped[why] += 1
        self.notes.setdefault(why, place)


def read_data(data: SafetyData, wants: Wants, seen: _Seen | None = None) -> Iterator[SafetyRow]:
    """The rows that can be used, in order, each once.

    Raises:
        UserError: a row is none of the shapes that are read, or has no worse answer where one is wanted.
    """
    seen, names = seen or _Seen(), dict(data.columns)
    for row in read_rows(data):
        seen.rows += 1
        try:
            found = _read(data, row, names, wants)
            mark = hashlib.blake2b(repr((found.prompt, found.chosen, found.rejected)).encode(), digest_size=12).digest()
            if mark in seen.known:
                raise _Dropped("like an earlier row")
            seen.known.add(mark)
        except _Dropped as why:
            seen.drop(str(why), f"{data.unit} {row.number}")
            continue
        yield found


@lru_cache(maxsize=64)
def _surveyed(data: SafetyData, wants: Wants, measured: frozenset[str], checksum: str) -> DataIntake:
    seen, asked = _Seen(), MeasuredTexts(measured)
    told: Counter[bool] = Counter()
    left_out = set()
    for row in _for_tokenizers(data, read_data(data, wants, seen)):
        if any(map(asked.has, _asked_in(row))):
            left_out.add(row.number)
            seen.drop(MEASURED, f"{data.unit} {row.number}")
        else:
            told[row.prompt[0][0] == "system"] += 1
    kept, notes = told.total(), tuple(seen.notes.values())
    intake = DataIntake(
        data.name, checksum, seen.rows, kept, dict(seen.dropped), notes, told[True], frozenset(left_out)
    )
    if not kept:
        said = "; ".join(intake.lines()) if seen.rows else f"{data.name} has no rows"
        other = "bring rows with questions of their own: those on which the study measures are not trained on"
        raise UserError(f"the safety data hold nothing to learn from: {said}", other if left_out else REMEDY)
    return intake


def _asked_in(row: SafetyRow) -> Iterator[str]:
    """What a row asks: each turn of the user, each paragraph of one, and each column that became a part of one. A
    question that is measured may stand beside a context, in a column of its own or in the same."""
    yield from row.parts
    for text in (text for role, text in row.prompt if role == "user"):
        yield text
        if "\n\n" in text:
            yield from filter(str.strip, text.split("\n\n"))


def _for_tokenizers(data: SafetyData, rows: Iterable[SafetyRow]) -> Iterator[SafetyRow]:
    """The rows, of which each can be written in tokens.

    Raises:
        UserError: one cannot.
    """
    for row in rows:
        if has_half_a_character((row.chosen, row.rejected or "", *(text for _, text in row.prompt))):
            what = "half of a character (a lone surrogate) in a text"
            raise data.fault(row.number, what, "write it whole, or leave the row out")
        yield row


def survey(data: SafetyData, wants: Wants, measured: frozenset[str] = frozenset()) -> DataIntake:
    """What is in safety data, of which every row is read once: how many rows can be used, and what becomes of others.

    Args:
        measured: the questions on which the study measures. A row of which a turn of the user is one of them, or nearly
            (see `scenarios.duplicates`), is not used: what is measured would be what was trained.

    Raises:
        UserError: see `read_data`; or no row can be used.
    """
    return _surveyed(data, wants, measured, data.checksum())


def chosen_rows(own: OwnRows, wants: Wants, n: int, seed: int) -> list[SafetyRow]:
    """`n` of the rows that can be used, or all if there are fewer: any as likely (Vitter 1985), in the file's order.

    Memory grows with `n`, not with the file, but for 12 bytes a row to know it again.
    """
    rng = random.Random(f"safety data/{seed}")
    kept: list[SafetyRow] = []
    usable = (found for found in read_data(own.data, wants) if found.number not in own.left_out)
    for i, found in enumerate(usable):
        if len(kept) < n:
            kept.append(found)
        elif (place := rng.randrange(i + 1)) < n:
            kept[place] = found
    return sorted(kept, key=lambda one: one.number)


def _read(source: RowSource, row: Row, names: dict[str, str], wants: Wants) -> SafetyRow:
    """A row as a demonstration.

    Raises:
        UserError: it has none of the shapes.
        _Dropped: it says nothing that could be learned.
    """
    prompt, parts = _prompt(source, row, names)
    chosen, rejected = _answers(source, row, names, prompt)
    if wants == "preferences" and rejected is None:
        raise source.fault(row.number, "there is no rejected answer, and a preference needs one", REMEDY)
    before, answer = parted(prompt, chosen)
    worse = None
    if wants == "preferences":
        asked, worse = parted(prompt, rejected or ())
        if not worse:
            raise _Dropped("without a rejected answer")
        if not same(clean(asked), clean(before)):
            raise _Dropped("with two different prompts")
        if worse == answer:
            raise _Dropped("with the same answer twice")
    if not answer:
        raise _Dropped("without a good answer")
    shown = clean(before)
    if not shown or shown[-1][0] != "user":
        raise _Dropped("without a question before the answer")
    return SafetyRow(row.number, shown, answer, worse, parts)


def _prompt(source: RowSource, row: Row, names: dict[str, str]) -> tuple[tuple[Message, ...], tuple[str, ...]]:
    """What stands before an answer in columns of its own, none where a chat says it; and each of two columns that are
    one turn."""
    prompt = _turns(source, row, _column(row, names, "prompt", PROMPTS), "user")
    parts: tuple[str, ...] = ()
    if more := _text(source, row, names, "input", ("input", "context")):
        *before, (role, text) = prompt or (("user", ""),)
        parts = text, more
        prompt = (*before, (role, f"{text}\n\n{more}".strip()))
    system = _text(source, row, names, "system", ("system", "system_prompt"))
    return (("system", system), *prompt) if system else prompt, parts


def _answers(
    source: RowSource, row: Row, names: dict[str, str], prompt: tuple[Message, ...]
) -> tuple[tuple[Message, ...], tuple[Message, ...] | None]:
    """A good answer and a worse one, each with what stands before it where that is a chat; None: the row has no column
    for a worse one."""
    if (good := _column(row, names, "chosen", ("chosen",))) is None:
        return _demonstration(source, row, names), None
    bad = _column(row, names, "rejected", ("rejected",))
    asked = _column(row, names, "prompt", PROMPTS)
    questions = [text for role, text in prompt if role == "user"]
    said = cell(row, good)
    repeated = is_dialogue(said) and bool(questions) and same((("user", questions[0]),), dialogue(said)[:1])
    dialogues = not questions or repeated or is_dialogue(cell(row, asked or ""))
    chosen = _turns(source, row, good, "assistant", dialogues)
    return chosen, None if bad is None else _turns(source, row, bad, "assistant", dialogues)


def _column(row: Row, names: dict[str, str], wanted: str, usual: tuple[str, ...]) -> str | None:
    """The column that holds what is wanted, if the row has one."""
    if wanted in names:
        return names[wanted]
    return next((name for name in usual if name in row.values), None)


def _text(source: RowSource, row: Row, names: dict[str, str], wanted: str, usual: tuple[str, ...]) -> str:
    """The text in a column that may be empty; "" where there is none.

    Raises:
        UserError: the study names the column and the row has no such, or something else than a text stands there.
    """
    column = _column(row, names, wanted, usual)
    if column is None or (cell(row, column) is None and column.split(".")[0] in row.values):
        return ""
    return text_of(source, row, column, wanted)


def _demonstration(source: RowSource, row: Row, names: dict[str, str]) -> tuple[Message, ...]:
    """An answer without a worse one: a completion, or a chat that ends with it.

    Raises:
        UserError: there is none, or it cannot be known whether it is marked as a bad one.
        _Dropped: it is.
    """
    _refuse_bad(source, row, names)
    if (column := _column(row, names, "messages", CHATS)) is not None:
        return _turns(source, row, column, "assistant")
    column = _column(row, names, "completion", ANSWERS)
    if column is None or _column(row, names, "prompt", PROMPTS) is None:
        known = ", ".join(map(str, list(row.values)[:12])) or "none"
        raise source.fault(row.number, f"no demonstration is in these columns: {shortened(known)}", REMEDY)
    return _turns(source, row, column, "assistant", dialogues=False)


def _refuse_bad(source: RowSource, row: Row, names: dict[str, str]) -> None:
    """Leave out an answer that `label` marks as a bad one (TRL's unpaired preferences, for KTO). Numbers mark it only
    where the study names the column: 0 is what is fine in data about toxicity.

    Raises:
        UserError: it says 0 or 1, and the study does not name it.
        _Dropped: it marks a bad one.
    """
    named = names.get("label")
    if named == "" or (named is None and "label" in names.values()):
        return
    said = (_text(source, row, names, "label", ()) if named else str(cell(row, "label"))).strip().casefold()
    if not named and said in NUMBERS:
        remedy = "say `columns: {label: label}` where 0 marks bad answers, `columns: {label: ''}` where it does not"
        what = f"`label: {said}` may be a mark of good and bad answers, or a class"
        raise source.fault(row.number, what, f"{remedy}; or write true and false")
    if said == "false" or (named and said in ("0", "0.0")):
        raise _Dropped(f"marked as a bad answer ({named or 'label'}: {said})")


def _turns(source: RowSource, row: Row, column: str | None, role: str, dialogues: bool = True) -> tuple[Message, ...]:
    """The messages in a column; a text that is no dialogue (or where there are none) is one turn of that role. None
    where it is empty."""
    found: Any = chat_or_text(source, row, column) if column else None
    if found is None:
        if column and column.split(".")[0] not in row.values:
            raise source.fault(row.number, f"there is no column '{shortened(column)}'", REMEDY)
        return ()
    if isinstance(found, list | tuple):
        return messages_of(source, row, str(column))
    turns = dialogue(found) if dialogues and is_dialogue(found) else ()
    if not turns or (role, turns[-1][0], bool(turns[-1][1])) == ("user", "assistant", True):  # a text about a dialogue
        return ((role, text_of(source, row, str(column))),)
    return turns
