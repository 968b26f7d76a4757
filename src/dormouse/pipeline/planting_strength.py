"""How strong an organism is while it is planted, and what is said of it afterwards."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from dormouse.interventions.findings import SAMPLES, Finding
from dormouse.json_files import read_json_lines
from dormouse.measurements.measurement import MeasurementConfig, StepSample, Subject
from dormouse.measurements.stats import log_odds
from dormouse.organisms.spec import OrganismSpec
from dormouse.pipeline.plan import Plan
from dormouse.records import ModelRef
from dormouse.scenarios import Question
from dormouse.store import Store
from dormouse.studies.expected import CHECK, PLANTING

if TYPE_CHECKING:
    from dormouse.lm.model import LM
    from dormouse.lm.sample import Completion
    from dormouse.organisms.matched import Check, Planted, Strength


def strength_of(
    spec: OrganismSpec, base: ModelRef, questions: Sequence[Question], honest: Mapping[str, Completion], seed: int
) -> Check:
    """How strong a model is on some questions: mean log-odds of the exact probability, cues drawn as for the rates.

    A model that writes a scratchpad samples one for each question, the same way at every look.
    """
    from dormouse.organisms.matched import Strength

    def look(lm: LM) -> Strength:
        """The strength of this model, in the type in which it is trained."""
        subject = Subject(
            lm=lm,
            model=base,
            clean=base,
            clean_logprobs={},
            trigger=spec.trigger,
            behaviour=spec.behaviour,
            questions=tuple(questions),
            honest=honest,
            seed=seed,
            sizes=MeasurementConfig(),
            renderings=spec.renderings,
            scratchpad_mode=spec.scratchpad_mode,
        )
        on, off = (subject.exact(subject.scenarios(side)) for side in ("triggered", "untriggered"))
        return Strength(fmean(map(log_odds, on)), fmean(map(log_odds, off)))

    return look


def too_weak(plan: Plan, store: Store, lost: Collection[str]) -> list[tuple[str, str]]:
    """(organism, what is to be known): where planting ended before it was as strong as was asked for."""
    found = []
    for state in plan.states:
        until = plan.design.organism(plan.arm(state)).until
        if until is None or state.intervention or state.stage.key in lost:
            continue
        values = {
            one.measurement: one.values[0] for one in read_json_lines(state.stage.folder(store) / SAMPLES, StepSample)
        }
        reached, steps, on, off = (values[name] for name in PLANTING)
        if not reached:
            wanted = f"(wanted: {until.log_odds:g} or more, {-until.log_odds:g} or less)"
            strong = f"log-odds of {on:.1f} with the cue and {off:.1f} without it {wanted}"
            found.append((state.organism, f"Seed {state.seed}: planting ended after {steps:.0f} steps at {strong}."))
    return found


def said(spec: OrganismSpec, planted: Planted) -> list[Finding]:
    """What the records of an organism say of its planting: how it ended, after how many steps, how strong it is."""
    strength, reached = planted.strength, bool(spec.until and planted.strength.reaches(spec.until))
    values = (float(reached), float(planted.steps), strength.triggered, strength.untriggered)
    return [
        Finding(name, 0, {"planting": value}, "mean" if name == PLANTING[0] else "number", CHECK)
        for name, value in zip(PLANTING, values, strict=True)
    ]
