"""Filters on the arms of a study: `{trigger: ensemble, n: [16, 256]}` names coordinates by short names, and values.

`Names` finds which coordinates a filter means among those that the arms have.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator

from dormouse.errors import UserError
from dormouse.registry import nearest, shortened
from dormouse.studies.old_names import arm_now, name_now

Scalar = str | int | float
MOST_VALUES = 100


def as_filter(said: Any) -> dict[str, Scalar | tuple[Scalar, ...]]:
    """A filter as a study file says it, with its lists as tuples.

    Raises:
        ValueError: it is no mapping from coordinates to plain values or lists of them.
    """
    if not isinstance(said, Mapping) or not 0 < len(said) <= MOST_VALUES:
        raise ValueError("arms are named by what they are: {coordinate: value, ...}, such as {trigger: token}")
    found: dict[str, Scalar | tuple[Scalar, ...]] = {}
    for key, value in said.items():
        several = value if isinstance(value, list | tuple) else [value]
        plain = all(isinstance(one, str | int | float) and not isinstance(one, bool) for one in several)
        finite = all(math.isfinite(one) for one in several if isinstance(one, float))
        if not (isinstance(key, str) and plain and finite and 0 < len(several) <= MOST_VALUES):
            raise ValueError(f"{shortened(str(key))}: one plain value is wanted, or a list of them")
        found[key] = tuple(several) if isinstance(value, list | tuple) else value
    return found


Where = Annotated[dict[str, Any], BeforeValidator(as_filter)]
"""A filter on arms: coordinate -> the value wanted, or any of several."""


Coordinates = Mapping[str, tuple[Scalar, ...]]
"""Coordinate -> its value, or values where an arm has several (the kinds of a chain of interventions)."""


def same(one: Scalar, other: Scalar) -> bool:
    """Whether two values are the same: numbers as numbers (0 and 0.0, 1e-3 and 0.001), all else letter by letter."""
    a, b = as_number(one), as_number(other)
    return str(one) == str(other) if a is None or b is None else a == b


def as_number(value: Any) -> float | None:
    """A value as a number, if it is one: YAML takes 1e-3 for a word."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def matches(coordinates: Coordinates, where: Mapping[str, Sequence[Scalar]]) -> bool:
    """Whether an arm has one of the wanted values at every coordinate of a filter (made whole by `Names.whole`)."""
    return all(any(same(a, b) for a in coordinates.get(key, ()) for b in wanted) for key, wanted in where.items())


def _as_named(value: Scalar, known: Sequence[str]) -> Scalar:
    """A value of a filter; an arm of a grid may be named as an older version named it."""
    return now if isinstance(value, str) and value not in known and (now := arm_now(value)) in known else value


class Names:
    """The coordinates of all arms of a study, to find out which ones a filter means."""

    def __init__(self, arms: Sequence[Coordinates]) -> None:
        self.values: dict[str, dict[tuple[Scalar, ...], None]] = {}
        for arm in arms:
            for key, values in arm.items():
                self.values.setdefault(key, {})[values] = None

    def find(self, key: str) -> str:
        """The whole name of a coordinate. A short one (`n`) is one that ends so (`trigger.n`); where several do, the
        only one that differs among the arms.

        Raises:
            UserError: none ends so, or several that differ.
        """
        if key in self.values:
            return key
        found = [name for name in self.values if name.endswith(f".{key}")]
        counted = [name for name in found if re.fullmatch(r"intervention\.\d+\..+", name)]
        found = [name for name in found if name not in counted] or found
        if len(found) > 1:
            found = [name for name in found if len(self.values[name]) > 1] or found
        if len(found) == 1:
            return found[0]
        if not found and (now := name_now(key)) != key:
            return self.find(now)
        if found:
            several = " or ".join(sorted(found))
            raise UserError(f"'{shortened(key)}' may be {several}", "write the whole name")
        short = {name.rpartition(".")[2] for name in self.values}
        hint = nearest(key, sorted({*self.values, *short}))
        if hint.startswith("known"):
            hint = f"known are {', '.join(sorted(short)[:30])}"
        raise UserError(
            f"no arm has a coordinate called '{shortened(key)}'; {hint}",
            "name what the arms of the study have: their kinds and their settings",
        )

    def whole(self, where: Mapping[str, object]) -> dict[str, tuple[Scalar, ...]]:
        """A filter with whole names and tuples of values.

        Raises:
            UserError: it names a coordinate or a value that no arm has.
        """
        found: dict[str, tuple[Scalar, ...]] = {}
        for key, said in where.items():
            name = self.find(key)
            known = list(dict.fromkeys(str(one) for values in self.values[name] for one in values))
            wanted = tuple(_as_named(one, known) for one in (said if isinstance(said, tuple) else (said,)))
            for one in wanted:
                if not any(same(one, value) for values in self.values[name] for value in values):
                    said_as = nearest(one, known) if len(known) < 20 else f"it has {len(known)} others"
                    raise UserError(f"no arm has {name} {shortened(str(one))}; {said_as}", "name a value of an arm")
            if name in found:
                raise UserError(f"two keys mean {name}", "name each coordinate once, with all the values that will do")
            found[name] = wanted
        return found
