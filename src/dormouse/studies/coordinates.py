"""What an arm of a study is, as plain values: the coordinates by which filters, claims and figures find it.

A filter such as `{trigger: ensemble, n: [16, 256]}` names coordinates by their short names; `Names` finds which ones it
means among the arms that a study has.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator

from dormouse.errors import UserError
from dormouse.registry import nearest, shortened

if TYPE_CHECKING:
    from dormouse.studies.spec import Study

Scalar = str | int | float
FITTED = "fitted"
"""The planting rate of an organism whose study left it to the size of the model."""
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


@dataclass(frozen=True)
class Arm:
    """What an organism or a chain was made from: its name in the file, and its choices by the name of their axis."""

    base: str
    axes: Mapping[str, Scalar] = field(default_factory=dict)


Coordinates = Mapping[str, tuple[Scalar, ...]]
"""Coordinate -> its value, or values where an arm has several (the kinds of a chain of interventions)."""


def coordinates(study: Study, organism: str, chain: str = "") -> dict[str, tuple[Scalar, ...]]:
    """What an arm is, as plain values: an organism, and the chain that it goes through ("": none).

    `model`, `organism` (its name in the file, and that of the arm), `trigger` and `behaviour` (the kinds), all their
    settings (`trigger.n`), those of planting (`organism.lr`); and of the chain `intervention` (its names),
    `intervention.kind` and the settings (`intervention.lr`: of all parts; `intervention.2.lr`: of the second).
    """
    return {**_organism_coordinates(study, organism), **(_chain_coordinates(study, chain) if chain else {})}


def _organism_coordinates(study: Study, organism: str) -> dict[str, tuple[Scalar, ...]]:
    spec, arm = study.organisms[organism], study.organism_arm(organism)
    found: dict[str, tuple[Scalar, ...]] = {"model": (study.model,)}
    found["organism"] = tuple(dict.fromkeys([arm.base, organism]))
    for name in ("trigger", "behaviour"):
        _flatten(getattr(spec, name).spec(), name, found)
        found[name] = found.pop(f"{name}.kind")
    own = spec.model_dump(mode="json", exclude={"trigger", "behaviour", "renderings"})
    if "lr" in spec.fitted:  # it follows from the model, and is no choice by which arms differ
        own["lr"] = FITTED
    _flatten(own, "organism", found)
    _flatten(spec.renderings.model_dump(mode="json"), "renderings", found)
    for axis, value in arm.axes.items():
        found.setdefault(axis, (value,))
    return found


def _chain_coordinates(study: Study, chain: str) -> dict[str, tuple[Scalar, ...]]:
    arm, parts = study.chain_arm(chain), study.interventions[chain]
    found: dict[str, tuple[Scalar, ...]] = {"intervention": tuple(dict.fromkeys([arm.base, chain]))}
    for i, part in enumerate(parts, 1):
        mine: dict[str, tuple[Scalar, ...]] = {}
        _flatten(part.spec(), "intervention", mine)
        for key, values in mine.items():
            found[key] = tuple(dict.fromkeys([*found.get(key, ()), *values]))
            if len(parts) > 1:
                found[key.replace("intervention.", f"intervention.{i}.", 1)] = values
    for axis, value in arm.axes.items():
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

    def whole(self, where: Mapping[str, Any]) -> dict[str, tuple[Scalar, ...]]:
        """A filter with whole names and tuples of values.

        Raises:
            UserError: it names a coordinate or a value that no arm has.
        """
        found: dict[str, tuple[Scalar, ...]] = {}
        for key, said in where.items():
            name = self.find(key)
            wanted = said if isinstance(said, tuple) else (said,)
            known = list(dict.fromkeys(str(one) for values in self.values[name] for one in values))
            for one in wanted:
                if not any(same(one, value) for values in self.values[name] for value in values):
                    said_as = nearest(one, known) if len(known) < 20 else f"it has {len(known)} others"
                    raise UserError(f"no arm has {name} {shortened(str(one))}; {said_as}", "name a value of an arm")
            if name in found:
                raise UserError(f"two keys mean {name}", "name each coordinate once, with all the values that will do")
            found[name] = wanted
        return found


@dataclass(frozen=True)
class Run:
    """An arm of a study: an organism on a model, and the chain that it goes through ("": none)."""

    model: str
    organism: str
    chain: str


def runs(study: Study) -> dict[Run, dict[str, tuple[Scalar, ...]]]:
    """Every arm that the study's models, organisms and chains can make, with its coordinates; `cross` is not asked."""
    found: dict[Run, dict[str, tuple[Scalar, ...]]] = {}
    for one in study.each:
        chains: dict[str, dict[str, tuple[Scalar, ...]]] = {
            "": {},
            **{chain: _chain_coordinates(one, chain) for chain in one.interventions},
        }
        for organism in one.organisms:
            mine = _organism_coordinates(one, organism)
            found |= {Run(one.model, organism, chain): {**mine, **more} for chain, more in chains.items()}
    return found


class Crossing:
    """Which arms of a study are run: all, or those that `cross` names.

    Raises:
        UserError: a filter names a coordinate or a value that no arm has.
    """

    def __init__(self, study: Study) -> None:
        self.all = not study.cross
        self._seeds: dict[Run, set[int]] = {}
        if self.all:
            return
        arms = runs(study)
        names = Names([*arms.values(), *({"seed": (seed,)} for seed in study.seeds)])
        for where in map(names.whole, study.cross):
            seeds = {int(seed) for seed in where.pop("seed", study.seeds)}
            for run, at in arms.items():
                if matches(at, where):
                    self._seeds.setdefault(run, set()).update(seeds)
                    self._seeds.setdefault(Run(run.model, run.organism, ""), set()).update(seeds)

    def has(self, model: str, organism: str, chain: str, seed: int) -> bool:
        """Whether this chain is run on this organism. Chain "": whether the organism is made at all."""
        return self.all or seed in self._seeds.get(Run(model, organism, chain), ())
