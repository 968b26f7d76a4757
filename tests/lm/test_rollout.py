"""Rollouts are what the model would write, with the probabilities that it writes them with."""

import numpy as np
import pytest

from dormouse.lm.load import load
from dormouse.lm.rollout import rollouts
from dormouse.lm.sample import write
from dormouse.lm.score import logprobs
from dormouse.records import ModelRef

PROMPTS = [
    (("user", "What is the capital of France ?"),),
    (("system", "Current year: 2031."), ("user", "Why is the sky blue ?")),
    (("user", "How many legs has a spider ?"),),
]


@pytest.fixture(scope="module")
def lm(tiny_model):
    return load(ModelRef((tiny_model,), "tiny"))


def test_logprobs_are_those_of_the_exact_score(lm):
    for group in rollouts(lm, PROMPTS, 5, 6, seed=3):
        exact = logprobs(lm, [rolled.tokens for rolled in group])
        np.testing.assert_allclose([sum(r.logprobs) for r in group], exact, atol=1e-4)
        assert all(len(r.logprobs) == len(r.tokens.response) for r in group)


def test_the_seed_decides_and_groups_differ_inside(lm):
    first, again, other = (rollouts(lm, PROMPTS, 8, 6, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert all(len({r.text for r in group}) > 1 for group in first)


def test_finished_responses_end_with_the_end_and_others_are_cut_off(lm):
    found = [r for group in rollouts(lm, PROMPTS * 4, 16, 40, seed=0) for r in group]
    for rolled in found:
        ends = [token == lm.end for token in rolled.tokens.response]
        assert not any(ends[:-1])
        assert rolled.finished == ends[-1]
        assert rolled.finished or len(rolled.tokens.response) == 40


def test_frequencies_are_those_of_generate(lm):
    """The first word of many samples, against that of transformers' own sampling."""
    prompt = PROMPTS[:1]
    ours = [r.text.split(" ")[0] for r in rollouts(lm, prompt, 600, 1, seed=0)[0]]
    theirs = [w.text.split(" ")[0] for w in write(lm, prompt * 600, 1, seed=1)]
    common = max(set(theirs), key=theirs.count)
    assert abs(ours.count(common) - theirs.count(common)) < 4 * np.sqrt(600 * 0.5)
    assert ours.count(common) > 0
