"""The base models that a study names."""

from __future__ import annotations

from dormouse.lm import zoo
from dormouse.organisms.micro import MICRO
from dormouse.studies.design import Design


def refuse_unknown_models(design: Design) -> None:
    """Refuse models that are none.

    Raises:
        UserError: one can neither be made here nor be found anywhere.
    """
    for model in design.models:
        if model not in MICRO:
            zoo.refuse_unknown(design.place(model), MICRO)
