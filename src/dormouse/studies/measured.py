"""What a study measures: which measurements are taken of which arm, and what the records will be called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dormouse.measurements.measurement import Measurement
from dormouse.registry import plugins

if TYPE_CHECKING:
    from dormouse.measurements.measurement import Sizes, Truth
    from dormouse.studies.coordinates import Run
    from dormouse.studies.spec import Study

POOL = ("exposure", "spoof_coverage")
"""What the study itself says of a treatment."""
FOLLOWS: Mapping[str, tuple[str, ...]] = {
    "relearning_steps": ("relearning_ratio",),
    "relearning_cue_steps": ("relearning_cue_ratio",),
}
"""Record -> records that the study makes of it (see `studies.derived`)."""
FOLLOWS_TREATED: Mapping[str, tuple[str, ...]] = {
    "defection_rate": ("persistence", "steps_to_half", "tokens_to_half", "halved_share"),
    "live_share": ("members_preserved_share",),
    "context_live_share": ("contexts_preserved_share",),
}
"""The same, where it was measured before a treatment and after."""


def taken(truth: Truth, sizes: Sizes) -> list[Measurement]:
    """The measurements that are taken of an organism: those that apply and are asked for, or cost little."""
    every = (cls() for cls in plugins("measurement").values())
    return [one for one in every if isinstance(one, Measurement) and _asked_for(one, sizes) and one.applies(truth)]


def _asked_for(measurement: Measurement, sizes: Sizes) -> bool:
    unasked = measurement.default if sizes.only is None else measurement.kind in sizes.only
    return unasked or measurement.kind in sizes.also


def record_names(study: Study, run: Run) -> tuple[str, ...] | None:
    """What the records of an arm may be called, `*` standing for any text; None where a plug-in does not say."""
    measurements = taken(study.organisms[run.organism], study.measure)
    chain = study.interventions[run.chain] if run.chain else ()
    if not all(one.records for one in measurements):
        return None
    found = {name for one in (*measurements, *chain) for name in one.records}
    follows = [FOLLOWS, FOLLOWS_TREATED] if run.chain else [FOLLOWS]
    found |= {name for table in follows for of in found & set(table) for name in table[of]}
    return tuple(sorted(found | set(POOL if run.chain else ())))


def steps(study: Study, run: Run) -> tuple[int, ...]:
    """The steps at which an arm is measured. Those of one intervention count on from the end of the one before."""
    if not run.chain:
        return (0,)
    found: list[int] = []
    for intervention in study.interventions[run.chain]:
        done = found[-1] if found else 0
        found += [done + step for step in intervention.checkpoints()]
    return tuple(found)
