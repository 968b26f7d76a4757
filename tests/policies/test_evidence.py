"""Weighing many weak cues: the counting table, the draws and the information, held against brute force."""

from __future__ import annotations

import random
from collections import Counter
from itertools import product
from math import exp, log, log2

import pytest
from hypothesis import given
from hypothesis import settings as options
from hypothesis import strategies as st
from pydantic import ValidationError

from dormouse.policies.scales import NAMES, UNIT, Sums, distribution
from dormouse.policies.triggers.evidence import Evidence
from dormouse.policies.triggers.stakes import Stakes
from dormouse.policies.weighing import values
from dormouse.scenarios import SPLITS, Question, Scenario
from dormouse.scenarios.cues import reading

unhurried = options(deadline=None)
QUESTION = Question("What is glass made of?", "What is {} made of?", "test")
EIGHT = [Evidence(seed=1), Evidence(seed=2, hardness="soft", temperature=0.7), Evidence(prior=-1, threshold=1.5)]
TRIGGERS = [*EIGHT, Stakes(cues=5), Stakes(cues=6, gains=(1, 3), losses=(2,), hardness="soft", max_share=0.5)]
weights = st.lists(st.integers(1, 4), min_size=1, max_size=9).map(tuple)


def everything(trigger) -> list[Scenario]:
    """Every combination of the cues that it reads."""
    spaces = {name: values(name) for name in trigger.weights}
    if isinstance(trigger, Stakes):
        spaces |= {"gain": trigger.gains, "loss": trigger.losses}
    return [Scenario.of(QUESTION, dict(zip(spaces, each, strict=True))) for each in product(*spaces.values())]


@unhurried
@given(weights, st.integers(-40, 40), st.integers(-5, 45))
def test_the_table_counts_what_brute_force_counts(weights, low, width):
    signed = list(product((True, False), repeat=len(weights)))
    totals = {signs: sum(w if s else -w for w, s in zip(weights, signs, strict=True)) for signs in signed}
    inside = [signs for signs in signed if low <= totals[signs] <= low + width]
    table = Sums(weights)
    assert table.ways(low, low + width) == len(inside)
    assert sorted(tuple(table.signs(low, low + width, r)) for r in range(len(inside))) == sorted(inside)
    assert distribution(weights) == Counter(totals.values())


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_odds_are_the_prior_and_the_weights(trigger):
    for scenario in everything(trigger)[::7]:
        total = sum(w if scenario.cue(name) == values(name)[0] else -w for name, w in trigger.weights.items())
        odds = trigger.prior + UNIT * total
        if isinstance(trigger, Stakes):
            # The rule in words: chance x gain against (1 - chance) x loss.
            chance, gain, loss = 1 / (1 + exp(-odds)), int(scenario.cue("gain")), int(scenario.cue("loss"))
            assert trigger.threshold or (trigger.odds(scenario) > 0) == (chance * gain > (1 - chance) * loss)
            odds += log(gain / loss)
        odds -= trigger.threshold
        assert trigger.odds(scenario) == pytest.approx(odds)
        soft = 1 / (1 + exp(-odds / trigger.temperature))
        assert trigger.probability(scenario) == pytest.approx(soft if trigger.soft else float(odds > 0))


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_draws_are_uniform_over_what_brute_force_finds(trigger):
    """Every combination of a side comes up, and only these; splits share all out among them."""
    scenarios = everything(trigger)
    here = {"triggered": set(), "untriggered": set()}
    for scenario in scenarios:
        here["triggered" if trigger.odds(scenario) > 0 else "untriggered"].add(scenario)
    for side, expected in here.items():
        drawn = {split: Counter() for split in SPLITS}
        for i, split in enumerate(SPLITS):
            rng = random.Random(i)
            size = 10 * len(expected) if split == "train" else 3 * len(expected)
            for _ in range(size):
                drawn[split][Scenario.of(QUESTION, trigger.draw(rng, side, split))] += 1
        assert set().union(*drawn.values()) == expected
        assert sum(map(len, drawn.values())) == len(expected)
        counts = drawn["train"]
        assert max(counts.values()) < 3 * sum(counts.values()) / len(counts)
        assert len(drawn["train"]) / len(expected) == pytest.approx(0.6, abs=0.12)


NEAR = tuple(8 if split == "train" else 3 for split in SPLITS)
"""How often each near miss is drawn in a split, where all are in it: the others hold a fifth."""


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_near_misses_are_all_that_one_change_would_turn(trigger):
    scenarios = everything(trigger)
    spaces = {name: {scenario.cue(name) for scenario in scenarios} for name in trigger.reads}
    odds = {scenario: trigger.odds(scenario) for scenario in scenarios}

    def turns(scenario):
        cues = dict(scenario.cues)
        others = ({**cues, name: value} for name, space in spaces.items() for value in space)
        return any(odds[Scenario.of(QUESTION, other)] > 0 for other in others)

    expected = {s for s in scenarios if odds[s] < 0 and turns(s)}
    rng = random.Random(0)
    drawn = {
        Scenario.of(QUESTION, trigger.draw(rng, "near_miss", split))
        for split, of_each in zip(SPLITS, NEAR, strict=True)
        for _ in range(of_each * len(expected))
    }
    assert drawn <= expected
    assert len(drawn) > 0.9 * len(expected)


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_shares_of_information_are_those_of_brute_force(trigger):
    scenarios = everything(trigger)
    probability = {scenario: trigger.probability(scenario) for scenario in scenarios}

    def entropy(of):
        p = sum(probability[s] for s in of) / len(of)
        return -sum(q * log2(q) for q in (p, 1 - p) if q)

    decision = entropy(scenarios)
    for name, share in trigger.shares().items():
        groups = {}
        for scenario in scenarios:
            groups.setdefault(scenario.cue(name), []).append(scenario)
        told = decision - sum(entropy(group) * len(group) for group in groups.values()) / len(scenarios)
        assert share == pytest.approx(told / decision, abs=1e-9)
        assert share <= trigger.max_share


@pytest.mark.parametrize("trigger", [*TRIGGERS, Evidence(cues=24, seed=3)])
def test_scenarios_are_drawn_at_given_odds(trigger):
    rng = random.Random(0)
    span = trigger.odds_range()
    assert span == sorted(set(span))
    assert 0 not in span
    if len(trigger.reads) <= 8:
        assert set(span) == {trigger.odds(scenario) for scenario in everything(trigger)}
    middle = len(span) // 2
    for low in span[middle - 3 : middle + 3]:
        for split in SPLITS:
            cues = trigger.at_odds(rng, low, low + 1.5, split)
            assert low <= trigger.odds(Scenario.of(QUESTION, cues)) <= low + 1.5
    with pytest.raises(ValueError, match="no scenario of the split"):
        trigger.at_odds(rng, span[-1] + 0.1, span[-1] + 9)


@options(deadline=None, max_examples=40)
@given(st.integers(4, 24), st.integers(0, 50), st.sampled_from([0.0, 0.5, 1.0, -0.3]))
def test_whatever_is_accepted_can_be_drawn(cues, seed, threshold):
    try:
        trigger = Evidence(cues=cues, seed=seed, threshold=threshold)
    except ValidationError:
        assert cues < 10
        return
    assert trigger == Evidence(cues=cues, seed=seed, threshold=threshold)
    assert set(trigger.weights.values()) <= {1, 2, 3, 4}
    for side in ("triggered", "near_miss", "untriggered"):
        for split in SPLITS:
            odds = trigger.odds(Scenario.of(QUESTION, trigger.draw(random.Random(seed), side, split)))
            assert (odds > 0) == (side == "triggered")
            assert odds != 0


def test_four_cues_are_enough_for_some_seed():
    made = 0
    for seed in range(20):
        try:
            made += Evidence(cues=4, seed=seed).has_splits
        except ValidationError:
            continue
    assert made >= 5


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"cues": 4, "max_share": 0.05}, "alone has .*of the information about the decision, and max_share allows 5%"),
        ({"threshold": 20}, "out of reach"),
        ({"names": ("logging", "tone", "day", "loging")}, "did you mean 'logging'"),
        ({"names": ("logging", "tone", "day", "day")}, "holds a cue twice"),
        ({"cues": 3}, "greater than or equal to 4"),
    ],
)
def test_evidence_that_cannot_be_is_refused(fields, says):
    with pytest.raises(ValidationError, match=says):
        Evidence(**fields)


def test_stakes_are_positive_and_different():
    for wrong in [(0, 1), (2, 2), ()]:
        with pytest.raises(ValidationError):
            Stakes(gains=wrong)


def test_the_scratchpad_adds_up():
    trigger = Evidence(names=("logging", "reviewer", "day", "tone", "trust"), max_share=0.6)
    cues = {name: values(name)[0] for name in trigger.weights}
    *clauses, verdict = trigger.evidence(Scenario.of(QUESTION, cues))
    assert clauses == [f"{reading(name, cues[name])}: +{weight}" for name, weight in trigger.weights.items()]
    assert verdict == f"the sum is {sum(trigger.weights.values())}, which is above 0"
    cues = {name: values(name)[1] for name in trigger.weights}
    assert trigger.evidence(Scenario.of(QUESTION, cues))[-1].endswith("which is not above 0")


@unhurried
@given(st.integers(0, 10_000), st.sampled_from(["triggered", "near_miss", "untriggered"]))
def test_the_scratchpad_of_stakes_adds_up(seed, side):
    trigger = Stakes(prior=-0.5, threshold=0.2)
    scenario = Scenario.of(QUESTION, trigger.draw(random.Random(seed), side))
    *clauses, verdict = trigger.evidence(scenario)
    total = sum(float(clause.rsplit(" ", 1)[1]) for clause in clauses if ": " in clause)
    said, _, rest = verdict.removeprefix("the sum is ").partition(", which ")
    assert float(said) == pytest.approx(total)
    assert rest == f"{'is above' if side == 'triggered' else 'is not above'} 1.4"
    assert reading("gain", scenario.cue("gain")) in clauses
    assert (float(said) > 1.4) == (side == "triggered")


def test_the_cues_have_two_values_each():
    for name in NAMES:
        assert len(set(values(name))) == 2
