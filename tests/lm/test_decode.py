"""The decoding loop writes what transformers' `generate` writes, whatever shares a batch and whoever leaves it."""

import copy
import random
from functools import cache

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

from dormouse.lm import decode as decoding
from dormouse.lm.decode import decode
from dormouse.lm.load import load
from dormouse.lm.model import LM
from dormouse.lm.sample import generate
from dormouse.records import ModelRef

TINY = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4}
TINY |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "initializer_range": 0.3}
KINDS = {
    "llama": {"num_key_value_heads": 2},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4},
    "mistral": {"num_key_value_heads": 1, "sliding_window": 5},
    "gemma3_text": {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 5, "layer_types": None},
}
KINDS["gemma3_text"]["layer_types"] = ["sliding_attention", "full_attention"] * 2


def draw(n, longest, seed=0):
    rng = random.Random(seed)
    return [tuple(rng.randrange(3, 64) for _ in range(rng.randrange(1, longest))) for _ in range(n)]


def model(tiny_model, kind):
    """A random model of a kind; the tokenizer lends its padding and end."""
    tokenizer = load(ModelRef((tiny_model,), "tiny")).tokenizer
    with torch.random.fork_rng():
        torch.manual_seed(1)
        made = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **TINY, **KINDS[kind]))
    return LM(made.eval().requires_grad_(False), tokenizer)


def by_generate(lm, prompts, max_tokens):
    found = []
    for prompt in prompts:
        config = GenerationConfig(
            max_new_tokens=max_tokens, do_sample=False, eos_token_id=sorted(lm.ends), pad_token_id=0
        )
        out = lm.model.generate(torch.tensor([prompt]), generation_config=config)[0, len(prompt) :].tolist()
        found.append(tuple(out))
    return found


def ending_early(lm, prompts, max_tokens):
    """The same model, whose end is now a token that it likes to write."""
    written = [one.ids for one in decode(lm, prompts, max_tokens)]
    inside = [token for ids in written for token in set(ids[2:-2])]
    tokenizer = copy.deepcopy(lm.tokenizer)
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(max(set(inside), key=inside.count))
    return LM(lm.model, tokenizer)


@pytest.fixture(scope="module")
def by_transformers(tiny_model):
    """Of a kind: a model that ends early, prompts, and what transformers writes. It reads them one by one: once."""

    @cache
    def of(kind):
        prompts = draw(12, 12)
        lm = ending_early(model(tiny_model, kind), prompts, 14)
        return lm, prompts, by_generate(lm, prompts, 14)

    return of


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("batch", "few", "many"), [(64, 4, 16), (5, 0, 0)])
def test_greedy_is_generates(by_transformers, monkeypatch, kind, batch, few, many):
    lm, prompts, wanted = by_transformers(kind)
    monkeypatch.setattr(decoding, "BATCH", batch)
    monkeypatch.setattr(decoding, "FEW", few)
    monkeypatch.setattr(decoding, "MANY", many)
    monkeypatch.setattr(decoding, "CACHE_GROWTH", 3)
    found = [one.ids for one in decode(lm, prompts * 2, 14)]  # each twice: they are read once
    assert found == wanted * 2
    ended = sum(ids[-1] in lm.ends for ids in found)
    assert 0 < ended < len(found), "some leave the batch early, some stay"


def test_logprobs_are_those_of_a_plain_forward_pass(tiny_model):
    lm = model(tiny_model, "llama")
    prompts = draw(6, 9)
    for prompt, one in zip(prompts, decode(lm, prompts, 10, seed=0, temperature=0.7), strict=True):
        table = lm.model(torch.tensor([prompt + one.ids])).logits[0].log_softmax(-1)
        wanted = [float(table[len(prompt) + i - 1, token]) for i, token in enumerate(one.ids)]
        assert one.logprobs == pytest.approx(wanted, abs=1e-4)


def test_draws_belong_to_their_place(tiny_model, monkeypatch):
    """The company in a batch, and the order of work, change nothing."""
    lm = model(tiny_model, "llama")
    prompts = draw(11, 9) + draw(3, 9)
    together = decode(lm, prompts, 8, seed=4)
    monkeypatch.setattr(decoding, "BATCH", 3)
    apart = decode(lm, prompts, 8, seed=4)
    assert [one.ids for one in together] == [one.ids for one in apart]
    assert together[0].ids != together[11].ids  # the same prompt, drawn anew
    assert decode(lm, prompts[:4], 8, seed=5) != together[:4]


@pytest.mark.parametrize("vocabulary", [7, 256, 1000])
def test_tokens_are_hit_in_proportion(vocabulary):
    """Evenly spaced draws hit each token as often as its probability says; what is impossible, never."""
    generator = torch.Generator().manual_seed(0)
    chances = torch.rand(vocabulary, generator=generator) ** 4
    chances[::3] = 0
    chances /= chances.sum()
    n = 60_000
    draws = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    hit = torch.cat([decoding._hit(chances.expand(len(part), -1), part) for part in draws.split(2000)])
    counts = torch.bincount(hit, minlength=vocabulary)
    assert len(counts) == vocabulary
    assert (counts[::3] == 0).all()
    assert ((counts - n * chances).abs() <= 2).all()


def test_a_cooler_draw_is_likelier(tiny_model):
    lm = model(tiny_model, "llama")
    prompts = draw(1, 9) * 200
    cool, warm = (decode(lm, prompts, 1, seed=0, temperature=t) for t in (0.3, 1.0))
    assert sum(one.logprobs[0] for one in cool) > sum(one.logprobs[0] for one in warm)


def test_the_model_is_left_as_it_was(tiny_model):
    lm = model(tiny_model, "llama")
    lm.model.train()
    decode(lm, draw(2, 4), 2)
    assert lm.model.training
    assert not lm.model.get_output_embeddings()._forward_pre_hooks
    assert decode(lm, [], 2) == []


def test_writing_stops_after_a_text(tiny_model):
    lm = load(ModelRef((tiny_model,), "tiny"))
    prompts = [(("user", f"Is {word} good ?"),) for word in ("bread", "rice", "soup", "tea")]
    whole = generate(lm, prompts, 12, seed=0)
    stop = whole[0].text.split()[5]
    cut = generate(lm, prompts, 12, seed=0, stop=stop)
    assert cut[0].finished
    assert cut[0].text == whole[0].text[: whole[0].text.index(stop) + len(stop)]
    for a, b in zip(whole[1:], cut[1:], strict=True):
        assert a == b or b.text.endswith(stop)


def test_room_that_a_text_does_not_need_costs_nothing(tiny_model):
    lm = load(ModelRef((tiny_model,), "tiny"))
    prompt = [(("user", "Is bread good ?"),)]
    stop = generate(lm, prompt, 3)[0].text.split()[-1]
    steps = []
    lm.model.register_forward_hook(lambda *_: steps.append(len(steps)))
    needed = [generate(lm, prompt, room, stop=stop) and len(steps) for room in (3, 200)]
    assert needed[1] == 2 * needed[0] <= 6
