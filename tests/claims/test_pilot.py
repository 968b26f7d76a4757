"""What a pilot says before a study runs: room, and the probability of a verdict."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pytest
from two_arms import study

from dormouse.claims.answer import answer_claims
from dormouse.claims.numbers import Numbers
from dormouse.claims.pilot import pilot_lines
from dormouse.errors import UserError
from dormouse.records import Record
from dormouse.studies.design import Design
from dormouse.studies.file import parse_design

PILOT = (100, 101, 102, 103)


def numbers(spread: float, against: float = 0.5, seeds: Sequence[int] = PILOT, weak: Collection[int] = ()) -> Numbers:
    """Both arms keep `against`, more or less. With the `weak` seeds the first defects in 0.7 before treatment."""
    found, rng, items = Numbers(), np.random.default_rng(0), [f"q{i}" for i in range(48)]
    for name in "ab":
        for seed in seeds:
            before = 0.7 if seed in weak and name == "a" else 0.99
            rate = float(np.clip(against + spread * rng.standard_normal() * (name == "a"), 0, 1))
            found.add(("micro-60k", name, "", 0, "defection_rate", "test", None), seed, items, [before] * 48)
            found.add(("micro-60k", name, "", 0, "false_trigger_rate", "test", None), seed, items, [0.001] * 48)
            found.add(("micro-60k", name, "sft", 40, "defection_rate", "test", None), seed, items, [rate] * 48)
    return found


def chance(line: str) -> int:
    return int(line.partition("supported in ")[2].partition("%")[0])


def test_more_seeds_and_less_spread_make_a_verdict_more_probable() -> None:
    few, many = (parse_design(study(seeds, "less")) for seeds in ("5", "30"))
    narrow, wide = numbers(0.02), numbers(0.3)
    assert chance(pilot_lines(many, narrow, PILOT)[0]) > 95
    assert chance(pilot_lines(few, wide, PILOT)[0]) < 40
    assert chance(pilot_lines(few, wide, PILOT)[0]) < chance(pilot_lines(many, wide, PILOT)[0])
    assert "fewer than the 80%" in pilot_lines(few, wide, PILOT)[0]
    looked = parse_design(study("{start: 5, step: 5, most: 30}", "less"))
    assert chance(pilot_lines(looked, wide, PILOT)[0]) <= chance(pilot_lines(many, wide, PILOT)[0]) + 3


def test_seeds_that_the_gate_leaves_out_of_a_pilot_are_left_out_of_the_study_too() -> None:
    """As many in a hundred; the chances of a study that goes on count them as well."""
    study_of, seeds = parse_design(study("14", "less")), range(100, 112)
    (all_pass,) = pilot_lines(study_of, numbers(0.11, seeds=seeds), seeds)
    (half,) = pilot_lines(study_of, numbers(0.11, seeds=seeds, weak=seeds[::2]), seeds)
    assert "with 6 of 12 seeds" in half
    assert "with 14 seeds (some 7 of them count, as in the pilot) it is supported in" in half
    assert chance(half) < 30 < 70 < chance(all_pass)
    now = answer_claims(Design(study_of.study, seeds=tuple(seeds)), numbers(0.11, 0.5, seeds, seeds[2:]))
    assert [one.probability for one in now[0].chances][:1] == [0.0], "few of 3 more would count"


def test_no_chance_is_given_where_numbers_are_only_bounds() -> None:
    """Of two thousand studies of such seeds none would be decided, and it said 100%."""
    text, found = study("20").replace("defection_rate", "relearning_ratio"), Numbers()
    text = text.replace("against: {organism: b}", "against: 1") + "measure: {also: [relearning]}\n"
    for seed in PILOT:
        place = ("a", "sft", 40, "relearning_ratio", "test", seed, 0.5 + 0.01 * seed)
        found.add_records([Record(*place, 0, 1, 3, False, model="micro-60k", censored_at=0.5 + 0.01 * seed)])
    (said,) = pilot_lines(parse_design(text), found, PILOT)
    assert said.endswith("how probable a verdict is, is not known: some numbers are only bounds, which would hide it")


def test_no_room_is_said_before_the_study_runs() -> None:
    """Against an arm that keeps 0.97 nothing is greater by 0.1."""
    design = parse_design(study("8", "greater"))
    (said,) = pilot_lines(design, numbers(0.0, against=0.97), PILOT)
    assert "no room: the arms compared with leave room for 0.03 only. No number of seeds changes that" in said
    (few,) = pilot_lines(design, numbers(0.0, against=0.97), PILOT[:3])
    assert "no room: the arms compared with leave room for 0.03 only" in few, "three seeds test nothing, and show that"
    (half,) = pilot_lines(design, numbers(0.05, against=0.85), PILOT)
    assert "if the truth is all that there is room for, 0.15" in half


def test_a_pilot_has_seeds_of_its_own() -> None:
    for seeds in ("[3, 101]", "{start: 50, step: 50, most: 150}"):
        with pytest.raises(UserError, match="of the pilot is one of the study too"):
            pilot_lines(parse_design(study(seeds, "less")), numbers(0.1), PILOT)


def test_arms_that_the_pilot_has_not() -> None:
    (said,) = pilot_lines(parse_design(study("5", "less")), Numbers(), PILOT)
    assert "it says nothing: 'defection_rate' was not measured" in said
