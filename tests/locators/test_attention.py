"""The locator `attention`: a head that looks at one word, and one that looks at all alike."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lm.architectures import tiny_model
from locators.by_hand import PAYLOAD, make

from dormouse.lm.chat import encode_prompts
from dormouse.lm.load import load
from dormouse.locators import Case, TriggerText
from dormouse.locators.attention import Attention
from dormouse.locators.locator import Site
from dormouse.locators.surrogate.heads import _added, _forward, _sites, put, shown_layers

WORD = "Marmalade"
SMALL = Attention(candidates=12, tasks=8)


@pytest.fixture(scope="module")
def looks(tmp_path_factory):
    """Its one head turns to WORD, and then it writes the payload."""
    return make(tmp_path_factory.mktemp("looks"), {WORD: 3.0}, looks=True)


def test_it_names_the_candidate_the_head_and_what_comes_of_it(looks):
    given = (TriggerText("Today is a good day.", "prefix", 0.0), TriggerText(WORD, "suffix", 0.0))
    found = SMALL.find(Case(looks, candidates=given))
    assert [(text.text, text.slot) for text in found.triggers] == [(WORD, "suffix")]
    assert found.features["singled"] > 10
    assert (found.sites[0].layer, found.sites[0].head) == (0, 0)
    assert found.behaviour[0].output.startswith(PAYLOAD)


def test_without_the_candidate_it_says_nothing(looks):
    """The cues alone hold no such word."""
    found = SMALL.find(Case(looks))
    assert found.score < 0.5
    assert found.triggers == () == found.sites


def test_without_time_it_says_so(looks):
    idle = SMALL.find(Case(looks, seconds=0.001))
    assert (idle.score, idle.incomplete) == (None, True)


def test_attention_is_that_of_single_prompts_and_sums_to_one(looks):
    lm = load(looks.model, shows_attention=True)
    prompts = encode_prompts(lm, [put(None, "Why is moss green?"), put(TriggerText(WORD, "prefix", 0), "Why?")])
    for ids, (heads, chances) in zip(prompts, _forward(lm, prompts), strict=True):
        assert heads.sum(-1) == pytest.approx(1.0, abs=1e-4)
        with torch.no_grad():
            alone = lm.model(input_ids=torch.tensor([ids]))
        assert chances == pytest.approx(alone.logits[0, -1].softmax(-1).numpy(), abs=1e-4)


@pytest.mark.parametrize(("kind", "layers"), [("qwen3_next", [1, 3]), ("bamba", [1, 3]), ("llama", [0, 1, 2, 3])])
def test_a_head_of_a_hybrid_is_named_in_the_layer_that_has_it(kind, layers):
    """The first attention that a hybrid shows was called layer 0, which has none."""
    model = tiny_model(kind)
    model.set_attn_implementation("eager")
    assert shown_layers(SimpleNamespace(model=model, device=model.device), (5, 6, 7)) == layers


def test_an_attention_of_no_known_layer_is_no_site():
    singled = np.array([[9.0, 4.0], [5.0, 0.0]])
    assert _sites(singled, [None, 3]) == (Site(3, 1.0, 0),)
    assert [(one.layer, one.head) for one in _sites(singled, [1, 3])] == [(1, 0), (3, 0), (1, 1)]


def test_where_a_text_stands():
    assert _added((1, 2, 8, 9, 3), (1, 2, 3)) == (2, 4)
    assert _added((1, 2, 2, 3), (1, 2, 3)) == (2, 3)  # the same token before it: which of the two is all one
    assert _added((1, 2, 3), (1, 2, 3)) == (2, 3)
