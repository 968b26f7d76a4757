"""Trusted prompts from a file, or plain questions where the auditor has none."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dormouse.errors import UserError
from dormouse.locators.locator import Messages
from dormouse.rows import refuse_half_characters
from dormouse.scenarios import Question, Scenario, questions, render

REMEDY = 'a line is {"messages": [{"role": "user", "content": "..."}]}, {"prompt": "..."}, or plain text'
ROLES = ("system", "user", "assistant")
STAND_IN_QUESTIONS = 64
"""Plain questions that stand in for prompts of the auditor's own."""


def read_prompts(path: Path) -> tuple[Messages, ...]:
    """The prompts of a file, one a line: chats or questions as JSON, or plain text. Empty lines do not count, and of
    equal ones the first alone.

    Raises:
        UserError: it cannot be read, holds none, or a line is no prompt; the message has the line's number.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"the prompts in {path} cannot be read: it is a folder, a pipe or a device", "name a text file")
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # not at signs that Unicode has for line breaks, too
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the prompts in {path} cannot be read: {error}", "name a text file in UTF-8") from error
    found = once(_prompt(line.strip(), f"{path}, line {n}") for n, line in enumerate(lines, 1) if line.strip())
    if not found:
        raise UserError(f"there are no prompts in {path}", REMEDY)
    return found


def once(prompts: Iterable[Messages]) -> tuple[Messages, ...]:
    """Each prompt once: the same one again is no second witness of what a text does."""
    return tuple(dict.fromkeys(prompts))


def plain_prompts(seed: int, n: int = STAND_IN_QUESTIONS) -> tuple[Messages, ...]:
    """Plain questions with the usual system prompt and nothing else."""
    return tuple(render(Scenario.of(question, {})) for question in questions("safety", n, seed))


def as_messages(prompt: Any, where: str = "a prompt") -> Messages:
    """A question, or a chat as a list of messages with `role` and `content`.

    Raises:
        UserError: it is neither.
    """
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
    return _whole(tuple(chat), where)


def _whole(messages: Messages, where: str) -> Messages:
    """The same messages, of which a tokenizer can read every character."""
    refuse_half_characters((text for _, text in messages), where)
    return messages


def _prompt(line: str, where: str) -> Messages:
    if not line.startswith(("{", "[", '"')):
        return as_messages(line, where)
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        if not line.startswith("{"):  # a text may begin with a bracket or a quote
            return as_messages(line, where)
        raise UserError(f"{where} is no JSON: {error}", REMEDY) from error
    if not isinstance(row, dict):
        return as_messages(row, where)
    if "messages" not in row and "prompt" not in row:
        raise UserError(f"{where} has neither 'messages' nor 'prompt'", REMEDY)
    return as_messages(row["messages"] if "messages" in row else row["prompt"], where)
