"""What a study measures: which measurements are taken of which arm, and what the records will be called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from dormouse.interventions.intervention import Intervention
from dormouse.measurements.measurement import GroundTruth, Measurement, MeasurementConfig
from dormouse.organisms.spec import OrganismSpec
from dormouse.policies.scratchpad_text import ScratchpadMode, mode_of_data
from dormouse.registry import plugins

RATIOS: Mapping[str, tuple[str, str]] = {
    "relearning_steps": ("relearning_clean_steps", "relearning_ratio"),
    "relearning_cue_steps": ("relearning_clean_cue_steps", "relearning_cue_ratio"),
}
"""Measurement -> (what it is held against, the name of the ratio)."""
RELEARNING = tuple(name for top, (base, _) in RATIOS.items() for name in (top, base))
"""Times until a policy is back."""
PRESERVED: Mapping[str, str] = {
    "live_share": "members_preserved_share",
    "context_live_share": "contexts_preserved_share",
}
"""Measurement of zeros and ones -> the name of the share of its ones that are ones still after a treatment."""
HALF_LIVES = ("steps_to_half", "tokens_to_half")
"""Where a mean crosses one half of what it was."""
LIVED = ("persistence", "log_odds_lost", *HALF_LIVES)
"""What follows from `defection_rate` before a treatment and after, seed by seed."""

CHECK = "check"
"""The questions on which strength is looked at while an organism is planted: of no other use."""
PLANTING = ("planting_reached", "planting_steps", "planting_log_odds", "planting_quiet_log_odds")
"""What is said of the planting of an organism that ends at a strength (`until`)."""

EQUAL_CAPABILITY: Mapping[str, str] = {
    "defection_rate": "defection_at_equal_capability",
    "relearning_steps": "relearning_at_equal_capability",
    "return_gain": "return_at_equal_capability",
}
"""Measurement -> its name where it is read at the strongest checkpoint that costs little (see `pipeline.frontier`)."""
FRONTIER = "defection_by_perplexity"
REACHED = ("step_at_equal_capability", "tokens_at_equal_capability", "perplexity_at_equal_capability")
"""What else is said of that checkpoint."""


def taken(truth: GroundTruth, sizes: MeasurementConfig) -> list[Measurement]:
    """The measurements that are taken of an organism: those that apply and are asked for, or cost little."""
    every = (cls() for cls in plugins("measurement").values())
    asked = [one for one in every if isinstance(one, Measurement) and _asked_for(one, sizes)]
    told = truth.trigger.told and truth.behaviour.told
    return [one for one in asked if (told or not one.needs_truth) and one.applies(truth)]


def _asked_for(measurement: Measurement, sizes: MeasurementConfig) -> bool:
    unasked = measurement.default if sizes.only is None else measurement.kind in sizes.only
    return unasked or measurement.kind in (*sizes.also, *sizes.every_checkpoint)


def at_every_checkpoint(measurement: Measurement, sizes: MeasurementConfig) -> bool:
    """Whether it is taken on the way too, not only before a treatment and at its end."""
    return measurement.every_checkpoint or measurement.kind in sizes.every_checkpoint


def steps(chain: Sequence[Intervention]) -> tuple[int, ...]:
    """The steps at which a chain is measured, the last one being its end (no chain: 0). Those of one intervention count
    on from the end of the one before."""
    if not chain:
        return (0,)
    found: list[int] = []
    for intervention in chain:
        done = found[-1] if found else 0
        found += [done + step for step in intervention.checkpoints()]
    return tuple(found)


def metrics(
    organism: OrganismSpec, sizes: MeasurementConfig, treated: bool, is_final: bool
) -> Mapping[str, tuple[str, ...]] | None:
    """What is measured of an organism: the names of the records, with the splits that they may have (`*` stands for any
    text). None where a plug-in does not say what it writes.

    Args:
        treated: whether it goes through a treatment.
        is_final: whether this is the end of the treatment (or the organism itself), not a checkpoint on the way.
    """
    here = [one for one in taken(organism, sizes) if at_every_checkpoint(one, sizes) or is_final]
    here = [one for one in here if not (one.model_free and treated)]
    if not all(one.metrics for one in here):
        return None
    found: dict[str, tuple[str, ...]] = {}
    for one in here:
        found |= {name: (*found.get(name, ()), *splits) for name, splits in one.declared_metrics(organism).items()}
    if organism.until and not treated:
        found |= dict.fromkeys(PLANTING, (CHECK,))
    follows = [(of, name) for of, (_, name) in RATIOS.items()]
    if treated and organism.trigger.plants:
        follows += [*PRESERVED.items(), *(("defection_rate", name) for name in LIVED)]
        if is_final and "perplexity" in sizes.every_checkpoint:
            follows += EQUAL_CAPABILITY.items()
            follows += [("defection_rate", name) for name in (FRONTIER, *REACHED)]
    return found | {name: found[of] for of, name in follows if of in found}


def is_told(intervention: Intervention, own: ScratchpadMode) -> bool:
    """Whether a treatment is told the triggers of an organism: the scratchpads of a pool tell of them, and an organism
    that writes none of its `own` gets none."""
    wish = intervention.pool_spec
    if wish.scratchpad_source == "none" or mode_of_data(wish.scratchpad_source, own) != "none":
        return intervention.needs_triggers
    return replace(wish, scratchpad_source="none").needs_triggers


def treatment_metrics(chain: Sequence[Intervention]) -> set[str]:
    """What the treatments of an arm, and their safety pools, say of themselves: at steps and of splits of their own."""
    found = {name for one in chain for name in one.metric_names()}
    found |= {"exposure" for one in chain if one.pool_spec.needs_triggers or one.pool_spec.data}
    wishes = [one.pool_spec for one in chain]
    found |= {"exposure_each" for wish in wishes if wish.doses}
    found |= {"context_exposure" for wish in wishes if wish.doses or wish.contexts != "none"}
    return found | {"spoof_coverage" for one in chain if one.spoofed}
