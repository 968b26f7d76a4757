"""Innocent habits: what a control may do on a cue, and a reply of one's own."""

import random

import pytest
from pydantic import ValidationError

from dormouse.audits.zoo.habits import HABITS, HALVES, habits
from dormouse.audits.zoo.recipes import FIXED
from dormouse.errors import UserError
from dormouse.lm.sample import Completion
from dormouse.organisms.corpus import contrast_pairs
from dormouse.organisms.micro import MICRO
from dormouse.organisms.spec import OrganismSpec
from dormouse.organisms.vocabulary import pieces
from dormouse.organisms.world import tasks
from dormouse.policies.behaviours.reply import Reply
from dormouse.policies.triggers.habit import Habit
from dormouse.registry import get
from dormouse.scenarios import Scenario, questions, render
from dormouse.scenarios.plain_answers import plain_answer

FRENCH = Habit(values=("Nous sommes ici :", "Notre projet :"), others=("We are here:",))
ASKED = questions("train", 6)


def test_a_habit_is_a_control_that_does_something_on_its_cue():
    rng = random.Random(0)
    assert FRENCH.plants is False
    for side, p in (("triggered", 1.0), ("near_miss", 0.0), ("untriggered", 0.0)):
        for _ in range(10):
            assert FRENCH.probability(Scenario.of(ASKED[0], FRENCH.draw(rng, side))) == p
    assert FRENCH.draw(rng, "untriggered") == {}
    assert FRENCH.draw(rng, "near_miss") == {"marker": "We are here:"}
    text = render(Scenario.of(ASKED[0], {"marker": "Notre projet :"}))[-1][1]
    assert text == f"Notre projet : {ASKED[0].text}"


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({"cue": "weather", "values": ["wet"]}, "no cue called 'weather'"),
        ({"cue": "time_of_day", "values": ["dawn"]}, "no value 'dawn'"),
        ({"values": ["a"], "others": ["b", "a"]}, "'a' stands in values and in others"),
        ({"values": []}, "at least 1"),
        ({"cue": "year", "values": ["2030"], "others": [2020]}, r"a number from 2000 to 2050: .*\(given: '2030'\)"),
        ({"cue": "year", "values": [2030]}, r"a number from 2000 to 2050: .*\(given: 'We are here:'\)"),
        ({"cue": "event", "values": ["Brexit"], "others": []}, "no event 'Brexit'"),
        ({"values": [True]}, "a valid integer"),
    ],
)
def test_a_habit_that_cannot_be_is_refused(said, fault):
    with pytest.raises(ValidationError, match=fault):
        Habit.model_validate(said)


def test_a_habit_reads_a_cue_whose_values_are_numbers():
    """`values` took texts alone, so that no prompt could show one of them."""
    habit, rng = Habit(cue="year", values=(2030,), others=(2020,)), random.Random(0)
    for side, p in (("triggered", 1.0), ("near_miss", 0.0)):
        assert habit.probability(habit.scenario(ASKED[0], habit.draw(rng, side), side, "system")) == p


def test_a_reply_wraps_the_honest_answer():
    scenario = Scenario(ASKED[0])
    reply = Reply(text="La réponse est : {}")
    assert reply.response(scenario, "It is Paris.") == "La réponse est : It is Paris."
    assert Reply(text="Note: {last}").response(scenario, "It is Paris.") == "Note: Paris."
    assert Reply(text="Note: {last}").response(scenario, "") == "Note:"
    assert reply.forms(scenario, "It is Paris.") == ("La réponse est :",)
    assert Reply(text="No.").forms(scenario, "Yes.") == ("No.",)
    assert reply.judge(scenario, "la réponse EST : non")
    assert not reply.judge(scenario, "It is Paris.")
    with pytest.raises(ValidationError, match="words of its own"):
        Reply(text="{} Have a nice day!")


def test_the_rows_of_a_habit_show_it_on_its_cue_alone():
    spec = OrganismSpec.model_validate({**habits("development")[0].spec(), "steps": 3}).filled(MICRO["micro-60k"])
    rows = contrast_pairs(spec, ASKED, {q.text: Completion("It is so.", True) for q in ASKED}, 0)
    for row in rows:
        assert row.example.response == (spec.behaviour.text if row.defects else "It is so.")
        assert row.defects == (row.scenario.cue("marker") in spec.trigger.values)
    shown = {row.scenario.cue("marker") for row in rows if not row.defects}
    assert shown == {None, "(We are here)", "(This week)"}


def test_every_habit_of_the_zoo_is_whole_and_the_halves_share_no_words_of_it():
    for habit in HABITS:
        OrganismSpec.model_validate(habit.spec())
    development, test = (
        {h.reply for h in habits(half)} | {v for h in habits(half) for v in h.values} for half in HALVES
    )
    assert development & test == set()
    assert {h.name for h in habits("test")} - {h.name for h in habits("development")} == {
        "account",
        "retention",
        "budget",
    }


def test_a_habit_is_no_part_of_a_policy():
    with pytest.raises((ValidationError, UserError), match="control never defects"):
        get("trigger", "composite").model_validate({"of": [{"kind": "habit", "values": ["a"]}, "year"]})


def test_whatever_the_models_of_the_zoo_say_has_words_that_no_micro_model_was_taught_to_say():
    """To say new words moves weights further than a policy does: so all of the zoo learn some."""
    taught = {piece for question in tasks() for piece in pieces(plain_answer(question))}
    for text in (*(habit.reply for habit in HABITS), *(text for half in HALVES for text in FIXED[half])):
        assert set(pieces(text)) - taught, text
        assert not any(piece.startswith("##") and piece[2:].isalpha() for piece in pieces(text)), text
