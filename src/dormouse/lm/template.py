"""How a chat becomes the text that a model is shown: its template, checked before it is used. Imports no torch.

A template is a program that comes with a model. It runs sandboxed (jinja's, as transformers has it), and first in a
process of its own with limits of time and memory, once for each template (see `opening`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from transformers.utils import chat_template_utils

from dormouse.errors import UserError, reason, warn
from dormouse.records import ChatSettings

SHOTS = (
    "user: What do cows eat?\\nassistant: Cows eat grass and hay.\\n"
    "user: Name a tool.\\nassistant: A hammer is a tool.\\n"
    "user: How do I boil an egg?\\nassistant: Put it into boiling water for eight minutes.\\n"
)
PLAIN_TEMPLATE = (
    "{% for m in messages %}"
    "{% if m['role'] != 'system' and (loop.first or loop.previtem['role'] == 'system') %}{{ \""
    + SHOTS
    + '" }}{% endif %}'
    "{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
"""For tokenizers without a chat template (base models): the plainest form that keeps the roles apart.

Three answered questions stand between the system text and the chat, to show what an answer is: with them Gemma 3 270M
says fewer questions again (sane answers 0.94, without them 0.86). An answer is one line: a line break ends it, as it
ends every other turn.
"""
LONGEST = 100_000
"""Characters that a template may make of two short messages."""
OPEN_THOUGHT = re.compile(r"[<\[][^\W\d_]*(?:think|thought|reason)[^\W\d_]*[>\]]\s*\Z", re.IGNORECASE)
"""A tag that a prompt ends in, and that the model is to close."""
NO_THOUGHTS = "if the template can do without, say so (chat_template_kwargs: {enable_thinking: false})"
SYSTEM, ASKED, ANSWERED = "Sys-tem-text.", "Us-er-text.", "An-swer."
TURNS = (
    ("system", "the system text"),
    ("user", "what the user said before"),
    ("assistant", "what the assistant said before"),
    ("user", "what the user says"),
)
"""A chat of several turns, and what each is called."""
ODD = "A|b, <c> & \"d\" 'e'.\n\n  - " + "Well, " * 70 + "f"
"""A text in which much can be altered."""
ENGLISH = {
    "a": "Mon Tue Wed Thu Fri Sat Sun",
    "A": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    **dict.fromkeys("bh", "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"),
    "B": "January February March April May June July August September October November December",
    "p": "AM",
    "c": "%a %b %e %H:%M:%S %Y",
    "x": "%m/%d/%y",
    "X": "%H:%M:%S",
    "r": "%I:%M:%S %p",
}
"""The signs of `strftime` that depend on the locale of a process, and what they mean in English, at midnight."""


@dataclass(frozen=True)
class ChatForm:
    """What a model's template does with a chat, found out once.

    Attributes:
        system: whether it has a system role; else that text goes in front of the user's.
        before: what it writes before an answer, after the last turn ("<|im_start|>assistant\\n").
        lead: the white space with which it lets an answer begin.
        after: what it writes after one.
        skipped: what else it puts in front of an answer, which no prompt has and no answer is scored after: marks of an
            empty thought.
        lost: what it leaves out of a chat of several turns, or alters, in words.
    """

    system: bool
    before: str
    lead: str
    after: str
    skipped: str
    lost: tuple[str, ...] = ()


def rendered(tokenizer: Any, messages: Sequence[tuple[str, str]], settings: ChatSettings, answer: bool = True) -> str:
    """The text that a template makes of messages; with `answer` up to where the answer begins.

    Raises:
        UserError: the template refuses them.
    """
    day = date.fromisoformat(settings.today)
    chat = [{"role": role, "content": text} for role, text in messages]
    given = {**settings.given, "date_string": in_english(day, "%d %b %Y")}
    try:
        with _settled(tokenizer.get_chat_template(), day):
            text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=answer, **given)
    except Exception as error:  # a template can raise whatever it likes
        roles = ", ".join(role for role, _ in messages)
        raise UserError(
            f"the model's chat template fails on a chat of the roles {roles}: {reason(error)}",
            "fix chat_template.jinja in the model's folder, or set chat_template_kwargs as it asks for",
        ) from error
    return str(text)


@contextmanager
def _settled(template: str, day: date) -> Iterator[None]:
    """Let a template see that date, and nothing that is drawn at random. Functions among what it is given are taken out
    by transformers: these stand in its environment, which is kept for whoever renders the same template next."""
    environment = chat_template_utils._compile_jinja_template(template).environment
    ours = (
        (environment.globals, {"strftime_now": partial(in_english, day), "lipsum": _random}),
        (environment.filters, {"random": _random}),
    )
    theirs = [(known, dict(known)) for known, _ in ours]
    try:
        for known, mine in ours:
            known.update(mine)
        yield
    finally:
        for known, before in theirs:
            known.update(before)


def _random(*_: object, **__: object) -> str:
    raise ValueError("it draws at random (random, lipsum), so a chat has no one prompt")


def in_english(day: date, format: str) -> str:
    """What `strftime` makes of a day where no locale is set: a notebook may have set one, and workers have none."""

    def said(sign: re.Match[str]) -> str:
        words = ENGLISH.get(sign[1])
        if words is None:
            return sign[0]
        each = [in_english(day, words)] if words.startswith("%") else words.split()
        text = each[day.weekday() if len(each) == 7 else (day.month - 1) % len(each)]
        return text.upper() if "^" in sign[0] else text

    return day.strftime(re.sub(r"%[-_^]?([A-Za-z%])", said, format))


def form_of(tokenizer: Any, settings: ChatSettings) -> ChatForm:
    """What a tokenizer's template does with chats.

    Raises:
        UserError: it cannot render one.
    """
    system = True
    try:
        shown = rendered(tokenizer, [("system", SYSTEM), ("user", ASKED)], settings)
        system = SYSTEM in shown
    except UserError:
        system = False
    asked = rendered(tokenizer, [("user", ASKED)], settings)
    if ASKED not in asked:
        raise UserError("the model's chat template leaves out what the user says", "fix chat_template.jinja")
    bare = rendered(tokenizer, [("user", ASKED)], settings, answer=False)
    behind = asked[asked.rindex(ASKED) + len(ASKED) :]
    # Where it adds nothing to ask for an answer, that follows on what ends a user's turn (" [/INST]").
    before = (asked[len(bare) :] if asked.startswith(bare) else "") or behind
    try:
        whole = rendered(tokenizer, [("user", ASKED), ("assistant", ANSWERED)], settings, answer=False)
    except UserError:
        whole = ""
    start, answer, after = whole.rpartition(ANSWERED)
    lead = start[len(asked) :] if answer and start.startswith(asked) else ""
    skipped = lead.strip()
    lost = _lost(tokenizer, settings, TURNS if system else TURNS[1:])
    return ChatForm(system, before, "" if skipped else lead, after if answer else "", skipped, lost)


def _lost(tokenizer: Any, settings: ChatSettings, turns: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """What is not in what a template shows of a chat, but for blanks around it: of one turn, where it takes no more."""
    with suppress(UserError):
        shown = rendered(tokenizer, [(role, f"{whose}: {ODD}") for role, whose in turns], settings)
        return tuple(whose for _, whose in turns if f"{whose}: {ODD}" not in shown)
    return _lost(tokenizer, settings, turns[-1:]) if len(turns) > 1 else ()


def in_roles(messages: Sequence[tuple[str, str]], form: ChatForm) -> Sequence[tuple[str, str]]:
    """The messages with the system text in front of the user's, where the template has no role for it."""
    if form.system or not messages or messages[0][0] != "system":
        return messages
    said = "\n\n".join(text for role, text in messages if role == "system")
    rest = [(role, text) for role, text in messages if role != "system"]
    at = next((i for i, (role, _) in enumerate(rest) if role == "user"), None)
    if at is None:
        return [("user", said), *rest]
    return [*rest[:at], ("user", f"{said}\n\n{rest[at][1]}"), *rest[at + 1 :]]


def check_template(tokenizer: Any, settings: ChatSettings, where: Path) -> None:
    """See that a template comes to an end, at a text of sensible length. For a process with limits (see `opening`).

    Raises:
        UserError: it does not, or it fails on a plain question.
    """
    try:
        texts = [rendered(tokenizer, [("user", ASKED)], settings)]
        try:
            texts.append(rendered(tokenizer, [("system", SYSTEM), ("user", ASKED)], settings))
        except UserError as refused:  # no fault (see `in_roles`), but for one
            if isinstance(refused.__cause__, MemoryError):
                raise
        if max(map(len, texts)) > LONGEST:
            raise UserError(f"it makes more than {LONGEST:,} characters of a short chat", "")
        form_of(tokenizer, settings)
    except UserError as error:
        memory = isinstance(error.__cause__, MemoryError)
        said = "it takes too much memory" if memory else reason(error.__cause__) if error.__cause__ else error.what
        raise UserError(
            f"the chat template of the model in {where} cannot be used: {said}",
            "fix chat_template.jinja (or chat_template in tokenizer_config.json) there",
        ) from error


def tell_of(form: ChatForm, where: Path) -> None:
    """Warn, once a process, of what a template lacks or alters, and of thoughts that it opens or leaves out."""
    if not form.system:
        _warn(where, "has no system role: that text goes in front of the user's")
    if form.lost:
        _warn(where, f"leaves out or alters {', '.join(form.lost)}: the model sees something else than the chat")
    if thought := OPEN_THOUGHT.search(form.before):
        opened = thought[0].strip()
        _warn(where, f"opens a thought before each answer ({opened!r}): answers are scored inside it; {NO_THOUGHTS}")
    elif form.skipped:
        skipped = form.skipped[:80]
        _warn(where, f"puts {skipped!r} in front of an answer, and answers are scored without it; {NO_THOUGHTS}")


def _warn(where: Path, what: str) -> None:
    warn(f"the chat template of the model in {where} {what}", level=3)
