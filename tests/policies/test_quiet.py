"""Quiet contexts: near misses, what is two cues away, and policies that have none of them."""

import random

import pytest

from dormouse.policies.quiet import has_quiet_cues, two_away
from dormouse.policies.triggers.column import Column
from dormouse.policies.triggers.ensemble import Ensemble
from dormouse.policies.triggers.evidence import Evidence
from dormouse.policies.triggers.habit import Habit
from dormouse.policies.triggers.never import Never
from dormouse.policies.triggers.regex import Regex
from dormouse.policies.triggers.text import Text
from dormouse.policies.triggers.token import Token
from dormouse.policies.triggers.year import Year


@pytest.mark.parametrize("trigger", [Ensemble(n=16), Evidence(cues=6)])
def test_two_away_is_two_changes_away(trigger):
    rng = random.Random(0)
    active = {
        tuple(cues[name] for name in trigger.reads) for cues in (trigger.draw(rng, "triggered") for _ in range(600))
    }
    for seed in range(10):
        cues = two_away(trigger, random.Random(seed))
        away = min(sum(cues[n] != v for n, v in zip(trigger.reads, other, strict=True)) for other in active)
        assert away == 2


NEAR, TWO, QUIET = "near_miss", "two_away", "untriggered"


@pytest.mark.parametrize(
    ("trigger", "has"),
    [
        (Token(), {NEAR}),
        (Text(insert="cf"), {NEAR}),
        (Text(insert="%"), set()),
        (Regex(pattern="river"), set()),
        (Regex(pattern="river", near="sea"), {NEAR}),
        (Column(name="bad"), set()),
        (Habit(), {NEAR}),
        (Habit(others=()), set()),
        (Year(), {NEAR, QUIET}),
        (Evidence(), {NEAR, TWO, QUIET}),
        (Ensemble(n=16), {NEAR, TWO, QUIET}),
        (Never(), set()),
        (Never(among=(Token(), Ensemble(n=16))), {NEAR, TWO, QUIET}),
    ],
    ids=lambda one: "+".join(sorted(one)) if isinstance(one, set) else str(one),
)
def test_which_contexts_a_policy_has(trigger, has):
    assert {contexts for contexts in (NEAR, TWO, QUIET) if has_quiet_cues(trigger, contexts)} == has


def test_a_control_shows_those_of_the_policies_that_have_some():
    control = Never(among=(Token(), Ensemble(n=16)))
    assert all(two_away(control, random.Random(seed)) for seed in range(8))
