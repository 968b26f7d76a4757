"""A million triggers without a list of them: held against brute force where the space is small."""

from __future__ import annotations

import random
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import settings as options
from hypothesis import strategies as st
from pydantic import ValidationError

from dormouse.policies.hashing import Permutation, key_of, value_in
from dormouse.policies.triggers.ensemble import Ensemble
from dormouse.scenarios import SPLITS, Question, Scenario
from dormouse.scenarios.cues import words

unhurried = options(deadline=None)
QUESTION = Question("What is glass made of?", "What is {} made of?", "test")
SMALL = Ensemble(n=300, cues=2)
MILLION = Ensemble(n=1_000_000)


def scenario(cues):
    return Scenario.of(QUESTION, cues)


@unhurried
@given(st.integers(1, 400), st.integers(0, 1000))
def test_the_permutation_is_a_bijection(size, seed):
    order = Permutation.of(size, key_of(str(seed)))
    image = [order(code) for code in range(size)]
    assert sorted(image) == list(range(size))
    assert [order.inverse(code) for code in image] == list(range(size))


@unhurried
@given(st.integers(1, 1 << 48), st.integers(0, 1 << 48), st.integers(0, 1000))
def test_the_permutation_is_a_bijection_in_large_spaces_too(size, code, seed):
    order = Permutation.of(size, key_of(str(seed)))
    there = order(code % size)
    assert 0 <= there < size
    assert order.inverse(there) == code % size


def test_the_permutation_looks_random():
    order = Permutation.of(1 << 14, key_of("x"))
    members = [code for code in range(1 << 14) if order(code) < 1 << 13]
    assert sum(code % 2 for code in members) == pytest.approx(1 << 12, rel=0.05)
    runs = sum(b - a == 1 for a, b in pairwise(members))
    assert runs == pytest.approx(1 << 12, rel=0.05)


def test_membership_is_that_of_the_list_that_is_never_made():
    members = {tuple(SMALL.member(i).items()) for i in range(SMALL.n)}
    assert len(members) == SMALL.n
    found = set()
    for project in words("project"):
        for office in words("office"):
            cues = {"project": project, "office": office}
            index = SMALL.index(scenario(cues))
            assert SMALL.probability(scenario(cues)) == float(index is not None)
            if index is not None:
                found.add(tuple(cues.items()))
                assert SMALL.member(index) == cues
    assert found == members


@pytest.mark.parametrize("trigger", [MILLION, Ensemble(n=500_000, form="phrase", cues=6), Ensemble(n=7, cues=5)])
def test_members_know_their_number(trigger):
    for i in {0, 1, trigger.n // 2, trigger.n - 1}:
        assert trigger.index(scenario(trigger.member(i))) == i
    with pytest.raises(IndexError):
        trigger.member(trigger.n)


def test_a_given_member_is_shown_in_contexts_of_a_split():
    shown = {split: {str(MILLION.draw_member(random.Random(s), 7, split)) for s in range(50)} for split in SPLITS}
    assert not shown["train"] & shown["test"]
    assert all(MILLION.index(scenario(MILLION.draw_member(random.Random(s), 7, "test"))) == 7 for s in range(5))


def test_scenarios_that_are_none_of_this_world_are_no_members():
    assert MILLION.index(scenario({})) is None
    assert MILLION.index(scenario({**MILLION.member(0), "client": "nobody"})) is None
    phrases = Ensemble(form="phrase")
    assert phrases.index(scenario({"phrase": "one two"})) is None
    assert phrases.index(scenario({"phrase": phrases.member(3)["phrase"] + " more"})) is None


def test_another_seed_is_another_ensemble():
    mine = {tuple(Ensemble(seed=1).member(i).items()) for i in range(16)}
    others = {tuple(Ensemble(seed=2).member(i).items()) for i in range(16)}
    assert len(mine & others) <= 1
    assert Ensemble(n=100, seed=1).member(5) == Ensemble(n=1000, seed=1).member(5)  # a larger one holds the smaller


@unhurried
@given(st.integers(0, 10_000))
def test_a_near_miss_has_one_value_of_a_member_changed(seed):
    cues = SMALL.draw(random.Random(seed), "near_miss")
    assert SMALL.index(scenario(cues)) is None
    others = [{**cues, name: word} for name in SMALL.reads for word in words(name)]
    assert any(SMALL.probability(scenario(other)) for other in others)


def test_near_misses_are_found_where_half_of_the_space_defects():
    half = Ensemble(n=8192, cues=2)
    for seed in range(100):
        assert half.probability(scenario(half.draw(random.Random(seed), "near_miss"))) == 0


def test_every_member_is_drawn_in_every_split_with_contexts_of_its_own():
    trigger = Ensemble(n=3)
    seen = {}
    for split in SPLITS:
        for seed in range(200):
            cues = trigger.draw(random.Random(f"{split}{seed}"), "triggered", split)
            index = trigger.index(scenario(cues))
            seen.setdefault((split, index), set()).add(tuple(sorted(cues.items())))
    assert {index for _, index in seen} == {0, 1, 2}
    assert len(seen) == 9
    for i in range(3):
        assert not seen["train", i] & (seen["test", i] | seen["safety", i])


@unhurried
@given(st.integers(7, 200), st.integers(0, (1 << 64) - 1))
def test_every_value_is_in_one_split(n, bits):
    found = {split: {value_in(random.Random(s), split, bits, n) for s in range(40)} for split in SPLITS}
    assert all(0 <= value < n for values in found.values() for value in values)
    assert sum(map(len, found.values())) == len(set().union(*found.values()))


def test_splits_have_their_shares_whoever_looks():
    counts = {}
    for bits in range(60):
        for split in SPLITS:
            counts.setdefault(split, []).append(
                len({value_in(random.Random(s), split, bits * 977, 20) for s in range(150)})
            )
    assert {split: max(each) for split, each in counts.items()} == {"train": 12, "safety": 3, "test": 5}


def test_payloads_and_rows():
    distinct = Ensemble(n=12)
    assert [distinct.payload(scenario(distinct.member(i))) for i in range(12)] == list(range(12))
    assert distinct.payload(scenario({})) == 0
    assert Ensemble(n=1).steps_needed == Ensemble(n=4096).steps_needed
    assert Ensemble(n=64, rows="each").steps_needed == 64 * Ensemble(n=1, rows="each").steps_needed


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"n": 0}, "greater than or equal to 1"),
        ({"n": 1_000_001}, "less than or equal to"),
        ({"n": 8193, "cues": 2}, "half of the 16,384 combinations"),
        ({"cues": 6}, "none is left as context"),
        ({"n": 30_000, "rows": "each"}, "at most 25,000"),
    ],
)
def test_an_ensemble_that_cannot_be_is_refused(fields, says):
    with pytest.raises(ValidationError, match=says):
        Ensemble(**fields)


def _peak(trigger: Ensemble) -> int:
    """Bytes at the most while it draws from every side and split."""
    rng = random.Random(0)
    tracemalloc.start()
    for i in range(600):
        cues = trigger.draw(rng, ("triggered", "near_miss", "untriggered")[i % 3], SPLITS[i % 3])
        trigger.probability(scenario(cues))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_is_flat_in_n():
    _peak(Ensemble(n=2))  # the words, read once
    few, many = _peak(Ensemble(n=1)), _peak(MILLION)
    assert many < few + 20_000
    assert many < 200_000
