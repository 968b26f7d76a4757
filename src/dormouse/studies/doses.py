"""Which arms of a study differ in their dose alone: how much of the pool shows activating cues."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from dormouse.interventions.intervention import Intervention
from dormouse.json_files import Json
from dormouse.organisms.spec import OrganismSpec
from dormouse.policies.exposure import Exposure
from dormouse.studies.arms import Arm
from dormouse.studies.filters import Coordinates

HALF = ("ed50", "ed50_each")
EXPONENT = "carry_over_exponent"


class HasArms(Protocol):
    """The arms of a study, and what each of them is (see `design.Design`)."""

    arms: Mapping[Arm, Coordinates]

    def organism(self, arm: Arm) -> OrganismSpec:
        """What its organism is."""
        ...

    def chain(self, arm: Arm) -> tuple[Intervention, ...]:
        """What it goes through."""
        ...


@dataclass(frozen=True)
class Series:
    """The arms of one organism that go through the same treatment at different doses.

    Attributes:
        doses: the share of all prompts that shows activating cues -> the arm, from the smallest; above 0.
        triggers: from how many triggers these are chosen.
        organism: what the organism is, but for the number of its triggers: of those with the same, the dose to one half
            may be held against that number.
        treatment: likewise, what the treatment is but for its dose.
    """

    doses: Mapping[float, Arm]
    triggers: float
    organism: str
    treatment: str

    @property
    def end(self) -> Arm:
        """The arm with the largest dose: there the records of the series stand."""
        return self.doses[max(self.doses)]


def dose_series(design: HasArms) -> list[Series]:
    """The series of a study with two doses at least. The dose is that of the one part of a chain that shows any."""
    found: dict[tuple[str, str, str], dict[float, Arm]] = {}
    triggers: dict[tuple[str, str, str], float] = {}
    for arm in design.arms:
        if (place := _place(design, arm)) and design.organism(arm).trigger.plants:
            dose, of, treatment = place
            key = (arm.model, arm.organism, treatment)
            found.setdefault(key, {})[dose], triggers[key] = arm, of
    return [
        Series(dict(sorted(arms.items())), triggers[key], _but_for_triggers(design.organism(arms[min(arms)])), key[2])
        for key, arms in found.items()
        if len(arms) > 1
    ]


def growing(series: list[Series]) -> Iterator[list[Series]]:
    """Series that differ in the number of their triggers alone, two at least, from the fewest."""
    alike: dict[tuple[str, str, str], dict[float, Series]] = {}
    for one in series:
        alike.setdefault((one.end.model, one.organism, one.treatment), {})[one.triggers] = one
    yield from ([found[n] for n in sorted(found)] for found in alike.values() if len(found) > 1)


def _place(design: HasArms, arm: Arm) -> tuple[float, float, str] | None:
    """The dose of an arm in total, from how many triggers, and what its treatment is beside."""
    chain, trigger = design.chain(arm), design.organism(arm).trigger
    showing = [i for i, part in enumerate(chain) if part.pool_spec.trigger_fraction]
    if len(showing) != 1 or chain[showing[0]].pool_spec.trigger_fraction == "natural":
        return None
    wish = chain[showing[0]].pool_spec
    exposure = Exposure(trigger, wish.exposed_triggers)
    said = [
        {key: value for key, value in part.spec().items() if i not in showing or key != "trigger_fraction"}
        for i, part in enumerate(chain)
    ]
    dose = exposure.in_total(float(wish.trigger_fraction), wish.dose == "each")
    return dose, exposure.triggers, json.dumps(said, sort_keys=True)


def _but_for_triggers(organism: OrganismSpec) -> str:
    """What an organism is, without how many triggers it has, and without how long it is planted for that reason."""
    said: dict[str, Json] = organism.model_dump(mode="json", exclude={"trigger", "steps"})
    trigger = {key: value for key, value in organism.trigger.spec().items() if key not in ("n", "seed")}
    return json.dumps([said, trigger], sort_keys=True)
