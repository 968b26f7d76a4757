"""Erasers are held to the theorem and to a package; what was projected writes nothing of the direction."""

from types import SimpleNamespace

import pytest
import torch
from lm.architectures import tiny_model as tiny_mixture

from dormouse.errors import UserError
from dormouse.lm.activations import last_stream, prompt_streams
from dormouse.lm.chat import encode_prompts
from dormouse.lm.erasure import Eraser, leace_eraser, plain_eraser, projected
from dormouse.lm.load import load
from dormouse.lm.model import LM
from dormouse.records import ModelRef

PROMPTS = [(("user", f"What is glass made of {i} ?"),) for i in range(6)]


@pytest.fixture
def lm(tiny_model):
    return load(ModelRef((tiny_model,), "tiny"))


def classes(n=40, d=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(2 * n, d, generator=generator) @ torch.randn(d, d, generator=generator)
    shift = torch.randn(d, generator=generator)
    return mixed[:n] + shift, mixed[n:] - shift


def whitened_leace(on, off):
    """Theorem 4.3 of the paper as it stands there: x - W+ P W (x - mean), W the whitening, P the projection on W s."""
    x = torch.cat([on, off]).double()
    z = torch.cat([torch.ones(len(on)), torch.zeros(len(off))]).double()
    values, vectors = torch.linalg.eigh(torch.cov(x.T, correction=0))
    whiten, back = (vectors * values ** (sign / 2) @ vectors.T for sign in (-1, 1))
    s = whiten @ ((x - x.mean(0)).T @ (z - z.mean()) / len(x))
    return x - (x - x.mean(0)) @ (back @ torch.outer(s, s) / (s @ s) @ whiten).T


def test_leace_is_the_theorem_and_no_probe_is_left():
    on, off = classes()
    found = leace_eraser(on, off)(torch.cat([on, off]))
    torch.testing.assert_close(found.double(), whitened_leace(on, off), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found[: len(on)].mean(0), found[len(on) :].mean(0), rtol=1e-4, atol=1e-4)


def test_leace_is_the_package_s():
    erasure = pytest.importorskip("concept_erasure")
    on, off = classes(seed=1)
    x, z = torch.cat([on, off]).double(), torch.cat([torch.ones(len(on)), torch.zeros(len(off))])
    fitter = erasure.LeaceFitter(x.shape[1], 1, dtype=torch.float64, shrinkage=False, svd_tol=1e-8)
    theirs = fitter.update(x, z).eraser(x)
    torch.testing.assert_close(leace_eraser(on.double(), off.double())(x), theirs, rtol=1e-5, atol=1e-6)


def test_the_plain_projection_is_along_the_difference_of_means():
    on, off = classes()
    eraser = plain_eraser(on, off)
    assert float((eraser(on) @ eraser.left).abs().max()) < 1e-4
    aside = on - eraser(on)
    torch.testing.assert_close(aside, (on @ eraser.left)[:, None] * eraser.left, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [plain_eraser, leace_eraser])
def test_projected_streams_hold_nothing_of_the_direction(lm, make):
    """With the weights alone: of LEACE the constant part too, though the model has no bias to hold it."""
    prompts = encode_prompts(lm, PROMPTS)
    on, off = last_stream(lm, prompts[:3], 2), last_stream(lm, prompts[3:], 2)
    generator = torch.Generator().manual_seed(0)
    spread = torch.randn(64, 32, generator=generator)
    eraser = make(torch.cat([on, spread + 1]), torch.cat([off, spread]))
    found = projected(lm, eraser, 1.0, layer=2)
    for strength, scale in ((1.0, 0.0), (0.5, None)):
        found = projected(lm, eraser, strength, layer=2)
        inside = (last_stream(found, prompts, 2) - eraser.mean) @ eraser.right
        if scale is not None:
            assert float(inside.abs().max()) < 1e-3
        else:
            assert float(inside.abs().max()) > 1e-2
    assert not found.model.config.tie_word_embeddings
    head = lm.model.get_output_embeddings().weight
    assert torch.equal(found.model.get_output_embeddings().weight, head)


@pytest.mark.parametrize("model_type", ["gemma", "granite", "biogpt"])
def test_models_that_scale_their_embeddings_have_leace_s_constant_once(model_type):
    """It stood there as often as they scale: all of these were refused, as if they normalised what they write."""
    changes = {"embedding_multiplier": 12.0} if model_type == "granite" else {}
    lm = LM(tiny_mixture(model_type, **changes), SimpleNamespace(eos_token_id=2, pad_token_id=0))
    prompts = [(5, 6, 7 + i, 8, 40 + i) for i in range(12)]
    streams = torch.cat(prompt_streams(lm, prompts, 2))
    eraser = leace_eraser(streams[::2], streams[1::2])
    left = (torch.cat(prompt_streams(projected(lm, eraser, 1.0, 2), prompts, 2)) - eraser.mean) @ eraser.right
    assert float(left.abs().max()) < 1e-4 < float(((streams - eraser.mean) @ eraser.right).abs().max())


def test_embeddings_of_another_width_than_the_stream_are_refused():
    lm = LM(tiny_mixture("opt", word_embed_proj_dim=16), SimpleNamespace(eos_token_id=2, pad_token_id=0))
    with pytest.raises(UserError, match="of another width than its residual stream"):
        projected(lm, Eraser(*(torch.ones(32),) * 3), 1.0)


def test_an_architecture_whose_writers_are_not_known_is_refused(lm):
    for block in lm.model.model.layers:
        block.self_attn.strange = block.self_attn.o_proj
        del block.self_attn.o_proj
    with pytest.raises(UserError, match="cannot be taken out of this architecture"):
        projected(lm, Eraser(*(torch.ones(32),) * 3), 1.0)


@pytest.mark.parametrize("model_type", ["mixtral", "gpt_oss", "llama4_text", "qwen2_moe"])
def test_experts_write_nothing_of_a_projected_direction(model_type):
    lm = LM(tiny_mixture(model_type), SimpleNamespace(eos_token_id=2, pad_token_id=0))
    direction = torch.randn(32, generator=torch.Generator().manual_seed(0))
    direction /= direction.norm()
    found = projected(lm, Eraser(direction, direction, torch.zeros(32)), 1.0)
    stream = last_stream(found, [(5, 6, 7, 8), (9, 10, 11)], 4)
    assert float((stream @ direction).abs().max()) < 1e-3 < float(stream.abs().max())
    assert float((last_stream(lm, [(5, 6, 7, 8)], 4) @ direction).abs().max()) > 1e-2
