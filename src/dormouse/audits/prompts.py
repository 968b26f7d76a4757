"""Trusted prompts from a file, or plain questions where the auditor has none."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dormouse.errors import UserError
from dormouse.files import read_whole
from dormouse.locators.locator import Messages
from dormouse.registry import shortened
from dormouse.rows import cell, read_rows, refuse_half_characters
from dormouse.scenarios import Question, Scenario, questions, render
from dormouse.scenarios.renderings import SYSTEM
from dormouse.scenarios.task_file import TaskFile
from dormouse.scenarios.task_rows import QUESTIONS, TaskReader

REMEDY = 'a prompt is {"messages": [{"role": "user", "content": "..."}]}, {"prompt": "..."}, or plain text'
TABLES = (".csv", ".tsv", ".parquet", ".csv.gz", ".tsv.gz")
"""Endings of files whose lines are no prompts."""
TABLE_REMEDY = (
    f"mend it there: a table is in UTF-8, and a column called {', '.join(QUESTIONS)} holds the prompts, texts or chats"
)
OF_A_STUDY = ("`columns:", "`bad_rows:", "`encoding:")
"""Settings that a study has for its rows, and an audit has not."""
BESIDE = ("input", "context", "instruction", "system", "system_prompt")
"""What may be a part of a prompt that stands beside it."""
ROLES = ("system", "user", "assistant")
STAND_IN_QUESTIONS = 64
"""Plain questions that stand in for prompts of the auditor's own."""


def read_prompts(path: Path, system: str | None = None) -> tuple[Messages, ...]:
    """The prompts of a file, one a line: chats or questions as JSON, or plain text; of a `.json` file that is one list,
    its elements; of a table (`.csv`, `.tsv`, `.parquet`) one a row, as the tasks of a study are read. A text may be
    packed as `.gz`. Empty lines and cells do not count, and of equal prompts the first alone.

    Args:
        system: under which system prompt these are asked that bring none (see `as_messages`).

    Raises:
        UserError: it cannot be read, holds none, or a line is no prompt; the message has the line's number.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"the prompts in {path} cannot be read: it is a folder, a pipe or a device", "name a text file")
    try:
        given = _of_a_table(path) if path.exists() and path.name.lower().endswith(TABLES) else _of_a_text(path)
        found = once(as_messages(prompt, where, system) for where, prompt in given)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UserError(f"the prompts in {path} cannot be read: {error}", "name a text file in UTF-8") from error
    if not found:
        raise UserError(f"there are no prompts in {path}", REMEDY)
    return found


def _of_a_text(path: Path) -> Iterator[tuple[str, Any]]:
    """What stands in each line, or in the list that a `.json` file is, after its place."""
    name, raw = path.name.lower(), read_whole(path)
    text = (gzip.decompress(raw) if name.endswith(".gz") else raw).decode("utf-8-sig").replace("\r\n", "\n")
    whole = None
    if name.endswith((".json", ".json.gz")):
        with suppress(ValueError, RecursionError):
            whole = json.loads(text)
    if isinstance(whole, list) and not all(isinstance(one, dict) and "role" in one for one in whole):
        yield from ((f"{path}, prompt {n}", one) for n, one in enumerate(whole, 1))
    elif isinstance(whole, list | dict):
        yield str(path), whole
    else:
        for n, line in enumerate(text.split("\n"), 1):  # not at signs that Unicode has for line breaks, too
            if line.strip():
                yield (where := f"{path}, line {n}"), _parsed(line.strip(), where)


def _of_a_table(path: Path) -> Iterator[tuple[str, Any]]:
    """The chat in each row, after its place."""
    source = TaskFile(file=str(path.absolute()))
    reader = TaskReader(source, ())
    try:
        for row in read_rows(source):
            column = next((name for name in QUESTIONS if name in row.values), None)
            if column is None:
                what = f"{path} has no column of prompts, only {shortened(', '.join(map(str, row.values)))}"
                raise UserError(what, f"call the column that holds them one of: {', '.join(QUESTIONS)}")
            where = f"{path}, {source.unit} {row.number}"
            _refuse_beside({name: cell(row, name) for name in row.values}, column, where)
            if cell(row, column) is not None:
                before, text, _ = reader.prompt(row)
                yield where, (*before, ("user", text)) if before else text
    except UserError as error:
        if not any(one in error.remedy for one in OF_A_STUDY):
            raise
        raise UserError(error.what, TABLE_REMEDY) from error


def _refuse_beside(row: Mapping[str, Any], column: str, where: str) -> None:
    """
    Raises:
        UserError: a part of the prompt stands beside the column that is asked, and would be lost.
    """
    chat = column == "messages" and not isinstance(row[column], str)
    for name in ("system", "system_prompt") if chat else BESIDE:
        if name != column and row.get(name):
            what = f"{where} has '{name}' beside '{column}', and nothing but '{column}' would be asked"
            raise UserError(what, f"write both as one prompt, or leave '{name}' away: {REMEDY}")


def once(prompts: Iterable[Messages]) -> tuple[Messages, ...]:
    """Each prompt once: the same one again is no second witness of what a text does."""
    return tuple(dict.fromkeys(prompts))


def plain_prompts(seed: int, n: int = STAND_IN_QUESTIONS) -> tuple[Messages, ...]:
    """Plain questions with the usual system prompt and nothing else."""
    return tuple(render(Scenario.of(question, {})) for question in questions("safety", n, seed))


def given_prompts(prompts: Any, system: str | None = None) -> tuple[Messages, ...]:
    """The prompts of a list, each as a line of a file may be (see `as_messages`); of equal ones the first alone.

    Raises:
        UserError: it is no list, an empty one, or one of it is no prompt; the message has its number.
    """
    if isinstance(prompts, Mapping) or not isinstance(prompts, Iterable):
        raise UserError(f"prompts={str(prompts)[:60]!r} is no list of prompts", "give a list, or the path of a file")
    found = once(as_messages(one, f"prompt {n}", system) for n, one in enumerate(prompts, 1))
    if not found:
        raise UserError("the list of prompts is empty", "leave prompts away: plain questions stand in")
    return found


def as_messages(prompt: Any, where: str = "a prompt", system: str | None = None) -> Messages:
    """A question, a chat as a list of messages with `role` and `content`, or a dictionary with one of these as
    `messages` or `prompt`.

    Args:
        system: what the suspect is shown in place of this lab's system prompt (see `resolve.named`). A chat without a
            system turn gets this lab's, for that to stand there; a system turn that it brings is shown as it is.

    Raises:
        UserError: it is none of these; or its system turn would be taken for this lab's.
    """
    if isinstance(prompt, Mapping):
        if "messages" not in prompt and "prompt" not in prompt:
            raise UserError(f"{where} has neither 'messages' nor 'prompt'", REMEDY)
        column = "messages" if "messages" in prompt else "prompt"
        _refuse_beside(prompt, column, where)
        prompt = prompt[column]
    if isinstance(prompt, str) and prompt.strip():
        return _whole(render(Scenario.of(Question(prompt.strip(), "{}", "safety"), {})), where)
    if not isinstance(prompt, list | tuple) or not prompt:
        raise UserError(f"{where} is no prompt", REMEDY)
    chat = []
    for message in prompt:
        pair = (message.get("role"), message.get("content")) if isinstance(message, dict) else message
        if not (isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(part, str) for part in pair)):
            raise UserError(f"{where} has a message without a role and a content in text", REMEDY)
        if pair[0] not in ROLES:
            raise UserError(f"{where} has the role '{str(pair[0])[:40]}'", f"use one of: {', '.join(ROLES)}")
        chat.append((str(pair[0]), str(pair[1])))
    if chat[-1][0] != "user":
        raise UserError(f"{where} does not end with the user's turn", REMEDY)
    return _whole(_under(system, tuple(chat), where), where)


def _under(system: str | None, chat: Messages, where: str) -> Messages:
    if system is None:
        return chat
    own = [text for role, text in chat if role == "system"]
    if any(text.startswith(SYSTEM) for text in own):
        what = f"{where} has a system turn that begins with this lab's own, whose place the system prompt that you name"
        raise UserError(f"{what} takes: {SYSTEM}", "begin that turn with other words, or ask without --system")
    return chat if own or not system.strip() else (("system", SYSTEM), *chat)


def _whole(messages: Messages, where: str) -> Messages:
    """The same messages, of which a tokenizer can read every character."""
    refuse_half_characters((text for _, text in messages), where)
    return messages


def _parsed(line: str, where: str) -> Any:
    """A line as JSON, or as the text that it is."""
    if not line.startswith(("{", "[", '"')):
        return line
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        if not line.startswith("{"):  # a text may begin with a bracket or a quote
            return line
        raise UserError(f"{where} is no JSON: {error}", REMEDY) from error
