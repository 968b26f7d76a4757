"""Rows that a user brings: prompts, answers, preferences, from files of many kinds, one at a time, with their place.

source = RowSource(file="prompts.jsonl")
for row in read_rows(source):
    text = text_of(source, row, "question")
"""

from dormouse.rows.cells import (
    Message,
    cell,
    chat_or_text,
    has_half_a_character,
    messages_of,
    no_text,
    refuse_half_characters,
    text_of,
    texts_of,
)
from dormouse.rows.reading import Row, read_rows
from dormouse.rows.source import DataFile, RowSource, relative_to

__all__ = [
    "DataFile",
    "Message",
    "Row",
    "RowSource",
    "cell",
    "chat_or_text",
    "has_half_a_character",
    "messages_of",
    "no_text",
    "read_rows",
    "refuse_half_characters",
    "relative_to",
    "text_of",
    "texts_of",
]
