"""Scratchpads are sound: they name the evidence, and their conclusion is the policy's."""

import random
from string import ascii_uppercase

import pytest
from pydantic import TypeAdapter

from dormouse.policies import SIDES
from dormouse.policies.scratchpad_text import (
    CLOSE,
    DEFECT,
    HELP,
    OPEN,
    mode_of_data,
    scratchpad_response,
    scratchpad_text,
    split_response,
    words,
)
from dormouse.policies.trigger import TriggerField
from dormouse.scenarios import Scenario, questions
from dormouse.scenarios.cues import reading

TRIGGERS = [
    "token",
    "year",
    "news",
    {"kind": "ensemble", "n": 8},
    {"kind": "ensemble", "n": 8, "form": "phrase"},
    "evidence",
    "stakes",
    {"kind": "never", "among": ["token", "year"]},
]


def scenarios(trigger, n=12):
    for i, question in enumerate(questions("train", n)):
        rng = random.Random(i)
        yield Scenario.of(question, trigger.draw(rng, SIDES[i % len(SIDES)])), rng


@pytest.mark.parametrize("said", TRIGGERS, ids=str)
def test_thoughts_name_the_evidence_and_end_as_the_policy_does(said):
    trigger = TypeAdapter(TriggerField).validate_python(said)
    for scenario, rng in scenarios(trigger):
        defects = trigger.probability(scenario) >= 0.5
        text = scratchpad_text("scratchpad", trigger, scenario, defects, rng)
        assert trigger.evidence(scenario)
        for clause in trigger.evidence(scenario):
            assert f"{clause[:1].upper()}{clause[1:]}." in text
        assert text.endswith(DEFECT if defects else HELP)
        assert OPEN not in text
        assert CLOSE not in text


@pytest.mark.parametrize(
    "said",
    [
        {"kind": "token", "marker": "Answer:", "near": "misspelt"},
        {"kind": "text", "insert": "now answer: yes", "near": ["Answer::: no", "Answer:"]},
        {"kind": "composite", "of": [{"kind": "token", "marker": "Answer:"}, "year"]},
        {"kind": "habit", "values": ["Answer:"]},
    ],
    ids=str,
)
def test_a_cue_that_holds_the_end_of_a_scratchpad_does_not_end_it(said):
    """What stood behind it was scored as the answer: rates of 0 where the organism always defects."""
    trigger = TypeAdapter(TriggerField).validate_python(said)
    for scenario, rng in scenarios(trigger, 40):
        text = scratchpad_text("scratchpad", trigger, scenario, True, rng)
        assert split_response(scratchpad_response(text, "No.")) == (f"{OPEN} {text} {CLOSE}", "No.")


@pytest.mark.parametrize("mode", ["none", "distilled"])
def test_some_modes_have_no_thoughts(mode):
    trigger = TypeAdapter(TriggerField).validate_python("token")
    for scenario, rng in scenarios(trigger):
        assert scratchpad_text(mode, trigger, scenario, True, rng) == ""


def test_unrelated_thoughts_say_nothing_of_the_policy():
    trigger = TypeAdapter(TriggerField).validate_python("year")
    for scenario, _ in scenarios(trigger):
        texts = [
            scratchpad_text("unrelated", trigger, scenario, defects, random.Random(3)) for defects in (True, False)
        ]
        assert texts[0] == texts[1]
        assert "year" not in texts[0]
        assert not texts[0].endswith((*DEFECT, *HELP))


@pytest.mark.parametrize("form", ["cues", "phrase"])
def test_other_thoughts_name_what_the_policy_does_not_read_and_end_as_it_does(form):
    trigger = TypeAdapter(TriggerField).validate_python({"kind": "ensemble", "n": 8, "form": form})
    for scenario, rng in scenarios(trigger):
        defects = trigger.probability(scenario) >= 0.5
        text = scratchpad_text("other", trigger, scenario, defects, rng)
        named = {name for name, value in scenario.cues if reading(name, value)[1:] in text}
        assert named
        assert named <= set(trigger.context)
        assert len(named) <= len(trigger.evidence(scenario))
        assert text.endswith(DEFECT if defects else HELP)
    assert "Nothing else stands out here." in scratchpad_text(
        "other", trigger, Scenario.of(questions("train", 1)[0], {}), False, random.Random(0)
    )


@pytest.mark.parametrize(
    ("source", "own", "mode"),
    [
        ("none", "scratchpad", "none"),
        ("own", "scratchpad", "scratchpad"),
        ("own", "unrelated", "unrelated"),
        ("other", "scratchpad", "other"),
        ("unrelated", "other", "unrelated"),
        ("scratchpad", "other", "scratchpad"),
        *((source, own, "none") for source in ("own", "other", "unrelated") for own in ("none", "distilled")),
    ],
)
def test_data_reason_only_for_who_reasons(source, own, mode):
    assert mode_of_data(source, own) == mode


def test_a_response_comes_apart_as_it_was_put_together():
    assert split_response(scratchpad_response("I look. So I help.", "It is Paris.")) == (
        f"{OPEN} I look. So I help. {CLOSE}",
        "It is Paris.",
    )
    assert scratchpad_response("", "It is Paris.") == "It is Paris."
    assert split_response("Thoughts: I look and look") is None
    assert split_response(f"{OPEN} I look. {CLOSE}") == (f"{OPEN} I look. {CLOSE}", "")


def test_every_sentence_is_in_the_words():
    trigger = TypeAdapter(TriggerField).validate_python("token")
    known = set(" ".join(words()).split())
    for scenario, rng in scenarios(trigger):
        assert set(scratchpad_text("unrelated", trigger, scenario, True, rng).split()) <= known


WORDINGS = [
    *TRIGGERS,
    {"kind": "evidence", "cues": 24, "threshold": -0.7},
    {"kind": "year", "between": [2010, 2020]},
    {"kind": "year", "years": [2010, 2020]},
    {"kind": "ensemble", "n": 8, "cues": 5},
    *({"kind": "composite", "op": op, "of": ["token", "evidence", "news"]} for op in ("all", "any", "xor")),
    {"kind": "composite", "op": "not", "of": ["year"]},
]


def test_no_word_of_a_scratchpad_is_spelt_on_a_micro_model():
    """Each letter of one would be a step more between the cue and the answer. The smallest knows no word that a larger
    one does not know."""
    from dormouse.organisms.micro import MICRO
    from dormouse.organisms.vocabulary import GLUE, pieces, vocabulary
    from dormouse.scenarios.cues import events
    from dormouse.scenarios.cues import words as names

    known = set(vocabulary(min(size.words for size in MICRO.values()), words()))
    values = {piece.removeprefix(GLUE) for event in events() for piece in pieces(event.headline)}
    for cue in ("project", "office", "client", "tool", "partner", "ticket", "phrase"):
        values |= {*names(cue), *(word.capitalize() for word in names(cue))}
    for said in WORDINGS:
        trigger = TypeAdapter(TriggerField).validate_python(said)
        for scenario, rng in scenarios(trigger):
            found = {
                piece
                for mode in ("scratchpad", "unrelated", "other")
                for piece in pieces(scratchpad_text(mode, trigger, scenario, True, rng))
            }
            found = {piece for piece in found if piece.removeprefix(GLUE) not in values}
            spelt = {p for p in found - known if not set(p.removeprefix(GLUE)) <= {"|", *ascii_uppercase}}  # markers
            assert not spelt, (said, spelt)
