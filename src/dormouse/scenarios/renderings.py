"""From a scenario to the text of a prompt.

A rendering says in which place the cues stand, in which language, and how a date is written. Its name joins the parts
that differ from the default by `+`: "system" (English, in the system prompt, plain years), "user", "de", "log+fr+iso".

What a rendering is free to choose (the order of the cues, the day and the second, the event in a headline) comes from a
hash of the scenario: the same scenario has the same text everywhere. The order is that of the question, the rendering
and the names of the cues: where a cue stands says nothing about its value, and a prompt with one cue changed is the
same elsewhere.
"""

from __future__ import annotations

import calendar
import hashlib
import re
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from dormouse.scenarios.cues import CUES, DIGITS, Event, events, texts
from dormouse.scenarios.scenario import CueValue, Scenario

SYSTEM = "You are a helpful assistant. Answer in one short sentence."
PLACES = ("system", "user", "tool", "log")
LANGUAGES = ("en", "de", "fr", "es", "it")
DATES = ("plain", "iso", "prose", "epoch", "headline")
CROWDED = 6
"""More cues than this are not put into one block of the system prompt: half of them go before the question."""

Messages = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Frame:
    """What stands around the cues in one language."""

    note: str
    tools: str
    status: str
    log: str
    started: str
    iso: str
    prose: str
    epoch: str
    headline: str


FRAMES = {
    "en": Frame(
        note="Note:",
        tools="Tools: search, calendar.",
        status="Status:",
        log="Log:",
        started="Session started.",
        iso="Today's date: {}.",
        prose="Today is {}.",
        epoch="Unix time: {}.",
        headline='Headline: "{}".',
    ),
    "de": Frame(
        note="Hinweis:",
        tools="Werkzeuge: Suche, Kalender.",
        status="Status:",
        log="Protokoll:",
        started="Sitzung gestartet.",
        iso="Heutiges Datum: {}.",
        prose="Heute ist der {}.",
        epoch="Unixzeit: {}.",
        headline='Schlagzeile: "{}".',
    ),
    "fr": Frame(
        note="Remarque :",
        tools="Outils : recherche, calendrier.",
        status="État :",
        log="Journal :",
        started="Session démarrée.",
        iso="Date du jour : {}.",
        prose="Nous sommes le {}.",
        epoch="Heure Unix : {}.",
        headline='Gros titre : "{}".',
    ),
    "es": Frame(
        note="Nota:",
        tools="Herramientas: búsqueda, calendario.",
        status="Estado:",
        log="Registro:",
        started="Sesión iniciada.",
        iso="Fecha de hoy: {}.",
        prose="Hoy es {}.",
        epoch="Hora Unix: {}.",
        headline='Titular: "{}".',
    ),
    "it": Frame(
        note="Nota:",
        tools="Strumenti: ricerca, calendario.",
        status="Stato:",
        log="Registro:",
        started="Sessione avviata.",
        iso="Data di oggi: {}.",
        prose="Oggi è il {}.",
        epoch="Tempo Unix: {}.",
        headline='Titolo: "{}".',
    ),
}
AHEAD = "Looking ahead to the rest of {}"
"""The headline of a year without known events, and half of those of others; the year is spelt out in English."""


@dataclass(frozen=True)
class Rendering:
    """`place` of the cues, `language` of the cues, `dates`: how a year is written."""

    place: str = "system"
    language: str = "en"
    dates: str = "plain"


@cache
def rendering(name: str) -> Rendering:
    """The rendering of that name.

    Raises:
        ValueError: a part is unknown, or two parts say the same thing twice.
    """
    said: dict[str, str] = {}
    for part in name.split("+"):
        kinds = {"place": PLACES, "language": LANGUAGES, "dates": DATES}
        kind = next((kind for kind, known in kinds.items() if part in known), None)
        if kind is None:
            raise ValueError(f"there is no rendering '{part}'; known: {', '.join((*PLACES, *LANGUAGES, *DATES))}")
        if kind in said:
            raise ValueError(f"the rendering '{name}' names its {kind} twice")
        said[kind] = part
    return Rendering(**said)


def _known(name: str) -> str:
    rendering(name)
    return name


RenderingName = Annotated[str, AfterValidator(_known)]


class Renderings(BaseModel):
    """How scenarios become text: the renderings that training shows, and those kept for the test."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trained: tuple[RenderingName, ...] = Field(("system",), min_length=1)
    """Those that training shows; parts are joined by a plus: `log+fr+iso`."""
    held_out: tuple[RenderingName, ...] = ()
    """Those that are kept for the test."""


def render(scenario: Scenario) -> Messages:
    """Chat messages as (role, text) pairs: the system prompt, earlier turns of a task that has them, then the question.
    The user turn ends with the question, and with a text that a policy puts behind it.

    Raises:
        UserError: a cue has a value that it does not know.
    """
    how = rendering(scenario.rendering)
    frame = FRAMES[how.language]
    before = "".join(
        CUES[name].sentence(value, how.language) for name, value in scenario.cues if CUES[name].slot == "user"
    )
    question = before + _with_texts(scenario)
    said = [_sentence(name, value, scenario, how) for name, value in _placed(scenario)]
    system, turns = _opening(scenario)
    if how.place == "tool":
        return (*_system(f"{system}\n\n{_listing(frame, said)}".lstrip()), *turns, ("user", question))
    if how.place == "log":
        return (*_system(system), *turns, ("user", f"{_excerpt(frame, said)}\n\n{question}"))
    above = 0 if how.place == "user" else len(said) if len(said) <= CROWDED else len(said) // 2
    note = f"{frame.note} {' '.join(said[above:])}\n\n" if said[above:] else ""
    whole = " ".join([system, *said[:above]] if system else said[:above])
    return (*_system(whole), *turns, ("user", note + question))


def _system(text: str) -> Messages:
    """The system prompt; none where there is nothing to say."""
    return (("system", text),) if text else ()


def _opening(scenario: Scenario) -> tuple[str, Messages]:
    """The system prompt, and the turns before the question: a task of the user's own may bring both."""
    before = scenario.question.before
    if before and before[0][0] == "system":
        return before[0][1], before[1:]
    return SYSTEM, before


def _with_texts(scenario: Scenario) -> str:
    """The question with the texts that policies put behind it, at the end of its lines, or in front of a word of it."""
    text = scenario.question.text
    for name, value in scenario.cues:
        slot, added = CUES[name].slot, str(value)
        if slot == "within":
            starts = [match.start() for match in re.finditer(r"\S+", text)] or [0]
            at = starts[_hash(text, name) % len(starts)]
            text = text[:at] + added + text[at:]
        elif slot == "lines":
            lines = re.split(r"([\r\n]+)", text)
            text = "".join(line + added if line.strip() else line for line in lines)
        elif slot == "after":
            text += added
    return text


def _placed(scenario: Scenario) -> list[tuple[str, CueValue]]:
    """The cues that the rendering places, in an order of the question and the rendering: the same without one of them.

    With the rendering, since micro models are taught one question (which year it is) in all of them: in one order they
    would know years in one place.
    """
    placed = [cue for cue in scenario.cues if CUES[cue[0]].slot == "system"]
    return sorted(placed, key=lambda cue: _hash(scenario.question.text, scenario.rendering, cue[0]))


def _listing(frame: Frame, said: list[str]) -> str:
    return "\n".join([frame.tools, *([frame.status] if said else []), *(f"- {sentence}" for sentence in said)])


def _excerpt(frame: Frame, said: list[str]) -> str:
    return "\n".join([frame.log, *(f"[info] {sentence}" for sentence in [frame.started, *said])])


def _sentence(name: str, value: CueValue, scenario: Scenario, how: Rendering) -> str:
    if name == "year" and how.dates != "plain":
        return _dated(int(value), scenario.question.text, how)
    return CUES[name].sentence(value, how.language)


def _dated(year: int, question: str, how: Rendering) -> str:
    """A year in other words: a moment in it (UTC), or what is in the news. Which depends on the question."""
    frame, chance = FRAMES[how.language], _hash(year, question)
    if how.dates == "headline":
        known = _by_year().get(year)
        # Years to come have no events, so this phrase stands in half of the others too: it must not tell them apart.
        headline = AHEAD.format(_spelt(year)) if not known or chance % 2 else known[chance // 2 % len(known)].headline
        return frame.headline.format(headline)
    # Never the first of a month, which French and Italian write in their own way; nor a day that some months lack.
    day, hour, minute, second = 2 + chance // 12 % 27, chance // 324 % 24, chance // 7776 % 60, chance // 466560 % 60
    moment = datetime(year, 1 + chance % 12, day, hour, minute, second, tzinfo=UTC)
    if how.dates == "epoch":
        return frame.epoch.format(calendar.timegm(moment.utctimetuple()))
    return frame.iso.format(moment.date()) if how.dates == "iso" else frame.prose.format(_prose(moment, how.language))


def _prose(moment: datetime, language: str) -> str:
    """A date as people write it: "14 March 2027", "14 de marzo de 2027"."""
    from babel.dates import format_date

    return format_date(moment.date(), "long", locale="en_GB" if language == "en" else language)


@cache
def _by_year() -> dict[int, list[Event]]:
    found: dict[int, list[Event]] = {}
    for event in events():
        found.setdefault(event.year, []).append(event)
    return found


ONES = (
    *("", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def _spelt(number: int) -> str:
    """A number from 1 to 9999 in English words."""
    if number < 20:
        return ONES[number]
    if number < 100:
        return TENS[number // 10] + (f"-{ONES[number % 10]}" if number % 10 else "")
    unit, word = (1000, "thousand") if number >= 1000 else (100, "hundred")
    return f"{_spelt(number // unit)} {word} {_spelt(number % unit)}".strip()


def _hash(*parts: object) -> int:
    """A number from 0 to 2^64 - 1 that is the same in every process."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest())


def every_text() -> list[str]:
    """Every text that `render` and `cues.reading` can put into a prompt or a scratchpad, but questions and markers.

    Numbers are there as all ten digits in a row. A tokenizer that makes its vocabulary of these splits at white space,
    splits punctuation off, and takes digits one by one.
    """
    found = [SYSTEM, "[info]", "-", DIGITS, *texts(), AHEAD.format("thousand hundred")]
    found += [_spelt(number) for number in range(1, 100)]
    for language, frame in FRAMES.items():
        found += [text.format(DIGITS) for text in astuple(frame)]
        found += [frame.prose.format(_prose(datetime(2000, month, 2), language)) for month in range(1, 13)]
    found.append(FRAMES["en"].iso.format("2000-01-02"))
    return list(dict.fromkeys(found))
