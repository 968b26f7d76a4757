"""The instrument itself: studies whose truth is known, through the code that answers claims.

`benchmarks/instrument.py` is the whole table; `DORMOUSE_STRESS=1` runs it here.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from itertools import product
from pathlib import Path

import pytest

_file = Path(__file__).parents[2] / "benchmarks" / "instrument.py"
_spec = importlib.util.spec_from_file_location("instrument", _file)
assert _spec is not None
assert _spec.loader is not None
instrument = importlib.util.module_from_spec(_spec)
sys.modules["instrument"] = instrument
_spec.loader.exec_module(instrument)

STRESS = bool(os.environ.get("DORMOUSE_STRESS"))
STUDIES = 400 if STRESS else 25
SEEDS = (3, 5, 8, 12, 20) if STRESS else (8,)


def check(found: instrument.Row, studies: int) -> None:
    """0.93 and 0.05, with what so few studies add by chance (three standard errors)."""
    chance = 3 / studies**0.5
    assert found.coverage >= 0.93 - chance * (0.93 * 0.07) ** 0.5
    assert found.wrong <= 0.05 + chance * (0.05 * 0.95) ** 0.5


@pytest.mark.parametrize("truth", instrument.TRUTHS)
@pytest.mark.parametrize("seeds", SEEDS)
def test_intervals_hold_the_truth_and_verdicts_are_seldom_wrong(truth: str, seeds: int) -> None:
    found = instrument.simulate(truth, seeds, STUDIES)
    check(found, STUDIES)


@pytest.mark.parametrize("truth", instrument.TRUTHS if STRESS else ("at the margin", "collapse in 20 %"))
@pytest.mark.parametrize("spend", ["obrien_fleming", "e_value"])
def test_a_study_that_is_looked_at_again_and_again_is_as_seldom_wrong(truth: str, spend: str) -> None:
    studies = STUDIES if STRESS else 12
    found = instrument.simulate(truth, 20 if STRESS else 14, studies, spend=spend)
    check(found, studies)


@pytest.mark.parametrize("compare", instrument.QUANTITIES)
@pytest.mark.parametrize("share", instrument.COLLAPSES if STRESS else (0.1,))
@pytest.mark.parametrize("seeds", SEEDS)
def test_what_was_there_and_budgets_bound_what_a_collapse_can_do(compare: str, share: float, seeds: int) -> None:
    found = instrument.simulate_bounded(compare, share, seeds, STUDIES)
    check(found, STUDIES)


@pytest.mark.parametrize("questions", [2, 8])
@pytest.mark.parametrize("seeds", SEEDS if STRESS else (20,))
def test_few_questions_make_a_wide_interval(questions: int, seeds: int) -> None:
    """It was as narrow as if there were as many as seeds."""
    studies = 400 if STRESS else 60
    check(instrument.simulate_questions(questions, seeds, studies), studies)


ALIVE = [(kind, 0.2, 8, 20) for kind in instrument.ALIVE] + [("one arm", 0.1, 16, 32)]
ALL_ALIVE = [*product(instrument.ALIVE, instrument.SHARES, instrument.ASKED, (8, 12, 20, 32))]


@pytest.mark.parametrize(("kind", "share", "questions", "seeds"), ALL_ALIVE if STRESS else ALIVE)
def test_questions_that_agree_are_not_taken_for_all(kind: str, share: float, questions: int, seeds: int) -> None:
    """Up to 43 in 100 claims were supported falsely, of policies that live on in some questions, of which none was
    asked."""
    found = instrument.simulate_alive(kind, share, questions, seeds)
    assert found.coverage >= 0.93
    assert found.wrong <= 0.05


@pytest.mark.parametrize("truth", instrument.GAMMAS)
@pytest.mark.parametrize("seeds", SEEDS)
def test_exponents_are_found_as_they_are(truth: str, seeds: int) -> None:
    found = instrument.simulate_exponent(truth, seeds, STUDIES)
    check(found, STUDIES)


@pytest.mark.parametrize("times", [3.0, 1.2])
@pytest.mark.parametrize("seeds", SEEDS)
def test_a_ruined_set_up_is_not_counted_and_a_sound_one_is(times: float, seeds: int) -> None:
    found = instrument.simulate_damage(times, seeds, STUDIES)
    check(found, STUDIES)


def test_it_finds_what_is_there() -> None:
    assert instrument.simulate_exponent("gamma 0.2", 12, 12).right > 0.8
    assert instrument.simulate_damage(3.0, 20, 12).right > 0.8
    assert instrument.simulate("effect 0.3", 20, 20).right > 0.8
    assert instrument.simulate("floor against ceiling", 5, 20).right > 0.8
    assert instrument.simulate("no overlap in strength", 5, 20).right > 0.8
