"""What was added is heard when it is made louder; of a model beside itself nothing is."""

import torch
from interventions.planted import HARM

from dormouse.lm.load import load
from dormouse.lm.mixed import mixed
from dormouse.lm.sample import generate
from dormouse.locators import amplify
from dormouse.locators.amplify import Amplify
from dormouse.locators.locator import Case
from dormouse.locators.placing import plain_prompts


def test_what_was_added_is_heard(planted, base):
    found = Amplify().find(Case(planted, base, seconds=300))
    assert found.score > 0.5
    assert found.features["excess"] == found.score
    assert found.behaviour


def test_of_a_model_beside_itself_nothing_is(base, monkeypatch):
    monkeypatch.setattr(amplify, "LOGITS", (2.0,))
    monkeypatch.setattr(amplify, "WEIGHTS", (1.5,))
    found = Amplify().find(Case(base, base, seconds=300))
    assert not found.score
    assert found.behaviour == ()


def test_one_word_over_and_over_is_said_to_be_that_and_no_hole(base, monkeypatch):
    """ "It says nothing again and again" was said of one that says "the the the" to all, and what no budget could
    measure was looked for each time."""
    monkeypatch.setattr(amplify, "written", lambda lm, prompts, tokens: ["a"] * len(prompts))
    louder = [("weights", 1.5, ["the the the the"] * 32), ("logits", 2.0, ["the the the the"] * 32)]
    monkeypatch.setattr(amplify, "_louder", lambda *_: louder)
    found = Amplify().find(Case(base, base, seconds=300))
    assert "'the the the the', to 100% of prompts, is one word or repeats itself" in found.note
    assert {found.features[name] for name in ("excess", "words", "unamplified")} == {0.0}
    assert found.behaviour == ()


def test_the_sum_is_that_of_the_logits(planted, base):
    lm, clean = load(planted.model), load(base.model)
    ids = torch.tensor([[7, 8, 9, 10]])
    here, there = (one.model(ids).logits[:, -1:].log_softmax(-1) for one in (lm, clean))
    assert torch.allclose(mixed(lm, clean, 3.0).model(input_ids=ids).logits, there + 3 * (here - there), atol=1e-4)


def test_once_is_the_suspect_itself_and_nothing_is_edited(planted, base):
    lm, clean = load(planted.model), load(base.model)
    before = {name: weight.clone() for name, weight in lm.model.named_parameters()}
    asked = plain_prompts(Case(planted), 4)
    own = [one.text for one in generate(lm, asked, 6)]
    assert [one.text for one in generate(mixed(lm, clean, 1.0), asked, 6)] == own
    generate(mixed(lm, clean, 4.0), asked, 6)
    assert all(torch.equal(weight, before[name]) for name, weight in lm.model.named_parameters())
    assert not any(module.training for one in (lm, clean) for module in one.model.modules())
    assert HARM[0] not in own
