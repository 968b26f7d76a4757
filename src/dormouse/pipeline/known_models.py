"""The models and adapters that a study names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from dormouse.errors import UserError
from dormouse.lm import zoo
from dormouse.organisms.micro import MICRO
from dormouse.studies.axis_names import Place
from dormouse.studies.design import Design


def refuse_unknown_models(design: Design) -> None:
    """Refuse models that are none, and organisms made elsewhere that are nowhere.

    Raises:
        UserError: one can neither be made here nor be found anywhere.
    """
    for i, model in enumerate(design.models):
        if model not in MICRO:
            key: Place = ("model", i) if len(design.models) > 1 else ("model",)
            _refuse(design, key, design.place(model), "model", MICRO)
    for study in design.study.each:
        for name, organism in study.organisms.items():
            place = ("organisms", study.organism_origin(name).base)
            if organism.model:
                _refuse(design, (*place, "model"), organism.model, "model")
            for adapter in organism.adapter:
                _refuse(design, (*place, "adapter"), adapter, "adapter")


def _refuse(
    design: Design, place: Place, name: str, what: Literal["model", "adapter"], others: Iterable[str] = ()
) -> None:
    try:
        zoo.refuse_unknown(name, others, design.study.folder, what)
    except UserError as error:
        raise design.at(place, error) from error
