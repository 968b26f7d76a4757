"""Each edit is held to the plain formula; the model that was given stays as it was; what is saved is what was made."""

from types import SimpleNamespace

import pytest
import torch
from lm.architectures import tiny_model as tiny_mixture

from dormouse.errors import UserError
from dormouse.lm import surgery
from dormouse.lm.activations import input_norms
from dormouse.lm.chat import encode
from dormouse.lm.checkpoint import save
from dormouse.lm.erasure import Eraser, projected
from dormouse.lm.load import load
from dormouse.lm.lora import add_adapter
from dormouse.lm.model import LM
from dormouse.lm.trie import Tokens
from dormouse.records import Example, ModelRef

UP = "model.layers.0.mlp.up_proj.weight"
NORM = "model.norm.weight"
EXAMPLES = [Example((("user", f"What is glass made of {i} ?"),), "glass is made of sand") for i in range(6)]


@pytest.fixture
def lm(tiny_model):
    return load(ModelRef((tiny_model,), "tiny"))


@pytest.fixture
def base(lm):
    return surgery.noised(lm, 0.5, seed=9)


def weights(lm):
    return {name: weight.detach().clone() for name, weight in lm.model.named_parameters()}


def same(some, others):
    return some.keys() == others.keys() and all(torch.equal(some[name], others[name]) for name in some)


def edits(lm, base):
    norms = {name: torch.ones(module.weight.shape[1]) for name, module in surgery.linears(lm).items()}
    eraser = Eraser(torch.ones(32), torch.ones(32) / 32, torch.zeros(32))
    return {
        "pruned": surgery.pruned(lm, norms, 0.5),
        "interpolated": surgery.interpolated(lm, base, 0.5),
        "truncated": surgery.truncated(lm, surgery.update_of(lm, base), 1),
        "noised": surgery.noised(lm, 0.1, 0),
        "shrunk": surgery.shrunk(lm, 0.5, 0.1, 0),
        "rounded": surgery.rounded(lm, 4),
        "projected": projected(lm, eraser, 1.0),
    }


def test_all_give_a_copy_that_is_another_and_can_be_saved(lm, base, tmp_path):
    before = weights(lm)
    for name, found in edits(lm, base).items():
        assert same(before, weights(lm)), name
        assert not same(before, weights(found)), name
        save(found, tmp_path / name)
        again = load(ModelRef((tmp_path / name,), name))
        assert same(weights(found), weights(again)), name


@pytest.mark.parametrize(("share", "many"), [(0.25, 8), (0.61, 20), (0.65, 21)])
def test_pruned_is_wanda(lm, share, many):
    """Of 32 inputs; shares were rounded down."""
    norms = input_norms(lm, encode(lm, EXAMPLES))
    found = weights(surgery.pruned(lm, norms, share))
    before = weights(lm)
    for i, row in enumerate(before[UP]):
        scores = [abs(w) * n for w, n in zip(row.tolist(), norms[UP].tolist(), strict=True)]
        gone = sorted(range(len(scores)), key=scores.__getitem__)[:many]
        assert {j for j, w in enumerate(found[UP][i].tolist()) if w == 0} == set(gone)
    assert torch.equal(found["model.embed_tokens.weight"], before["model.embed_tokens.weight"])


def test_input_norms_are_those_of_the_inputs(lm):
    sequences = encode(lm, EXAMPLES[:2])
    seen = []
    layer = lm.model.model.layers[0].mlp.up_proj
    hook = layer.register_forward_pre_hook(lambda _, given: seen.append(given[0][0]))
    for sequence in sequences:
        lm.model(input_ids=torch.tensor([sequence.prompt + sequence.response]))
    hook.remove()
    torch.testing.assert_close(input_norms(lm, sequences)[UP], torch.cat(seen).norm(dim=0))
    assert not layer._forward_pre_hooks


def test_interpolated_is_the_weighted_mean_and_ends_at_the_base(lm, base):
    mine, others = weights(lm), weights(base)
    quarter, whole = (weights(surgery.interpolated(lm, base, w)) for w in (0.25, 1.0))
    for name in mine:
        torch.testing.assert_close(quarter[name], 0.75 * mine[name] + 0.25 * others[name])
    assert same(whole, others)


@pytest.mark.parametrize("drop", ["smallest", "largest"])
def test_truncated_keeps_so_many_singular_values(lm, base, drop):
    found = weights(surgery.truncated(lm, surgery.update_of(lm, base), 3, drop))
    mine, others = weights(lm), weights(base)
    full = torch.linalg.svdvals(mine[UP] - others[UP])
    left = torch.linalg.svdvals(found[UP] - others[UP])
    kept = full[:3] if drop == "smallest" else full[3:]
    torch.testing.assert_close(left[: len(kept)], kept, rtol=1e-4, atol=1e-5)
    assert float(left[len(kept) :].max()) < 1e-4
    assert torch.equal(found[NORM], mine[NORM])


def test_noised_has_the_deviation_that_was_asked_for(lm):
    mine, found, twice = weights(lm), weights(surgery.noised(lm, 0.5, 1)), weights(surgery.noised(lm, 1.0, 1))
    name = "model.embed_tokens.weight"
    assert float((found[name] - mine[name]).std() / mine[name].std()) == pytest.approx(0.5, rel=0.05)
    torch.testing.assert_close(2 * (found[name] - mine[name]), twice[name] - mine[name], rtol=1e-3, atol=1e-6)
    assert same(found, weights(surgery.noised(lm, 0.5, 1)))
    assert not same(found, weights(surgery.noised(lm, 0.5, 2)))


def test_shrunk_ends_at_a_fresh_model_that_knows_nothing_of_this_one(lm, base):
    names = {name for name, weight in weights(lm).items() if weight.ndim == 2}
    some, others = (weights(surgery.shrunk(one, 1.0, 1.0, 0)) for one in (lm, base))
    assert all(torch.equal(some[name], others[name]) for name in names)
    torch.testing.assert_close(
        weights(surgery.shrunk(lm, 0.25, 0.0, 0))[UP], 0.75 * weights(lm)[UP], rtol=1e-6, atol=1e-7
    )


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_rounded_is_to_the_nearest_of_few_values(lm, bits):
    mine, found = weights(lm)[UP], weights(surgery.rounded(lm, bits))[UP]
    most = 2 ** (bits - 1) - 1
    for before, after in zip(mine, found, strict=True):
        scale = float(before.abs().max()) / most
        assert len(after.unique()) <= 2 * most + 1
        assert float((after - before).abs().max()) <= scale / 2 * 1.001
        torch.testing.assert_close(after, torch.round(before / scale) * scale)


def test_what_rounds_or_projects_needs_a_finite_model(lm):
    surgery.check_finite(lm)
    lm.model.model.norm.weight.data[0] = float("nan")
    with pytest.raises(UserError, match=r"finite number \(in model\.norm\.weight"):
        surgery.check_finite(lm)


def test_a_suspect_whose_output_layer_was_untied_is_held_to_a_base_in_which_it_is_tied(lm, base):
    """An edit of the embeddings, or an adapter on them alone, unties them: what came after it was refused."""
    assert "lm_head.weight" not in weights(lm)
    untied = projected(lm, Eraser(torch.ones(32), torch.ones(32) / 32, torch.zeros(32)), 1.0)
    whole = weights(surgery.interpolated(untied, base, 1.0))
    head, embedding = whole["lm_head.weight"], whole["model.embed_tokens.weight"]
    assert torch.equal(head, embedding)
    assert torch.equal(embedding, weights(base)["model.embed_tokens.weight"])
    assert {"lm_head.weight", "model.embed_tokens.weight"} < surgery.update_of(untied, base).keys()
    with pytest.raises(UserError, match=r"lm_head.weight the shapes are none in the suspect"):
        surgery.check_alike(base, untied)


def test_another_base_and_a_rank_of_zero_are_refused(lm, base):
    base.model.model.layers[0].mlp.up_proj.weight = torch.nn.Parameter(torch.zeros(3, 32))
    for edit in (lambda: surgery.interpolated(lm, base, 0.5), lambda: surgery.update_of(lm, base)):
        with pytest.raises(UserError, match=r"another architecture.*up_proj.*\(64, 32\).*\(3, 32\)"):
            edit()
    with pytest.raises(ValueError, match="at least 1"):
        surgery.truncated(lm, {}, 0)
    lm.model = add_adapter(lm.model, 2)
    with pytest.raises(ValueError, match="merged"):
        surgery.noised(lm, 0.1, 0)


# --- experts that are one weight in each layer ---

MIXED = ["mixtral", "gpt_oss", "llama4_text", "qwen2_moe"]
"""Experts as (experts, out, in) and as (experts, in, out); with and without a shared one beside them."""


def mixture(model_type):
    return LM(tiny_mixture(model_type), SimpleNamespace(eos_token_id=2, pad_token_id=0))


@pytest.mark.parametrize("model_type", MIXED)
def test_experts_are_found_with_the_side_of_their_inputs(model_type):
    lm = mixture(model_type)
    found = surgery.experts(lm)
    assert {name.rsplit(".", 1)[1] for name in found} == {"gate_up_proj", "down_proj"}
    assert set(found.values()) == {model_type in ("gpt_oss", "llama4_text")}
    shapes = {name: weight.shape for name, weight in lm.model.named_parameters() if name in found}
    assert all(shape[1 if found[name] else 2] == 32 for name, shape in shapes.items() if "gate_up" in name)


@pytest.mark.parametrize("model_type", MIXED)
def test_experts_are_rounded_each_row_of_each(model_type):
    lm = mixture(model_type)
    mine, found = weights(lm), weights(surgery.rounded(lm, 3))
    for name, inputs_first in surgery.experts(lm).items():
        rows, there = (w.transpose(1, 2) if inputs_first else w for w in (mine[name], found[name]))
        scale = rows.abs().amax(dim=2, keepdim=True) / 3
        torch.testing.assert_close(there, (rows / scale).round() * scale)
        assert not torch.equal(there, rows)


@pytest.mark.parametrize("drop", ["smallest", "largest"])
def test_what_was_added_to_each_expert_is_truncated(drop):
    lm = mixture("mixtral")
    base = surgery.noised(lm, 0.5, seed=9)
    found = weights(surgery.truncated(lm, surgery.update_of(lm, base), 2, drop))
    mine, others = weights(lm), weights(base)
    for name in surgery.experts(lm):
        for i in range(4):
            full = torch.linalg.svdvals(mine[name][i] - others[name][i])
            left = torch.linalg.svdvals(found[name][i] - others[name][i])
            kept = full[:2] if drop == "smallest" else full[2:]
            torch.testing.assert_close(left[: len(kept)], kept, rtol=1e-4, atol=1e-4)
            assert float(left[len(kept) :].max()) < 1e-3


def test_what_cannot_be_done_to_experts_is_refused():
    lm = mixture("mixtral")
    with pytest.raises(UserError, match="experts of MixtralForCausalLM"):
        input_norms(lm, [Tokens((5, 6, 7), (8, 9))])
    experts = lm.model.model.layers[0].mlp.experts
    experts.down_proj = torch.nn.Parameter(experts.down_proj.detach().flatten(0, 1))
    with pytest.raises(UserError, match=r"layers\.0\.mlp\.experts\.down_proj is of shape \(128, 64\)"):
        surgery.rounded(lm, 4)
