"""The models and adapters that a study names."""

from __future__ import annotations

from dormouse.lm import zoo
from dormouse.organisms.micro import MICRO
from dormouse.studies.design import Design


def refuse_unknown_models(design: Design) -> None:
    """Refuse models that are none, and organisms made elsewhere that are nowhere.

    Raises:
        UserError: one can neither be made here nor be found anywhere.
    """
    for model in design.models:
        if model not in MICRO:
            zoo.refuse_unknown(design.place(model), MICRO, design.study.folder)
    for study in design.study.each:
        for organism in study.organisms.values():
            if organism.model:
                zoo.refuse_unknown(organism.model, folder=design.study.folder)
            for adapter in organism.adapter:
                zoo.refuse_unknown(adapter, folder=design.study.folder, what="adapter")
