"""Which arms of a study differ in their dose alone: how much of the pool shows activating cues."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dormouse.interventions.intervention import Intervention
from dormouse.json_files import Json
from dormouse.organisms.spec import OrganismSpec
from dormouse.policies.exposure import Exposure
from dormouse.studies.arms import Arm
from dormouse.studies.pairing import Origins

EACH = "ed50_each"
HALF = ("ed50", EACH)
EXPONENT = "carry_over_exponent"


CHOICES = ("organism.steps", "trigger.seed")
"""What may differ between organisms for the sake of the number of their triggers, and may be crossed with it too."""

ArmParts = tuple[OrganismSpec, tuple[Intervention, ...]]
"""What the organism of an arm is, and what it goes through."""


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


def dose_series(arms: Mapping[Arm, ArmParts], origins: Mapping[Arm, Origins]) -> list[Series]:
    """The series of a study with two doses at least. The dose is that of the one part of a chain that shows any.

    Args:
        origins: what the organism of each arm was made from.
    """
    doses: dict[tuple[str, str, str], dict[float, Arm]] = {}
    triggers: dict[tuple[str, str, str], float] = {}
    for arm, (organism, chain) in arms.items():
        if (place := _place(organism, chain)) and organism.trigger.plants:
            dose, of, treatment = place
            key = (arm.model, arm.organism, treatment)
            doses.setdefault(key, {})[dose], triggers[key] = arm, of
    whole = {key: dict(sorted(some.items())) for key, some in doses.items() if len(some) > 1}
    first = {key: next(iter(some.values())) for key, some in whole.items()}
    return [
        Series(some, triggers[key], _but_for_triggers(arms[first[key]][0], origins[first[key]]), key[2])
        for key, some in whole.items()
    ]


def growing(series: list[Series]) -> Iterator[list[Series]]:
    """Series that differ in the number of their triggers alone, two at least, from the fewest. None where two have the
    same number: they differ in something else."""
    alike: dict[tuple[str, str, str], list[Series]] = {}
    for one in series:
        alike.setdefault((one.end.model, one.organism, one.treatment), []).append(one)
    for found in alike.values():
        if len(found) > 1 and len({one.triggers for one in found}) == len(found):
            yield sorted(found, key=lambda one: one.triggers)


def _place(organism: OrganismSpec, chain: Sequence[Intervention]) -> tuple[float, float, str] | None:
    """The dose of an arm in total, from how many triggers, and what its treatment is beside."""
    showing = [i for i, part in enumerate(chain) if part.pool_spec.trigger_fraction]
    if len(showing) != 1 or chain[showing[0]].pool_spec.trigger_fraction == "natural":
        return None
    wish = chain[showing[0]].pool_spec
    exposure = Exposure(organism.trigger, wish.exposed_triggers)
    said = [
        {key: value for key, value in part.spec().items() if i not in showing or key != "trigger_fraction"}
        for i, part in enumerate(chain)
    ]
    dose = exposure.in_total(float(wish.trigger_fraction), wish.dose == "each")
    return dose, exposure.triggers, json.dumps(said, sort_keys=True)


def _but_for_triggers(organism: OrganismSpec, origins: Origins) -> str:
    """What an organism is, without how many triggers it has, and without how long it is planted, and how they are
    drawn, for that reason: where a study crosses these, they are choices of their own."""
    said: dict[str, Json] = organism.model_dump(mode="json", exclude={"trigger", "steps"})
    trigger = {key: value for key, value in organism.trigger.spec().items() if key not in ("n", "seed")}
    chosen = {axis: value for axis, value in origins["organism"].axes.items() if axis in CHOICES}
    return json.dumps([said, trigger, chosen], sort_keys=True)
