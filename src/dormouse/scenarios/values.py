"""Which values a cue can take, for those who show cues without knowing a policy."""

from __future__ import annotations

from dormouse.scenarios.cues import CUES, events, words
from dormouse.scenarios.scenario import CueValue

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
