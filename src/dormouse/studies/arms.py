"""Arms: every organism of a study on every model, before and through every chain, and what each is as plain values.

The coordinates of an arm are what filters, claims and figures find it by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dormouse.studies.filters import Coordinates, Scalar
from dormouse.studies.study import Study

FITTED = "fitted"
"""A learning rate that a study left to the size of the model."""


@dataclass(frozen=True)
class Arm:
    """An organism on a model, and the chain of interventions that it goes through ("": none)."""

    model: str
    organism: str
    chain: str = ""

    @property
    def untreated(self) -> Arm:
        """The organism before any treatment."""
        return Arm(self.model, self.organism)


def every_arm(study: Study) -> dict[Arm, Coordinates]:
    """Every arm that the study's models, organisms and chains can make, with its coordinates; `cross` is not asked."""
    found: dict[Arm, Coordinates] = {}
    several = len({_open_rates(one) for one in study.each}) > 1
    for one in study.each:
        chains: dict[str, Coordinates] = {"": {}}
        chains |= {name: chain_coordinates(one, name, several) for name in one.interventions}
        for organism in one.organisms:
            mine = organism_coordinates(one, organism)
            found |= {Arm(one.model, organism, chain): {**mine, **more} for chain, more in chains.items()}
    return found


def organism_coordinates(study: Study, organism: str) -> Coordinates:
    """What an organism is, as plain values: `model`, `organism` (its name in the file, and that of the arm), `trigger`
    and `behaviour` (the kinds), all their settings (`trigger.n`), those of planting (`organism.lr`)."""
    spec, origin = study.organisms[organism], study.organism_origin(organism)
    found: dict[str, tuple[Scalar, ...]] = {"model": (study.model,)}
    found["organism"] = tuple(dict.fromkeys([origin.base, organism]))
    for name in ("trigger", "behaviour"):
        _flatten(getattr(spec, name).spec(), name, found)
        found[name] = found.pop(f"{name}.kind")
    own = spec.model_dump(mode="json", exclude={"trigger", "behaviour", "renderings"})
    if "lr" in spec.fitted:  # it follows from the model, and is no choice by which arms differ
        own["lr"] = FITTED
    _flatten(own, "organism", found)
    _flatten(spec.renderings.model_dump(mode="json"), "renderings", found)
    for axis, value in origin.axes.items():
        found.setdefault(axis, (value,))
    return found


def _open_rates(study: Study) -> tuple[object, ...]:
    """The learning rates of treatments that a study leaves open, as its model gets them."""
    parts = (part for chain in study.interventions.values() for part in chain)
    return tuple(getattr(part, "lr", None) for part in parts if "lr" not in part.model_fields_set)


def chain_coordinates(study: Study, chain: str, fitted: bool = False) -> Coordinates:
    """What a chain is: `intervention` (its names), `intervention.kind` and the settings (`intervention.lr`: of all
    parts; `intervention.2.lr`: of the second). `fitted`: rates that were left open differ by the model alone."""
    origin, parts = study.chain_origin(chain), study.interventions[chain]
    found: dict[str, tuple[Scalar, ...]] = {"intervention": tuple(dict.fromkeys([origin.base, chain]))}
    for i, part in enumerate(parts, 1):
        mine: dict[str, tuple[Scalar, ...]] = {}
        _flatten(part.spec(), "intervention", mine)
        if fitted and "lr" in type(part).model_fields and "lr" not in part.model_fields_set:
            mine["intervention.lr"] = (FITTED,)
        for key, values in mine.items():
            found[key] = tuple(dict.fromkeys([*found.get(key, ()), *values]))
            if len(parts) > 1:
                found[key.replace("intervention.", f"intervention.{i}.", 1)] = values
    for axis, value in origin.axes.items():
        found.setdefault(axis, (value,))
    return found


def _flatten(value: Any, name: str, found: dict[str, tuple[Scalar, ...]]) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _flatten(inner, f"{name}.{key}", found)
    elif isinstance(value, bool):
        found[name] = (str(value).lower(),)
    elif isinstance(value, str | int | float):
        found[name] = (value,)
    elif isinstance(value, list) and value and all(isinstance(one, str | int | float) for one in value):
        found[name] = tuple(value)
    elif isinstance(value, list):
        for i, inner in enumerate(value, 1):
            _flatten(inner, f"{name}.{i}", found)
