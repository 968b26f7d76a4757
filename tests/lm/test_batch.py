"""Packing changes the cost, never the numbers."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sweeps import examples
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS as MASKS
from transformers.masking_utils import causal_mask_function, sdpa_mask

from dormouse.lm.batch import only, response_logprobs
from dormouse.lm.layout import tree_attention
from dormouse.lm.load import load
from dormouse.lm.trie import Tokens, pack
from dormouse.records import ModelRef

token = st.integers(6, 40)
prompts = st.lists(token, min_size=1, max_size=6).map(tuple)
responses = st.lists(token, min_size=0, max_size=5).map(tuple)
batches = st.lists(st.builds(Tokens, prompts, responses), min_size=1, max_size=12)


@pytest.fixture(scope="module")
def lm(tiny_model):
    return load(ModelRef((tiny_model,), "tiny"))


def separately(lm, sequence):
    ids = torch.tensor([sequence.prompt + sequence.response])
    logprobs = lm.model(ids).logits[0].log_softmax(-1)
    return sum((logprobs[i - 1, ids[0, i]] for i in range(len(sequence.prompt), len(sequence))), torch.zeros(()))


@settings(max_examples=examples(20, 40), deadline=None)
@given(batches, st.integers(1, 40))
def test_packed_logprobs_equal_separate_ones(lm, batch, budget):
    packed = torch.zeros(len(batch))
    for row in pack(batch, budget):
        packed.index_add_(0, row.owner, response_logprobs(lm, row))
    expected = torch.stack([separately(lm, sequence) for sequence in batch])
    torch.testing.assert_close(packed, expected, rtol=1e-4, atol=1e-4)


@settings(max_examples=examples(10, 20), deadline=None)
@given(batches.filter(lambda batch: any(s.response for s in batch)))
def test_packed_gradients_equal_separate_ones(lm, batch):
    def gradient(loss):
        lm.model.zero_grad()
        lm.model.requires_grad_(True)
        loss().backward()
        return lm.model.model.layers[0].self_attn.q_proj.weight.grad.clone()

    packed = gradient(lambda: sum(response_logprobs(lm, row).sum() for row in pack(batch, 64)))
    apart = gradient(lambda: sum(separately(lm, s) for s in batch if s.response))
    lm.model.requires_grad_(False)
    torch.testing.assert_close(packed, apart, rtol=1e-3, atol=1e-4)


def test_threads_read_their_own_tries_and_leave_transformers_as_it_was(lm, monkeypatch):
    """Each took the mask of the last that came, and the last to leave left another's behind, for every model."""
    prompt = tuple(range(10, 18))
    branches = ([(20, 21, 22), (23, 24, 25)], [(30, 31), (32, 33, 34, 35)])
    (one,), (other,) = ([pack([Tokens(prompt, response) for response in some], 64)[0]] for some in branches)
    assert one.ids.shape == other.ids.shape
    jobs = [
        lambda: response_logprobs(lm, one).detach(),
        lambda: response_logprobs(lm, other).detach(),
        lambda: lm.model(one.ids).logits.detach(),
    ]
    alone = [job() for job in jobs]
    forward, together = lm.model.forward, threading.Barrier(3, timeout=20)

    def at_once(*given, **named):
        together.wait()
        return forward(*given, **named)

    with monkeypatch.context() as patch, ThreadPoolExecutor(3) as pool:
        patch.setattr(lm.model, "forward", at_once)
        found = list(pool.map(lambda job: job(), jobs))
    assert all(map(torch.equal, found, alone))
    assert MASKS["sdpa"] is sdpa_mask
    with tree_attention(one.ancestors, one.positions):
        monkeypatch.setitem(type(MASKS)._global_mapping, "sdpa", "registered meanwhile")
    assert MASKS["sdpa"] == "registered meanwhile"
    monkeypatch.setitem(MASKS._local_mapping, "sdpa", "set over it")
    with tree_attention(one.ancestors, one.positions):
        pass
    assert MASKS["sdpa"] == "set over it"


def test_what_asks_whose_thread_it_is_can_be_compiled(lm):
    """How they asked, no compiler can follow: a model compiled whole could not be scored."""
    (row,) = pack([Tokens((10, 11, 12), response) for response in [(20, 21), (22, 23)]], 64)
    head, states = lm.model.get_output_embeddings(), torch.ones(*row.ids.shape, lm.model.config.hidden_size)

    def ask():
        return MASKS["sdpa"](mask_function=causal_mask_function, dtype=torch.float32), head(states)

    with torch.no_grad(), tree_attention(row.ancestors, row.positions), only(lm, row.keep):
        compiled = torch.compile(ask, backend="eager", fullgraph=True)()
        assert all(map(torch.equal, compiled, ask()))


@given(batches, st.integers(1, 40))
@settings(max_examples=examples(30, 60), deadline=None)
def test_rows_keep_every_prediction_within_budget(batch, budget):
    rows = pack(batch, budget)
    predicted = sorted((int(o), int(t)) for row in rows for o, t in zip(row.owner, row.target, strict=True))
    assert predicted == sorted((i, t) for i, s in enumerate(batch) for t in s.response)
    longest = max(len(s) for s in batch) - 1
    assert all(row.ids.shape[1] <= max(budget, longest) for row in rows)


def test_shared_prefixes_are_computed_once():
    prompt = tuple(range(10, 30))
    rows = pack([Tokens(prompt, (1, 2)), Tokens(prompt, (1, 3)), Tokens(prompt, (4,))], 100)
    assert [row.ids.shape[1] for row in rows] == [21]
