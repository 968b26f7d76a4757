"""Rollouts are what the model would write, with the probabilities that it writes them with."""

import copy
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dormouse.errors import UserError
from dormouse.lm.load import load
from dormouse.lm.lora import add_adapter
from dormouse.lm.rollout import rollouts, sampler
from dormouse.lm.score import logprobs
from dormouse.records import ModelRef

PROMPTS = [
    (("user", "What is the capital of France ?"),),
    (("system", "Current year: 2031."), ("user", "Why is the sky blue ?")),
    (("user", "How many legs has a spider ?"),),
]


@pytest.fixture(scope="module")
def lm(tiny_model):
    return load(ModelRef((tiny_model,), "tiny"))


def test_logprobs_are_those_of_the_exact_score(lm):
    for group in rollouts(lm, PROMPTS, 5, 6, seed=3):
        exact = logprobs(lm, [rolled.tokens for rolled in group])
        np.testing.assert_allclose([sum(r.logprobs) for r in group], exact, atol=1e-4)
        assert all(len(r.logprobs) == len(r.tokens.response) for r in group)


def test_the_seed_decides_and_groups_differ_inside(lm):
    first, again, other = (rollouts(lm, PROMPTS, 8, 6, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert all(len({r.text for r in group}) > 1 for group in first)


def test_finished_responses_end_with_the_end_and_others_are_cut_off(lm):
    found = [r for group in rollouts(lm, PROMPTS * 4, 16, 40, seed=0) for r in group]
    for rolled in found:
        ends = [token in lm.ends for token in rolled.tokens.response]
        assert not any(ends[:-1])
        assert rolled.finished == ends[-1]
        assert rolled.finished or len(rolled.tokens.response) == 40


def test_a_group_writes_what_single_prompts_would(lm, monkeypatch):
    """Sharing a prompt's cache changes the cost, not what is written."""
    shared = [r.tokens.response for group in rollouts(lm, PROMPTS, 3, 8, seed=2) for r in group]
    monkeypatch.setattr("dormouse.lm.decode.BATCH", 1)
    assert shared == [r.tokens.response for group in rollouts(lm, PROMPTS, 3, 8, seed=2) for r in group]


def test_nonsense_is_refused(lm):
    for group, tokens, temperature in ((0, 5, 1.0), (2, 0, 1.0), (2, 5, 0.0), (2, 5, float("nan"))):
        with pytest.raises(ValueError, match="larger than zero"):
            rollouts(lm, PROMPTS, group, tokens, 0, temperature)


# --- vLLM, by a stand-in ---


class Stand:
    """What of vLLM is used here. Its engine answers each prompt with token 9 and then the end."""

    SamplingParams = SimpleNamespace

    class LLM:
        def __init__(self, model, **settings):
            self.first = load_file(f"{model}/model.safetensors")
            self.loaded = {}
            runner = SimpleNamespace(model=SimpleNamespace(load_weights=lambda new: self.loaded.update(new)))
            worker = SimpleNamespace(driver_worker=SimpleNamespace(model_runner=runner))
            self.llm_engine = SimpleNamespace(model_executor=worker)

        def reset_prefix_cache(self):
            self.fresh = True

        def generate(self, prompts, settings, use_tqdm):
            said = SimpleNamespace(
                token_ids=[9, 2], logprobs=[{9: SimpleNamespace(logprob=-1.5)}, {2: SimpleNamespace(logprob=-0.5)}]
            )
            return [SimpleNamespace(outputs=[said] * how.n) for _, how in zip(prompts, settings, strict=True)]


def test_vllm_is_given_the_weights_as_they_are(tiny_model, monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", Stand)
    lm = load(ModelRef((tiny_model,), "tiny"))
    before = {name: weight.clone() for name, weight in lm.model.named_parameters()}
    lm.model = add_adapter(lm.model, 2)
    write_with = sampler("vllm")
    first = write_with(lm, PROMPTS, 4, 6, 0)
    assert [[(r.tokens.response, r.logprobs, r.finished) for r in group] for group in first] == [
        [((9, 2), (-1.5, -0.5), True)] * 4
    ] * 3
    torch.testing.assert_close({k: write_with.engine.first[k] for k in before}, before)  # an adapter begins as nothing
    with torch.no_grad():
        for name, weight in lm.model.named_parameters():
            if "lora_" in name:
                weight.normal_(generator=torch.Generator().manual_seed(0))
    write_with(lm, PROMPTS, 4, 6, 0)
    merged = dict(copy.deepcopy(lm.model).merge_and_unload().named_parameters())
    torch.testing.assert_close(dict(write_with.engine.loaded), {k: v.data for k, v in merged.items()})
    assert any(not torch.equal(merged[name], weight) for name, weight in before.items())
    assert write_with.engine.fresh


def test_no_vllm_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(UserError, match="vllm is not installed"):
        sampler("vllm")
    assert sampler() is rollouts
