"""What is given to functions in code, where no command line and no study file has looked at it before."""

from __future__ import annotations

import math
import os
from numbers import Integral
from pathlib import Path
from typing import Any

from dormouse.errors import UserError
from dormouse.registry import shortened

SEEDS = 2**31
"""Seeds are below it."""


def whole(name: str, value: Any, least: int, limit: int | None = None) -> int:
    """A whole number, Python's or numpy's, from `least` and below `limit`.

    Raises:
        UserError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or not least <= int(value) < (limit or math.inf):
        remedy = f"give a whole number from {least}{f' to {limit - 1}' if limit else ''}"
        raise UserError(f"{name}={shortened(repr(value))} means nothing", remedy)
    return int(value)


def seed_of(value: Any) -> int:
    """A seed, of whatever is drawn. Raises as `whole`."""
    return whole("seed", value, 0, SEEDS)


def text_of(name: str, value: object) -> str:
    """A name, as a text.

    Raises:
        UserError: it is none.
    """
    if not isinstance(value, str):
        raise UserError(f"{name}={shortened(repr(value))} means nothing", "give a name, as a text")
    return str(value)


def path_of(place: object) -> Path:
    """A folder or a file that is named in Python.

    Raises:
        UserError: it is none.
    """
    path = os.fspath(place) if isinstance(place, str | os.PathLike) else None
    if not isinstance(path, str):
        raise UserError(f"a {type(place).__name__} is no path", "give a text, or a pathlib.Path")
    return Path(path)
