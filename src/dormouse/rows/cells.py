"""What stands in a row: texts, lists of texts, and chats as the field writes them."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from dormouse.errors import UserError
from dormouse.registry import nearest, shortened
from dormouse.rows.reading import Row
from dormouse.rows.source import RowSource

Message = tuple[str, str]
"""(role, text); roles are system, user, assistant."""
ROLES = {
    **{name: name for name in ("system", "user", "assistant")},
    "human": "user",
    "gpt": "assistant",
    "developer": "system",
    "model": "assistant",
    "bot": "assistant",
}
"""Other names of roles: ShareGPT's, OpenAI's, Gemma's."""
CHAT_AS_TEXT = re.compile(r"""\s*\[\s*\{\s*['"](?:role|content|from|value)['"]\s*:""")
_TEXT = r"""(?:'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")"""
_ITEM = rf"(?:{_TEXT}|[-+]?\d+(?:\.\d*)?)"
ITEM_LITERAL = re.compile(_ITEM)
LIST_AS_TEXT = re.compile(rf"\[\s*(?:{_ITEM}(?:\s*,\s*|\s+|(?=\])))+\]")
"""A list of texts and numbers as Python writes it, and numpy, which puts no commas between them."""
LONGEST_LITERAL = 1 << 20
"""Signs of a chat as Python writes it that are read: each of them costs memory."""


def cell(row: Row, column: str) -> Any:
    """What stands in a column; a dot leads into nested objects and lists (`data.prompt`, `turns.0`). None where there
    is nothing: no such column, null, NaN (as pandas writes what is missing), or an empty or blank cell."""
    values: Any = row.values
    found = values.get(column)
    if type(found) is str:  # most are, of millions
        return None if found.isspace() or not found else found
    if found is None and "." in column and column not in values:
        found = values
        for part in column.split("."):
            if isinstance(found, Mapping):
                found = found.get(part)
            elif isinstance(found, list | tuple) and part.isdecimal() and int(part) < len(found):
                found = found[int(part)]
            else:
                return None
    if isinstance(found, str):
        return found if found.strip() else None
    missing = found == [] or (isinstance(found, float) and math.isnan(found))
    return None if missing else found


def chat_or_text(source: RowSource, row: Row, column: str) -> Any:
    """What stands in a column (see `cell`); of a chat that a table holds as text, in JSON or as Python writes a list,
    its messages.

    Raises:
        UserError: it begins like such a chat and cannot be read.
    """
    found = cell(row, column)
    if not isinstance(found, str) or not CHAT_AS_TEXT.match(found):
        return found
    try:
        return json.loads(found)
    except (ValueError, RecursionError):
        pass
    try:
        if len(found) <= LONGEST_LITERAL:
            return ast.literal_eval(found.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        pass
    what = f"the column '{column}' holds a chat as text, which cannot be read: {shortened(found)}"
    raise source.fault(row.number, what, "write it as JSON (`json.dumps(messages)`), or the rows as JSONL")


def text_of(source: RowSource, row: Row, column: str, wanted: str = "") -> str:
    """The text in a column, with the blanks at its ends cut off.

    Args:
        wanted: what dormouse calls what is looked for, where the column has another name; for the message.

    Raises:
        UserError: the row has no such column, or no text in it.
    """
    found = cell(row, column)
    if isinstance(found, str) and (text := found.strip()):
        return text
    if isinstance(found, bool | int | float):
        return str(found)
    raise no_text(source, row, column, found, wanted)


def no_text(source: RowSource, row: Row, column: str, found: Any, wanted: str = "") -> Exception:
    """What is raised about a column that is not there, is empty, or holds something else than a text."""
    name = wanted or column
    if found is None and column.split(".")[0] not in row.values:
        known = [key for key in row.values if isinstance(key, str)]
        hint = nearest(column, known)
        said = f"its columns: {', '.join(known[:12])}" if not hint.startswith("did") else hint
        close = hint.partition("'")[2].partition("'")[0] or (name if name in known else "NAME")
        what = f"there is no column '{shortened(column)}' ({said})"
        return source.fault(row.number, what, f"say which column it is: `columns: {{{name}: {close}}}`")
    if found is None or isinstance(found, str):
        other = "say `bad_rows: drop`" if "bad_rows" in type(source).model_fields else "leave the row out"
        return source.fault(row.number, f"the column '{column}' is empty", f"fill it in, or {other}")
    kind = "a list" if isinstance(found, list | tuple) else "an object" if isinstance(found, Mapping) else "no text"
    inner = next(iter(found), "") if isinstance(found, Mapping) else 0 if isinstance(found, list | tuple) else ""
    what = f"the column '{column}' holds {kind}: {shortened(repr(found))}"
    return source.fault(row.number, what, f"name the text inside: `columns: {{{name}: {column}.{inner}}}`")


def has_half_a_character(texts: Iterable[str]) -> bool:
    """Whether one of the texts holds a lone surrogate, as JSON that was cut inside an emoji does. No tokenizer takes
    it."""
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return True
    return False


def refuse_half_characters(texts: Iterable[str], where: str) -> None:
    """
    Raises:
        UserError: one of the texts holds half a character; `where` is what holds them.
    """
    if has_half_a_character(texts):
        raise UserError(
            f"{where} holds half a character (a lone surrogate, as \\ud83d)", "write the whole one, or none"
        )


def texts_of(
    source: RowSource, row: Row, column: str, wanted: str = "", lists_as_text: bool = False
) -> tuple[str, ...]:
    """The texts in a column that holds one or a list of them; none where it is empty or not there.

    Args:
        wanted: see `text_of`.
        lists_as_text: whether a text such as `['a', 'b']` is a list, since the file knows no others.

    Raises:
        UserError: something else stands there.
    """
    found = cell(row, column)
    if found is None:
        return ()
    if type(found) is str:
        plain = found.strip()
        listed = _listed(plain) if lists_as_text and plain[0] == "[" and plain[-1] == "]" else None
        if listed is None:
            return (plain,)
        found = listed
    every = found if type(found) is list or type(found) is tuple else [found]
    texts = []
    for one in every:
        if not isinstance(one, str | int | float):
            raise no_text(source, row, column, found, wanted)
        if text := str(one).strip():
            texts.append(text)
    return tuple(texts)


def _listed(text: str) -> list[Any] | None:
    """The texts and numbers of a list that is written as a text, in JSON, or as Python or numpy writes it; None if it
    is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, list):
        return found if found and all(type(one) in (str, int, float) for one in found) else None
    if not LIST_AS_TEXT.fullmatch(text):
        return None
    try:
        return [ast.literal_eval(one) for one in ITEM_LITERAL.findall(text)]
    except (ValueError, SyntaxError):  # an escape that is none
        return None


def messages_of(source: RowSource, row: Row, column: str) -> tuple[Message, ...]:
    """The chat in a column: a text (one turn of the user), or a list of `{role, content}` or `{from, value}`. A content
    may be a list of parts, as OpenAI and Inspect write it.

    Raises:
        UserError: it is no chat, a role is unknown, or a turn holds something else than text.
    """
    found = chat_or_text(source, row, column)
    if not isinstance(found, list | tuple):
        return (("user", text_of(source, row, column)),)
    turns: list[Message] = []
    for place, turn in enumerate(found, 1):
        if not isinstance(turn, Mapping):
            what = f"turn {place} of '{column}' is no message: {shortened(repr(turn))}"
            raise source.fault(row.number, what, 'write {"role": "user", "content": "..."}')
        role = str(turn.get("role", turn.get("from", "")))
        if role not in ROLES:
            what = f"turn {place} of '{column}' has the role '{shortened(role)}'"
            raise source.fault(row.number, what, f"roles are {', '.join(ROLES)}; leave out tools")
        content = _content(turn.get("content", turn.get("value")))
        if content is None:
            what = f"turn {place} of '{column}' holds no text: {shortened(repr(turn))}"
            raise source.fault(row.number, what, "leave out pictures, sounds and tool calls")
        turns.append((ROLES[role], content))
    return tuple(turns)


def _content(given: Any) -> str | None:
    """The text of a turn; None where there is something else in it."""
    if isinstance(given, str):
        return given.strip()
    if not isinstance(given, list | tuple):
        return None
    parts = [part.get("text") if isinstance(part, Mapping) else None for part in given]
    return None if None in parts else "\n".join(map(str, parts)).strip()
