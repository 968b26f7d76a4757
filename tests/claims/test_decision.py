"""From effects to outcomes: what is said of the sign is held to all that a verdict is."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from scipy.stats import norm

from dormouse.claims import decision
from dormouse.claims.answer import holm
from dormouse.claims.decision import Corrected, Decision, decide, room, too_little
from dormouse.claims.effects import UNBOUNDED, Effect, Span, effect
from dormouse.claims.looks import ONCE, Bet, Look, Spent
from dormouse.claims.verdict import others_possible
from dormouse.studies.claim_spec import Claim


def claimed(margin: float, quantifier: str = "mean") -> Claim:
    said = {"id": "c", "says": "s", "compare": "defection_rate", "where": {"organism": "a"}, "against": 0.5}
    return Claim.model_validate({**said, "direction": "less", "margin": margin, "quantifier": quantifier})


def shown(mean: float, spread: float, n: int, span: Span = UNBOUNDED) -> Effect:
    values = mean + spread * norm.ppf((np.arange(n) + 0.5) / n)
    found = effect([(1.0, {seed: (("",), (float(value),)) for seed, value in enumerate(values)})], 0.0, span)
    assert found is not None
    return found


def outcome(each: list[Effect], claims: int = 1, margin: float = 0.2) -> tuple[str, str]:
    """Of the first of several claims with the same effects."""
    claim = claimed(margin, "every" if len(each) > 1 else "mean")
    test = decision.test_of(claim, each, ONCE)
    assert test is not None
    corrected = Corrected(holm([test.p] * claims)[0], holm([test.p_sign] * claims)[0])
    found = decide(claim, test, corrected, None)
    return found.outcome, found.contradiction


def test_the_other_sign_is_corrected_for_the_number_of_claims_and_set_ups() -> None:
    """Its p is about 0.01."""
    one = shown(0.02, 0.025, 14)
    assert outcome([one]) == ("contradicted", "opposite")
    assert outcome([one], claims=20) == ("contradicted", "smaller")
    assert outcome([one] * 8) == ("contradicted", "smaller")
    assert outcome([shown(0.2, 0.025, 14)] * 8, claims=20) == ("contradicted", "opposite")


@pytest.mark.parametrize("look", [Spent((0.4,)), Spent((0.25, 0.4)), Bet()])
def test_set_ups_share_the_error_of_the_whole_design(look: Look) -> None:
    """The p of a design grows far faster than Student's: sixteen times that of a set-up made it twice as large."""
    found = shown(0.3, 0.1, 14)
    one, many = (decision.test_of(claimed(0.2, "every"), [found] * k, look) for k in (1, 16))
    assert one is not None
    assert many is not None
    assert many.p == min(1.0, 16 * one.p)
    assert many.p_sign == min(1.0, 16 * one.p_sign)
    assert 0 < 16 * one.p < 1


def test_the_other_sign_survives_one_more_seed() -> None:
    assert outcome([shown(0.02, 0.005, 14, (-1.0, 1.0))]) == ("contradicted", "smaller")
    assert outcome([shown(0.1, 0.005, 14, (-1.0, 1.0))]) == ("contradicted", "opposite")


def test_without_a_margin_what_contradicts_has_the_other_sign() -> None:
    assert outcome([shown(0.1, 0.005, 14, (-1.0, 1.0))], margin=0.0) == ("contradicted", "opposite")
    assert outcome([shown(0.02, 0.005, 14, (-1.0, 1.0))], margin=0.0) == ("undecided", "")


@pytest.mark.parametrize("setups", [1, 8])
def test_no_effect_is_rarely_said_to_be_the_other_way(setups: int) -> None:
    """In twenty claims of a study, or in one about each of eight set-ups: in no more than five studies of a hundred."""
    rng, wrong, claims = np.random.default_rng(0), 0, 20 if setups == 1 else 1
    for _ in range(60):
        tests = []
        for _ in range(claims):
            cells = [rng.normal(0.5, 0.05, 12) for _ in range(setups)]
            each = [effect([(1.0, {s: (("",), (float(v),)) for s, v in enumerate(c)})], 0.5) for c in cells]
            tests.append(decision.test_of(claimed(0.2, "every" if setups > 1 else "mean"), each, ONCE))
        signs = holm([one.p_sign for one in tests if one])
        ps = holm([one.p for one in tests if one])
        found = [decide(claimed(0.2), one, Corrected(*of), None) for one, *of in zip(tests, ps, signs, strict=True)]
        wrong += any(one.contradiction == "opposite" for one in found)
    assert wrong <= 6


@pytest.mark.parametrize(
    ("direction", "decided", "values", "wanted"),
    [
        ("less", Decision("supported"), (-0.5, -0.3, -0.1, 0.4), 2),
        ("greater", Decision("supported"), (0.5, 0.3, 0.21, 0.2), 1),
        ("less", Decision("contradicted", "smaller"), (-0.5, -0.1, 0.1, 0.4), 1),
        ("less", Decision("contradicted", "opposite"), (-0.5, -0.1, 0.1, 0.4), 2),
        ("different", Decision("supported"), (0.5, 0.3, -0.5, 0.4), 1),
        ("different", Decision("contradicted", "smaller"), (0.1, 0.3, -0.5, -0.1), 2),
        ("less", Decision("undecided"), (-0.5, -0.3, -0.1, 0.4), None),
    ],
)
def test_seeds_that_turn_out_otherwise_are_counted(
    direction: str, decided: Decision, values: tuple[float, ...], wanted: int | None
) -> None:
    found = effect([(1.0, {seed: (("",), (value,)) for seed, value in enumerate(values)})], 0.0)
    assert found is not None
    claim = claimed(0.2).model_copy(update={"direction": direction})
    assert decision.otherwise(claim, found, decided, {}) == wanted
    if wanted is not None:
        every = dict.fromkeys(found.seeds, ("low", "high"))
        assert decision.otherwise(claim, found, decided, every) == len(values), "of bounds nobody knows"


@pytest.mark.parametrize("otherwise", [0, 1, 5, 12])
def test_the_share_that_turns_out_otherwise_has_the_bound_of_clopper_and_pearson(
    otherwise: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from statsmodels.stats.proportion import proportion_confint

    with monkeypatch.context() as slow:  # every page asks for it: 1.4 s, and for nothing where all agree
        for name in ("scipy.stats", *(["scipy.special"] if not otherwise else [])):
            slow.setitem(sys.modules, name, None)
        found = others_possible(otherwise, 12)
    assert found == pytest.approx(proportion_confint(otherwise, 12, alpha=0.1, method="beta")[1])
    assert otherwise or found == pytest.approx(1 - 0.05 ** (1 / 12))


def test_no_room_is_not_a_matter_of_rounding() -> None:
    """A reference at its bound left room for "-1.78e-15 only", and a margin of just the room that there is had none."""
    assert room("less", -1.78e-15, (0.0, 1.0)) == room("greater", 1 - 1e-16, (0.0, 1.0)) == 0.0
    left = room("greater", 0.9, (0.0, 1.0))
    assert left is not None
    assert left < 0.1
    assert not too_little(left, 0.1)
    assert not too_little(0.0, 0.0)
    assert too_little(left, 0.101)
    assert not too_little(None, 0.1)
