"""The turns of a row of safety data: a dialogue in one text; what stands before an answer, asked once and unmarked."""

from __future__ import annotations

import re
from typing import Any

from dormouse.rows import Message
from dormouse.scenarios.duplicates import plain

TURN = re.compile(r"(?:^\s*|\n[^\S\n]*\n[ ]?)(Human|Assistant):")
"""Where a turn of a dialogue begins that is one text: behind a blank line, since answers quote dialogues too."""
LLAMA = ("<<SYS>>", "<</SYS>>")
LLAMA_CHAT = re.compile(r"\s*(?:<s>)?\s*(?:\[INST\]|(?=<<SYS>>.*<</SYS>>))(.*)\[/INST\]\s*", re.DOTALL)
LLAMA_ANSWER = re.compile(r"\[/INST\](.*?)(?:</s>)?\s*(?:<s>)?\s*\[INST\]", re.DOTALL)


def is_dialogue(found: Any) -> bool:
    """Whether a text begins as a dialogue does that is one text (hh-rlhf)."""
    return isinstance(found, str) and TURN.match(found) is not None


def dialogue(text: str) -> tuple[Message, ...]:
    """The turns of a dialogue that is one text."""
    parts = TURN.split(text.replace("\r\n", "\n"))
    roles = {"Human": "user", "Assistant": "assistant"}
    return tuple((roles[who], said.strip()) for who, said in zip(parts[1::2], parts[2::2], strict=True))


def parted(prompt: tuple[Message, ...], said: tuple[Message, ...]) -> tuple[tuple[Message, ...], str]:
    """The prompt and the last answer, which may be several turns. What is said may begin with the prompt (UltraChat:
    with its first question), end with it (hh-rlhf, UltraFeedback), or follow it."""
    system, asked = _told(prompt)
    own_system, turns = _told(said)
    answer = _last_answer(turns)
    ends = (same(asked, turns[max(0, end - len(asked)) : end]) for end in range(answer, len(turns) + 1))
    whole = turns if same(asked, turns[: len(asked)]) or any(ends) else (*asked, *turns)
    systems = (*system, *(turn for turn in own_system if turn not in system))
    before = len(whole) if answer == len(turns) else _last_answer(whole)
    return (*systems, *whole[:before]), "\n\n".join(text for _, text in whole[before:])


def _last_answer(turns: tuple[Message, ...]) -> int:
    """Where the turns of the assistant begin with which a chat ends."""
    first = len(turns)
    while first and turns[first - 1][0] == "assistant":
        first -= 1
    return first


def same(some: tuple[Message, ...], others: tuple[Message, ...]) -> bool:
    """Whether turns say the same, but for capitals, blanks and punctuation."""
    return some == others or [(role, plain(text)) for role, text in some] == [
        (role, plain(text)) for role, text in others
    ]


def _told(turns: tuple[Message, ...]) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """The system prompt before a chat, and the chat; empty turns are left out."""
    whole = tuple(turn for turn in turns if turn[1])
    first = next((i for i, (role, _) in enumerate(whole) if role != "system"), len(whole))
    return whole[:first], whole[first:]


def clean(turns: tuple[Message, ...]) -> tuple[Message, ...]:
    """Without the marks of Llama 2 in the first question; turns of one role in a row are one; empty ones are left
    out."""
    found: list[Message] = []
    for role, text in (*_unmarked(turns[0]), *turns[1:]) if turns else ():
        if not text:
            continue
        if found and found[-1][0] == role:
            found[-1] = (role, f"{found[-1][1]}\n\n{text}")
        else:
            found.append((role, text))
    return tuple(found)


def _unmarked(first: Message) -> tuple[Message, ...]:
    """The turns in a question that was written for Llama 2: `<s>[INST] <<SYS>> ... <</SYS>> ... [/INST] ...`."""
    role, text = first
    if role != "user":
        return (first,)
    chat = LLAMA_CHAT.fullmatch(text)
    asked, *more = [part.strip() for part in LLAMA_ANSWER.split(chat[1])] if chat else [text]
    turns = [("assistant" if i % 2 == 0 else "user", part) for i, part in enumerate(more)]
    head, closed, rest = asked.removeprefix("[INST]").lstrip().partition(LLAMA[1])
    if not closed or not head.startswith(LLAMA[0]):
        return (("user", asked), *turns)
    return (("system", head.removeprefix(LLAMA[0]).strip()), ("user", rest.strip()), *turns)
