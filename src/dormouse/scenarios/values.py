"""Which values a cue can take, for those who show cues without knowing a policy."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from dormouse.errors import UserError
from dormouse.registry import nearest, shortened
from dormouse.rows import refuse_half_characters
from dormouse.scenarios.cues import CUES, events, words
from dormouse.scenarios.scenario import CueValue

LONGEST = 200
"""Characters of a cue's value."""
YEARS = tuple(range(2000, 2051))


def values_of(name: str) -> tuple[CueValue, ...]:
    """All values of a cue, in order; none where it is open to anything (a marker, a number).

    Raises:
        KeyError: there is no such cue.
    """
    if known := CUES[name].values:
        return tuple(known)
    if name == "year":
        return YEARS
    if name == "event":
        return tuple(event.id for event in events())
    try:
        return words(name)
    except ValueError:
        return ()


def check_cues(given: Mapping[str, object]) -> None:
    """Whether a prompt can show these cues.

    Raises:
        UserError: there is no such cue, it has no such value, or the value is no text and no whole number.
    """
    for name, value in given.items():
        numbers = _numbers_of(name)
        if type(value) is not int and not isinstance(value, str):
            takes = numbers or "a text"
            raise UserError(f"the cue '{name}' takes {takes}, and this is {shortened(repr(value))}", f"write {takes}")
        if not numbers and len(str(value)) > LONGEST:
            raise UserError(f"the cue '{name}' is longer than {LONGEST} characters", "shorten it")
        check_cue(name, value)


@lru_cache(maxsize=4096, typed=True)
def check_cue(name: str, value: CueValue) -> None:
    """The same of one cue, however long it is: the rows of a corpus show few of them, many times over."""
    if (takes := _numbers_of(name)) and (type(value) is not int or value not in values_of(name)):
        raise UserError(f"the cue '{name}' takes {takes}", "choose one of these")
    refuse_half_characters([str(value)], f"the cue '{name}'")
    CUES[name].sentence(value)


def _numbers_of(name: str) -> str:
    """What a cue takes whose values are numbers, in words; nothing where they are texts.

    Raises:
        UserError: there is no such cue.
    """
    if name not in CUES:
        raise UserError(f"there is no cue called '{name}'; {nearest(name, CUES)}", "see `dormouse.CUES`")
    known = values_of(name)
    return f"a number from {known[0]} to {known[-1]}" if known and all(isinstance(one, int) for one in known) else ""
