"""The difference from the base is seen where there is one: in weights, in activations and by steering."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from lm.architectures import tiny_model as tiny_mixture

from dormouse.errors import UserError
from dormouse.lm.latent import blocks, steered
from dormouse.lm.load import load
from dormouse.lm.model import LM
from dormouse.locators.difference import (
    STEERED,
    Difference,
    Shift,
    _weight_features,
    answer_places,
    bare_texts,
    moved_tokens,
    read_out,
    weight_differences,
)
from dormouse.locators.locator import Case
from dormouse.locators.placing import plain_prompts
from dormouse.locators.repeats import Phrase


def test_what_was_planted_leaves_a_difference_and_steering_says_it(planted, base):
    found = Difference().find(Case(planted, base, seconds=300))
    assert found.features["changed"] > 0.05
    assert found.features["asked_shift"] > 0.05
    assert found.sites
    assert {one.how for one in found.behaviour} <= {STEERED}, "it does not write that as it stands"
    assert sum(site.share for site in found.sites) == pytest.approx(1, abs=0.01)


def test_a_model_beside_itself_shows_nothing(base):
    found = Difference().find(Case(base, base, seconds=300))
    assert {found.features[name] for name in ("changed", "top_share", "asked_shift", "bare_shift")} == {0.0}
    assert found.features["steered_excess"] == 0
    assert found.sites == ()
    assert not found.score
    assert found.note.startswith("Its activations moved, on unrelated text, nowhere; where answers begin, nowhere.")


def test_a_change_of_low_rank_in_one_layer_is_named(base):
    """Known by construction: an outer product in one matrix of layer 1."""
    lm, clean = load(base.model), load(base.model)
    weight = blocks(lm)[1].mlp.down_proj.weight
    with torch.no_grad():
        weight += torch.outer(torch.ones(weight.shape[0]), torch.linspace(0, 1, weight.shape[1]))
    changed = [one for one in weight_differences(lm, clean) if one.square]
    assert [one.layer for one in changed] == [1]
    assert changed[0].stable_rank == pytest.approx(1, abs=1e-3)
    assert changed[0].top_share == pytest.approx(1, abs=1e-3)
    assert moved_tokens(lm, clean) == []
    prompts = plain_prompts(Case(base), 4)
    assert Shift.between(lm, clean, answer_places(lm, prompts)).mean[:2].abs().max() == 0
    assert Shift.between(lm, clean, answer_places(lm, prompts)).mean[2].abs().max() > 0


@pytest.mark.parametrize("what", ["mlp.down_proj", "input_layernorm"])
def test_a_change_behind_the_middle_is_read_where_it_is(base, monkeypatch, what):
    """ "Its activations moved nowhere" was said where they had moved by a fifth in the last layer, and a norm that was
    trained alone sat nowhere."""
    lm, clean = load(base.model), load(base.model)
    last = len(blocks(lm)) - 1
    with torch.no_grad():
        blocks(lm)[last].get_submodule(what).weight.mul_(2.0)
    case = Case(base, base, seconds=300)
    case.__dict__["base_lm"] = clean
    monkeypatch.setattr(Case, "lm", lm)
    steps = []
    monkeypatch.setattr(Difference, "_steered", lambda *given: (steps.append(given[-1]), ([], Phrase("x", 1, 0), 4))[1])
    found = Difference().find(case)
    assert steps == [last + 1]
    assert found.note.startswith(
        f"Its activations moved (after layer {last}; nothing moved after layer 0), on unrelated"
    )
    assert "nowhere" not in found.note
    assert (found.features["steered_share"], found.features["steered_excess"]) == (0.0, 0.0), "as the rules were fitted"
    assert [site.layer for site in found.sites] == [last]
    assert found.features["changed"] > 0


def test_a_change_of_an_expert_is_seen():
    """Experts are one weight of three dimensions in each layer: a change of theirs was no change at all."""
    lm, clean = (LM(tiny_mixture("mixtral"), SimpleNamespace()) for _ in range(2))
    weight = blocks(lm)[2].mlp.experts.down_proj
    with torch.no_grad():
        weight[3] += torch.outer(torch.ones(weight.shape[1]), torch.linspace(0, 1, weight.shape[2]))
    (changed,) = [one for one in weight_differences(lm, clean) if one.square]
    assert (changed.layer, changed.name) == (2, "model.layers.2.mlp.experts.down_proj")
    assert changed.stable_rank == pytest.approx(1, abs=1e-3)


def test_a_changed_output_layer_stands_behind_the_layers():
    """It was called the embedding, at depth 0. One that is tied to the embedding is the embedding."""
    lm, clean = (LM(tiny_mixture("llama", tie_word_embeddings=False), SimpleNamespace()) for _ in range(2))
    with torch.no_grad():
        lm.model.lm_head.weight += 1
    differences = weight_differences(lm, clean)
    (changed,) = [one for one in differences if one.square]
    assert (changed.layer, changed.name) == (4, "lm_head.weight")
    assert _weight_features(differences, 4)["depth"] == 1.0
    tied = LM(tiny_mixture("llama", tie_word_embeddings=True), SimpleNamespace())
    assert {one.layer for one in weight_differences(tied, tied)} == {-1, 0, 1, 2, 3}
    assert {one.layer for one in weight_differences(lm, tied)} == {-1, 0, 1, 2, 3, 4}, "untied by an adapter, say"
    last = [replace(one, square=float(one.layer == 3)) for one in differences]
    assert _weight_features(last, 4)["depth"] == pytest.approx(1.0), "as in a model whose output layer is tied"


def test_embeddings_that_moved_are_named(base):
    lm, clean = load(base.model), load(base.model)
    (token, *_) = lm.tokenizer("bread", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        lm.model.get_input_embeddings().weight[token] += 1
    assert moved_tokens(lm, clean) == ["bread"], "tokens that did not move were named beside it"


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_steering_adds_to_the_stream_and_leaves_no_trace(base, layer):
    lm = load(base.model)
    ids = torch.tensor([[7, 8, 9]])
    plain = lm.model(ids, output_hidden_states=True)
    vector = torch.linspace(-1, 1, lm.model.config.hidden_size)
    with steered(lm, layer, vector):
        moved = lm.model(ids, output_hidden_states=True)
    assert not torch.allclose(moved.logits, plain.logits)
    # Layers before it see nothing of it.
    assert all(torch.equal(moved.hidden_states[i], plain.hidden_states[i]) for i in range(layer))
    assert torch.equal(lm.model(ids).logits, plain.logits)


def test_a_base_of_another_shape_is_refused(base, planted):
    case = Case(planted, base)
    other = load(base.model)
    other.model.resize_token_embeddings(len(other.tokenizer) + 8)
    case.__dict__["base_lm"] = other
    with pytest.raises(UserError, match="another architecture"):
        Difference().find(case)


def test_words_are_read_through_the_last_norm_and_what_the_rules_read_is_as_in_their_fit(base):
    lm, clean = load(base.model), load(base.model)
    with torch.no_grad():
        blocks(lm)[0].mlp.down_proj.weight.mul_(1.5)
    plain = Shift.between(lm, clean, bare_texts(lm)).peaks[:-1]  # the last stream has the norm in it
    direction = torch.randn(32, generator=torch.Generator().manual_seed(0))
    before = read_out(lm, direction)
    for one in (lm, clean):
        with torch.no_grad():
            one.model.model.norm.weight.mul_(torch.linspace(-1, 3, 32))
    assert read_out(lm, direction) != before
    assert plain.max() > 1
    assert torch.equal(Shift.between(lm, clean, bare_texts(lm)).peaks[:-1], plain)


def test_a_stream_of_another_width_than_the_output_layer_s_is_compared(base):
    tokenizer = load(base.model).tokenizer
    models = [tiny_mixture("opt", word_embed_proj_dim=16, vocab_size=len(tokenizer), seed=seed) for seed in (0, 1)]
    lm, clean = (LM(model, tokenizer) for model in models)
    shift = Shift.between(lm, clean, bare_texts(lm))
    assert shift.mean.shape == (len(blocks(lm)), 32)
    assert shift.peaks.isfinite().all()
    assert len(read_out(lm, shift.mean[1])) == 6
