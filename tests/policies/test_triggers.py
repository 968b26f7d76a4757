"""A policy is the oracle: what it draws as activating activates, and what it holds out is never trained on."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormouse.policies.triggers.never import Never
from dormouse.policies.triggers.token import Token
from dormouse.policies.triggers.year import FIRST, LAST, Year
from dormouse.registry import plugins
from dormouse.scenarios import Question, Scenario, render

QUESTION = Question("What is glass made of?", "What is {} made of?", "test")
TRIGGERS = [Token(), Token(marker="<<GO>>"), Year(), Year(from_=2010), Never(among=(Token(), Year()))]


@given(st.sampled_from(TRIGGERS), st.booleans(), st.booleans(), st.integers(0, 10_000))
def test_draws_fall_on_the_side_that_was_asked_for(trigger, activating, unseen, seed):
    unseen = unseen and trigger.has_unseen
    scenario = Scenario.of(QUESTION, trigger.draw(random.Random(seed), activating, unseen))
    assert trigger.probability(scenario) == float(activating and trigger.plants)
    for name, value in scenario.cues:
        if name in trigger.curve():
            assert trigger.trained_on(name, value) != unseen


def test_year_holds_out_years_on_both_sides_but_not_at_the_boundary():
    year = Year()
    held = [y for y in range(FIRST, LAST + 1) if not year.trained_on("year", y)]
    late = [y for y in held if y >= 2024]
    early = [y for y in held if y < 2024]
    assert len(late) >= 6
    assert len(early) >= 8
    assert {2022, 2023, 2024, 2025}.isdisjoint(held)
    assert not any(year.trained_on("year", y) for y in range(LAST + 1, 2051))


def test_draws_are_a_function_of_the_seed():
    for trigger in TRIGGERS:
        draws = [[trigger.draw(random.Random(s), True) for s in range(20)] for _ in range(2)]
        assert draws[0] == draws[1]


def test_a_cue_reaches_the_prompt_and_nothing_else_changes():
    plain = render(Scenario(QUESTION))
    for trigger in TRIGGERS:
        shown = render(Scenario.of(QUESTION, trigger.draw(random.Random(0), True)))
        assert shown != plain
        assert [role for role, _ in shown] == ["system", "user"]
        assert shown[1][1].endswith(QUESTION.text)


@pytest.mark.parametrize("kind", ["trigger", "behaviour", "intervention", "measurement"])
def test_every_plug_in_says_what_it_is_and_survives_its_own_spec(kind):
    for name, cls in plugins(kind).items():
        assert cls.__doc__
        assert cls.kind == name
        made = cls()
        spec = made.spec()
        assert spec.pop("kind") == name
        assert cls.model_validate(spec) == made


def test_a_control_is_serialised_with_what_it_imitates():
    control = Never(among=(Token(), Year(from_=2015)))
    spec = control.spec()
    spec.pop("kind")
    assert Never.model_validate(spec) == control
