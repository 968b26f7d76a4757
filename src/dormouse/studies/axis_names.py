"""What axes, and the values chosen from them, are called."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dormouse.studies.filters import as_number

Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Choice:
    """One value that was taken from an axis. `place` is the axis, inside its organism or chain."""

    place: Place
    index: int
    of: int
    label: str


def spoken(place: Place) -> str:
    """A place in a study as messages name it: `claims.1.where`. Entries are counted from 1."""
    return ".".join(str(part + 1 if isinstance(part, int) else part) for part in place)


def _axis_names(places: Sequence[Place]) -> dict[Place, str]:
    """The shortest name of each axis that tells it from the others: `n`, or `trigger.n` beside `behaviour.n`."""
    names = {}
    for place in places:
        words = [str(part) for part in _spoken(place)]
        others = [[str(part) for part in _spoken(other)] for other in places if other != place]
        ends = range(1, len(words) + 1)
        tail = next((end for end in ends if all(other[-end:] != words[-end:] for other in others)), len(words))
        names[place] = ".".join(words[-tail:])
    return names


def _spoken(place: Place) -> Place:
    """A place as a person says it: entries are counted from 1; a first entry alone is not counted."""
    spoken = tuple(part + 1 if isinstance(part, int) else part for part in place)
    return spoken[:-1] if len(spoken) > 1 and spoken[-1] == "kind" and isinstance(spoken[-2], str) else spoken


def _labels(options: Sequence[Any]) -> list[str]:
    """A short word for each value, fit for the name of a folder, no two alike."""
    plain = [_label(option) for option in options]
    said, times = list(plain), Counter(plain)
    for i, (option, label) in enumerate(zip(options, plain, strict=True)):
        if times[label] > 1:
            told = _differing(option, options) if isinstance(option, Mapping) else ""
            said[i] = f"{label}{told}" if told else f"{label}-{i + 1}"
    return said if len(set(said)) == len(said) else [f"{label}-{i}" for i, label in enumerate(said, 1)]


def _label(option: Any) -> str:
    if isinstance(option, Mapping):
        return _label(option["kind"]) if isinstance(option.get("kind"), str) else "set"
    if isinstance(option, list):
        return "-".join(map(_label, option))[:24] or "none"
    number = as_number(option)
    text = str(option) if number is None else f"{number:.12g}"
    return re.sub(r"[^A-Za-z0-9_.]+", "-", text).strip("-")[:24] or "x"


def _differing(option: Mapping[str, object], options: Sequence[Any]) -> str:
    """The plain values that tell this option from the others of its kind: `.from-2024`."""
    same = [one for one in options if isinstance(one, Mapping) and _label(one) == _label(option)]
    keys = [key for key in option if key != "kind" and not isinstance(option[key], list | Mapping)]
    return "".join(f".{key}-{_label(option[key])}" for key in keys if any(one.get(key) != option[key] for one in same))


def _axis(place: Place, group: str, value: Any) -> str:
    """The coordinate that an axis is: `trigger.n`, `organism.lr`, `intervention.lr`, `intervention.2.lr`."""
    if group == "organisms":
        words = [str(part) for part in _spoken(place)]
        return ".".join(words if words[0] in ("trigger", "behaviour", "renderings") else ["organism", *words])
    many = len(value) > 1 if isinstance(value, list) else False
    first, *rest = (*place, "kind") if len(place) == 1 else place
    if not isinstance(first, int):
        return "intervention"
    return ".".join(["intervention", *([str(first + 1)] if many else []), *map(str, _spoken(tuple(rest)))])


def _plain(choice: Choice, value: Any) -> str | int | float:
    """What was chosen, where it is one plain value; else its label."""
    for part in choice.place:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return choice.label
    return value if isinstance(value, str | int | float) and not isinstance(value, bool) else choice.label
