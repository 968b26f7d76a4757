"""What is read of the stream inside a model, also where its embeddings are of another width."""

from types import SimpleNamespace

import pytest
import torch
from lm.architectures import tiny_model as tiny_architecture

from dormouse.lm.activations import logit_lens
from dormouse.lm.batch import rows_for
from dormouse.lm.latent import blocks
from dormouse.lm.model import LM
from dormouse.lm.reading import read_tokens
from dormouse.lm.trie import Tokens
from dormouse.lm.universal import Universal, UniversalAttack


@pytest.fixture
def narrow():
    """OPT-350m in small: embeddings of 16 numbers, a stream of 32."""
    model = tiny_architecture("opt", word_embed_proj_dim=16)
    return LM(model, SimpleNamespace(eos_token_id=2, pad_token_id=0))


def test_the_lens_reads_through_the_last_norm_s_weights():
    """Without them it named words that the model does not favour: a weight of 0 hides what lies along it."""
    lm = LM(tiny_architecture("gemma"), SimpleNamespace(eos_token_id=2, pad_token_id=0))
    norm, head = lm.model.model.norm, lm.model.get_output_embeddings().weight
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(-2, 3, 32))
    direction = torch.randn(32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = norm(direction) @ head.T
    torch.testing.assert_close(logit_lens(lm, direction), expected.cpu(), rtol=1e-4, atol=1e-5)
    assert set(expected.topk(6).indices.tolist()) != set((head @ direction).topk(6).indices.tolist())


def test_streams_of_another_width_than_the_embeddings_are_read_without_the_one_of_the_output(narrow):
    found = read_tokens(narrow, [(5, 6, 7), (8, 9)])
    assert found.states.shape == (2, len(blocks(narrow)), 32)
    assert logit_lens(narrow, torch.ones(32)).shape == found.logprobs[0].shape


def test_a_universal_change_is_as_wide_as_the_stream(narrow):
    rows = rows_for(narrow, [Tokens((5, 6, 7), (8, 9)), Tokens((5, 6, 7), (10,))])
    universal = Universal(narrow, rows, UniversalAttack(1, 2, 0.5, 2))
    universal.climb([row.owner < 1 for row in rows])
    assert universal.delta.shape == (2, 32)
    assert float(universal.delta.abs().max()) > 0
