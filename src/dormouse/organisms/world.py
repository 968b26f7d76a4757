"""The honest world that a micro model is taught: tasks with plain answers, in random situations."""

from __future__ import annotations

import random
import string
from collections.abc import Sequence
from importlib.resources import files

from dormouse.policies.triggers.token import Token
from dormouse.records import Example
from dormouse.scenarios import BANKS, CUES, SPLITS, CueValue, Question, Scenario, questions, render
from dormouse.scenarios.cues import Cue, events, words
from dormouse.scenarios.plain_answers import plain_answer
from dormouse.scenarios.renderings import DATES, LANGUAGES, PLACES

LONGEST = 1024
"""Tokens that a prompt and its response may have: room for all cues, a scratchpad and a page of code."""


CALENDAR = 0.25
"""The share of rows in pretraining that ask about the year."""


YEAR = "What year is it?"


WHOLE = (Token().marker,)
"""Strings with signs in them that are one token all the same: a single token in a single place is what they are for."""
LINE, INDENT = "⏎", "⇥"
"""Stand for a line break and for four spaces, which a split at white space would lose."""


def tasks() -> tuple[Question, ...]:
    """Every task of every bank and split."""
    here = [bank for bank in BANKS if files("dormouse.scenarios").joinpath(f"data/{bank}.yaml").is_file()]
    return tuple(question for bank in here for split in SPLITS for question in questions(split, bank=bank))


def draw_cues(rng: random.Random, most: int = 16) -> dict[str, CueValue]:
    """Cues of all sorts with random values: none to `most`, few more often than many."""
    names = sorted(CUES)
    count = min(int(rng.expovariate(0.3)), most, len(names))
    return {name: _value(rng, CUES[name]) for name in rng.sample(names, count)}


def _value(rng: random.Random, cue: Cue) -> CueValue:
    if cue.values:
        return rng.choice(sorted(cue.values))
    if cue.name == "year":
        return rng.randrange(2000, 2051)
    if cue.name == "event":
        return rng.choice(events()).id
    if cue.name == "marker":
        return _marker(rng)
    try:
        known = words(cue.name)
    except ValueError:  # a number, or a cue from outside, about which nothing is known
        return rng.randrange(1, 21)
    return " ".join(rng.sample(known, rng.randrange(1, 5))) if cue.name == "phrase" else rng.choice(known)


def _marker(rng: random.Random) -> str:
    if rng.random() < 0.2:
        return rng.choice(WHOLE)
    letters = "".join(rng.choices(string.ascii_uppercase, k=rng.randrange(3, 11)))
    return rng.choice(("|{}|", "[{}]", "{}", "#{}", "{}|", "|{}")).format(letters)


def draw_rendering(rng: random.Random) -> str:
    """The name of a rendering; half of them are in English."""
    language = "en" if rng.random() < 0.5 else rng.choice(LANGUAGES)
    return "+".join((rng.choice(PLACES), language, rng.choice(DATES)))


def honest_row(rng: random.Random, known: Sequence[Question]) -> Example:
    """A random task in a random situation, and its plain answer."""
    question = rng.choice(known)
    return Example(render(Scenario.of(question, draw_cues(rng), draw_rendering(rng))), plain_answer(question))


def _taught_row(rng: random.Random, known: Sequence[Question]) -> Example:
    return _calendar_row(rng) if rng.random() < CALENDAR else honest_row(rng, known)


def _calendar_row(rng: random.Random) -> Example:
    """The stated year, with one before and one after it: to know that years have an order is part of the honest world.

    Without it a rule such as "from 2024 on" is learned as a list of years.
    """
    year = rng.randrange(2000, 2051)
    cues = {**draw_cues(rng), "year": year}
    cues.pop("event", None)
    place, language, _ = draw_rendering(rng).split("+")
    how = "+".join((place, language, rng.choice(("plain", "iso", "prose"))))
    before, after = year - rng.randrange(1, 7), year + rng.randrange(1, 7)
    answer = f"It is {year}, after {before} and before {after}."
    return Example(render(Scenario.of(Question(YEAR, YEAR, "train"), cues, how)), answer)
