"""Several base models of one kind: `bases: 3`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dormouse.organisms.micro import MICRO, base_name
from dormouse.studies.grid import GridError

MOST_BASES = 100


def with_bases(given: Mapping[str, Any], default: str) -> Mapping[str, Any]:
    """A study as it was given, with the names of all of its bases in the place of one.

    Args:
        default: the model of a study that names none.

    Raises:
        GridError: its model is none that dormouse makes, or already one of several.
    """
    many, model = given.get("bases"), given.get("model", default)
    if not isinstance(many, int) or isinstance(many, bool) or not 1 < many <= MOST_BASES:
        return given
    if isinstance(model, list | tuple):
        raise GridError(("bases",), "several models are named already", "name every base in `model`, or one model")
    if not isinstance(model, str) or model not in MICRO or "@" in model:
        what = f"'{model}' is one model, however often it is named"
        raise GridError(("bases",), what, "take a micro model, or name the models of several trainings in `model`")
    return {**given, "model": [base_name(model, number) for number in range(many)]}
