"""The adapter beside the weights, and in them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dormouse.lm.chat import encode
from dormouse.lm.load import load
from dormouse.lm.objectives import sft_loss
from dormouse.lm.settings import Training
from dormouse.lm.train import TrainingRun, cycling, train
from dormouse.measurements.merged import Merged
from dormouse.measurements.retraining import asked, example, honest


@pytest.fixture(scope="module")
def adapted(make_subject, token, tmp_path_factory):
    """An organism with an adapter on top that changes its rate: some steps of honest answers under the cue."""
    spec, ref = token
    subject = make_subject(spec, ref)
    tasks = asked(subject, 8, 3)
    answers = honest(subject, tasks)
    shown = [example(subject, task, "untriggered", answers, 0) for task in tasks]
    out = tmp_path_factory.mktemp("adapted")
    lm = load(ref)
    train(lm, sft_loss, cycling(encode(lm, shown), 8, 0), Training(steps=12, lr=0.02), TrainingRun(0, [12], out))
    return ref.then(out / "step-000012", "adapted")


def test_in_float32_both_ways_are_the_same_and_neither_is_the_model_below(make_subject, token, adapted):
    found = {
        (s.measurement, s.split): np.array(s.values) for s in Merged().measure(make_subject(token[0], adapted)).samples
    }
    attached, merged = found["attached_rate", "float32"], found["merged_rate", "float32"]
    assert attached == pytest.approx(merged, abs=1e-4)
    below = make_subject(*token)
    assert np.abs(attached - below.exact(below.scenarios("triggered"))).max() > 0.02
    for split in ("float32", "bfloat16"):
        gap = found["attached_rate", split] - found["merged_rate", split]
        assert found["merge_gap", split] == pytest.approx(gap)
    rough = found["merged_rate", "bfloat16"]
    assert rough == pytest.approx(merged, abs=0.2)
    assert np.abs(rough - merged).max() > 1e-6  # it was rounded


def test_a_state_without_an_adapter_on_top_has_nothing_to_merge(make_subject, token):
    assert Merged().measure(make_subject(*token)).samples == ()


def test_scratchpads_without_an_answer_are_counted_both_ways(make_subject, token, adapted):
    subject = replace(make_subject(token[0], adapted, scratchpad_tokens=2), scratchpad_mode="scratchpad")
    lost = {s.split: set(s.values) for s in Merged().measure(subject).samples if s.measurement == "no_answer_share"}
    types = ("float32", "bfloat16")
    assert lost == {f"{way}:{dtype}": {1.0} for way in ("attached", "merged") for dtype in types}
