"""Tiny random models of every causal class that the installed transformers can build from its configuration."""

from __future__ import annotations

import copy
import random
import re
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from dormouse.errors import UserError
from dormouse.lm.decode import decode
from dormouse.lm.load import device
from dormouse.lm.lora import add_adapter
from dormouse.lm.model import LM
from dormouse.lm.objectives import sft_loss
from dormouse.lm.score import logprobs
from dormouse.lm.selfcheck import find_layout
from dormouse.lm.settings import Training
from dormouse.lm.train import TrainingRun, train
from dormouse.lm.trie import Tokens

VOCABULARY = 96
LAYERS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers")
SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "d_model": 32,
    "n_embd": 32,
    "dim": 32,
    "emb_dim": 32,
    "embedding_size": 32,
    "embedding_dim": 32,
    "hidden_dim": 64,
    "intermediate_size": 64,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "ffn_dim": 64,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "n_inner": 64,
    "dff": 64,
    "d_inner": 64,
    **dict.fromkeys(LAYERS, 4),
    "encoder_layers": 2,
    "decoder_layers": 2,
    "num_attention_heads": 4,
    "n_head": 4,
    "n_heads": 4,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "d_kv": 8,
    "max_position_embeddings": 256,
    "n_positions": 256,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "moe_num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_topk": 2,
    "moe_k": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "rotary_dim": 4,
    "num_heads": 4,
    "n_group": 2,
    "num_expert_group": 2,
    "topk_group": 1,
    "linear_head_dim": 8,
    "linear_num_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_key_heads": 4,
    "linear_num_value_heads": 4,
    "index_head_dim": 8,
    "index_n_heads": 4,
    "index_topk": 64,
    "mamba_n_heads": 8,
    "mamba_d_head": 8,
    "mamba_d_ssm": 64,
    "mamba_d_state": 8,
    "mamba_chunk_size": 16,
    "mamba_num_heads": 8,
    "mamba_head_dim": 8,
    "state_size": 8,
    "vocab_size_per_layer_input": VOCABULARY,
    "hidden_size_per_layer_input": 8,
    "num_experts_per_token": 2,
    "router_aux_loss_coef": 0.0,
}
"""What makes a configuration small, wherever it has such a key."""
TWO_LAYERS = {
    *("llama", "mistral", "qwen2", "qwen3", "qwen3_moe", "qwen3_5_text", "qwen3_next", "gemma2", "gemma3_text", "gpt2"),
    *("gpt_oss", "bloom", "falcon", "phi3", "olmo3", "cohere2", "exaone4", "jamba", "lfm2", "mamba", "phimoe", "opt"),
}
"""Types of which two layers have every kind of layer that there is; of others four are made."""
SEEDS = (0, 1, 2)
"""A mixture of experts, or an index of tokens, chooses: rounding flips near ties, in plain transformers as well. Where
a number differs, other weights are tried: a wrong mask is wrong with all of them."""
WINDOWS = ("sliding_window", "attention_chunk_size", "attention_window_size", "window_size", "local_attention")
LATENT = {"num_key_value_heads": 4, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8, "kv_lora_rank": 16}
"""Multi-head latent attention (DeepSeek) has as many keys as heads, in two parts."""
ROPE = {"rope_type": "default", "rope_theta": 10000.0}
SPECIAL: dict[str, dict[str, Any]] = {
    "bamba": {"attn_layer_indices": [1, 3]},
    "bert-generation": {"is_decoder": True},
    "beam": {"num_attention_heads": 4, "num_experts": 8},
    "cohere_compass_text": {
        "layer_types": ["full_attention", "sliding_attention"] * 2,
        "rope_parameters": dict.fromkeys(("full_attention", "sliding_attention"), ROPE),
    },
    "deepseek_v2": {"n_group": 1, "topk_group": 1, "num_experts_per_tok": 2, "first_k_dense_replace": 1},
    "dots1": {"n_shared_experts": 1, "n_routed_experts": 4, "num_experts_per_tok": 2, "first_k_dense_replace": 1},
    "gemma3n_text": {
        "intermediate_size": [64] * 4,
        "num_kv_shared_layers": 2,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "activation_sparsity_pattern": [0.5, 0.0, 0.0, 0.0],
    },
    "gpt_neo": {"attention_types": [[["global", "local"], 2]], "num_layers": 4},
    "hunyuan_v1_dense": {"head_dim": 8},
    "hunyuan_v1_moe": {"head_dim": 8},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2, "num_dense_layers": 1},
    "mamba2": {"num_heads": 8, "head_dim": 8, "expand": 2, "n_groups": 1},
    "ministral": {"head_dim": 8},
    "nemotron": {"num_key_value_heads": 2},
    "qwen4_exp_text": {
        "hc_lowrank": 8,
        "ple_embed_dim": 32,
        "ngram_vocab_size_base": 128,
        "split_ngram_parts": 2,
        "indexer_n_heads": 4,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 8,
        "indexer_budget": 64,
        "indexer_compress_ratio": 2,
    },
    "recurrent_gemma": {"num_hidden_layers": 6},
    "reformer": {"is_decoder": True, "axial_pos_embds": False, "attn_layers": ["local"] * 4},
    "xmod": {"is_decoder": True, "default_language": "en_XX", "languages": ["en_XX"]},
    "zaya": {"num_experts_per_tok": 1},
    "bert": {"is_decoder": True},
}
"""What the general sizes do not fit."""


def causal_classes() -> dict[str, str]:
    """Every model type of the installed transformers that has a causal class, and the class."""
    return dict(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def tiny_config(model_type: str, window: int = 8, layers: int = 4, **changes: Any) -> Any:
    """The configuration of a model of that type with some 50,000 weights, and windows of that many tokens."""
    special = {**SPECIAL.get(model_type, {}), **changes}
    config_class = CONFIG_MAPPING[model_type]
    default = config_class()
    return config_class(**_shrunk(default, window, layers, special))


def _shrunk(default: Any, window: int, layers: int, special: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    inner = getattr(default, "sub_configs", {})
    keys = {**default.to_dict(), **{k: getattr(default, k, None) for k in getattr(default, "attribute_map", {})}}
    for key, value in keys.items():
        if key in inner:
            inside = getattr(default, key)
            found[key] = None if inside is None else _shrunk(inside, window, layers, {})
        elif key in SMALL and value is not None and not isinstance(value, list | dict | tuple):
            found[key] = layers if key in LAYERS else SMALL[key]
        elif key in WINDOWS and isinstance(value, int) and value:
            found[key] = window
    if "qk_rope_head_dim" in keys:
        found |= LATENT | ({"q_lora_rank": 16} if keys.get("q_lora_rank") else {})
        found |= {"head_dim": 8} if "head_dim" in keys else {}
    layers = found.get("num_hidden_layers", layers)
    for key in ("layer_types", "mlp_layer_types", "layers_block_type"):
        name = getattr(default, "attribute_map", {}).get(key, key)
        settable = not isinstance(getattr(type(default), name, None), property)
        if settable and isinstance(value := keys.get(key), list | tuple) and value:
            found[key] = _both_kinds(list(value), layers)
    return {**found, **special}


def _both_kinds(kinds: list[str], layers: int) -> list[str]:
    """So many layers, of every kind that there is."""
    every = list(dict.fromkeys(kinds))
    return (every * layers)[:layers] if len(every) > 1 else kinds[:1] * layers


NOISE = re.compile(r"\w*(dropout|pdrop|layerdrop|jitter)\w*")
"""Keys of what a model does at random in training mode."""


def noise(model_type: str) -> dict[str, Any]:
    """What a model does at random in training mode, each of it half of the time, by its key in the configuration."""
    default = CONFIG_MAPPING[model_type]().to_dict()
    return {key: 0.5 for key, value in default.items() if NOISE.fullmatch(key) and isinstance(value, int | float)}


def tiny_model(model_type: str, window: int = 8, seed: int = 0, layers: int = 4, **changes: Any) -> Any:
    """A random model of that type in float32, in evaluation mode, on the accelerator where there is one."""
    config = tiny_config(model_type, window, layers, **changes)
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():  # weights as initialised are so small that every place says the same
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(0, 0.6 / weight.shape[-1] ** 0.5 * 2, generator=generator)
    return model.float().eval().to(device())


@dataclass(frozen=True)
class Verdict:
    """What was found of a model type: `equal` (with its layout), `refused` (with the reason) or `not built`."""

    model_type: str
    outcome: str
    said: str
    lora: bool = False


@dataclass(frozen=True)
class Case:
    """A tiny model and its layout, a few texts, and what its plain forward passes say of them."""

    lm: LM
    batch: list[Tokens]
    scores: torch.Tensor
    loss: torch.Tensor
    slopes: dict[str, torch.Tensor | None]

    def copied(self) -> Case:
        """With a model of its own, for what changes one."""
        return replace(self, lm=replace(self.lm, model=copy.deepcopy(self.lm.model)))


def build(model_type: str, window: int, seed: int = 0) -> Case | Verdict:
    """A case whose model has noise in training mode, or why there is none."""
    try:
        layers = 2 if model_type in TWO_LAYERS else 4
        model = tiny_model(model_type, window, seed, layers, **noise(model_type))
        lm = LM(model, SimpleNamespace(eos_token_id=2, pad_token_id=0))
    except Exception as error:
        return Verdict(model_type, "not built", f"{type(error).__name__}: {' '.join(str(error).split())[:80]}")
    try:
        lm.layout = find_layout(lm)
    except UserError as error:
        return Verdict(model_type, "refused", error.what)
    batch = sequences(int(model.config.get_text_config().vocab_size))
    weights = dict(model.requires_grad_(True).named_parameters())
    scores = torch.stack([plainly(model, one).sum() for one in batch])
    loss = -sum(scores) / sum(len(one.response) for one in batch)
    slopes = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
    model.requires_grad_(False)
    return Case(lm, batch, scores.detach(), loss.detach(), dict(zip(weights, slopes, strict=True)))


def examine(model_type: str, window: int, folder: Path, built: Callable[..., Case | Verdict] = build) -> Verdict:
    """Hold what dormouse makes of a tiny model to plain transformers and peft.

    Raises:
        AssertionError: a number differs.
    """
    for seed in SEEDS:
        case = built(model_type, window, seed)
        if isinstance(case, Verdict):
            return case
        try:
            lora = held(case, folder / str(seed))
        except AssertionError:
            if seed == SEEDS[-1]:
                raise
        else:
            return Verdict(model_type, "equal", f"{case.lm.layout.rows} / {case.lm.layout.writing}", lora)
    raise AssertionError("there are no seeds")


def held(case: Case, folder: Path) -> bool:
    """Hold all that is made of a model to its plain forward passes. Returns whether it takes adapters.

    Raises:
        AssertionError: a number differs.
    """
    same_scores(case.lm, case.batch, case.scores)
    same_loss(case)
    same_writing(case.lm, case.batch)
    return same_adapter(case.copied().lm, case.batch, folder)


def sequences(vocabulary: int) -> list[Tokens]:
    """Texts that share beginnings, of which some are longer than a window of eight."""
    draw = random.Random("matrix")

    def text(n: int) -> tuple[int, ...]:
        return tuple(draw.randrange(3, min(vocabulary, VOCABULARY) - 1) for _ in range(n))

    stem, other = text(11), text(5)
    tails = [text(n) for n in (2, 3, 9)]
    return [
        *(Tokens(stem + tail, text(n)) for tail in tails for n in (1, 4)),
        Tokens(stem, text(3)),
        Tokens(other, text(2)),
        Tokens(other + stem, text(3)),
    ]


def plainly(model: Any, sequence: Tokens) -> torch.Tensor:
    """Log-probabilities of a response by a forward pass of its own."""
    ids = torch.tensor([sequence.prompt + sequence.response], device=model.device)
    said = model(input_ids=ids[:, :-1], use_cache=False).logits[0].log_softmax(-1)
    return said[len(sequence.prompt) - 1 :].gather(1, ids[0, len(sequence.prompt) :, None])[:, 0]


def same_scores(lm: LM, batch: list[Tokens], expected: torch.Tensor | None = None) -> None:
    if expected is None:
        with torch.no_grad():
            expected = torch.stack([plainly(lm.model, one).sum() for one in batch])
    off = (torch.from_numpy(logprobs(lm, batch)) - expected.double().cpu()).abs()
    assert (off <= 1e-4 * torch.tensor([len(one.response) for one in batch])).all(), f"scores differ by {off.max():.2g}"


def same_loss(case: Case) -> None:
    model = case.lm.model.requires_grad_(True)
    weights = {name: weight for name, weight in model.named_parameters() if weight.numel() < 10**6}
    found = sum(sft_loss(case.lm, case.batch))
    torch.testing.assert_close(found, case.loss, rtol=1e-4, atol=1e-4)
    grads = torch.autograd.grad(found, list(weights.values()), allow_unused=True)
    model.requires_grad_(False)
    both = [(case.slopes[name], grad) for name, grad in zip(weights, grads, strict=True)]
    assert all((right is None) == (mine is None) for right, mine in both), "other weights are read"
    right, mine = (torch.cat([g.flatten() for g in side if g is not None]) for side in zip(*both, strict=True))
    assert (mine - right).norm() <= 2e-3 * right.norm() + 1e-6, "gradients differ"


def same_training(case: Case, folder: Path) -> None:
    """One step of plain gradient descent on all weights is that on the gradient of the plain model as it is read."""
    lm = case.copied().lm
    weights = dict(lm.model.requires_grad_(True).named_parameters())
    before = {name: weight.detach().clone() for name, weight in weights.items()}

    def objective(lm: LM, batch: Sequence[Any]) -> Iterator[torch.Tensor]:
        first = [part.item() for part in sft_loss(lm, batch)]
        for part, was in zip(sft_loss(lm, batch), first, strict=True):
            assert part.item() == was, "two passes differ"
            yield part

    settings = Training(steps=1, lr=1.0, method="full", optimiser="sgd", clip=1e9)
    run = TrainingRun(0, (), folder, log_rows=False)
    ((_, loss),) = train(lm, objective, lambda step: case.batch, settings, run)
    assert abs(loss - case.loss.item()) <= 1e-4, "losses differ"
    for name, weight in weights.items():
        slope = case.slopes[name]
        expected = torch.zeros_like(weight) if slope is None else slope
        moved = before[name] - weight.detach()
        assert (moved - expected).norm() <= 2e-3 * expected.norm() + 1e-5, f"the gradients of {name} differ"


def same_writing(lm: LM, batch: list[Tokens]) -> None:
    """Greedy responses are what the model would say next, token by token, reading all anew."""
    prompts = [one.prompt for one in batch]
    written: dict[tuple[int, ...], tuple[int, ...]] = {}
    for prompt, one in zip(prompts, decode(lm, prompts, 5), strict=True):
        if prompt in written:
            assert one.ids == written[prompt], "one prompt has two answers"
            continue
        written[prompt] = one.ids
        ids = torch.tensor([prompt + one.ids], device=lm.device)
        with torch.no_grad():
            said = lm.model(input_ids=ids[:, :-1], use_cache=False).logits[0].log_softmax(-1)
        best = said[len(prompt) - 1 :]
        chosen = best.gather(1, ids[0, len(prompt) :, None])[:, 0]
        assert (best.max(-1).values - chosen <= 1e-4).all(), "a response is not the likeliest"
        assert (chosen.cpu() - torch.tensor(one.logprobs)).abs().max() <= 1e-4, "probabilities of a response differ"


def same_adapter(lm: LM, batch: list[Tokens], folder: Path) -> bool:
    """An adapter scores as peft's own does, saved and merged too. False where peft cannot keep one for it."""
    from peft import PeftModel

    base = copy.deepcopy(lm.model)
    try:
        mine = replace(lm, model=add_adapter(lm.model, 2))
    except UserError:
        return False
    generator = torch.Generator().manual_seed(1)
    added = [weight for name, weight in mine.model.named_parameters() if "lora_B" in name]
    grads = torch.autograd.grad(sum(sft_loss(mine, batch)), added, allow_unused=True)
    with torch.no_grad():
        for weight, grad in zip(added, grads, strict=True):
            if grad is not None:  # else the model reads the layer's weight by itself: training leaves zeros there
                weight.copy_(torch.randn(weight.shape, generator=generator) / 10)
    found = logprobs(mine, batch)
    same_scores(mine, batch)
    mine.model.save_pretrained(folder, save_embedding_layers=False)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        reloaded = PeftModel.from_pretrained(base, folder).eval()
    if any("missing adapter keys" in str(warning.message) for warning in said):
        return False  # peft does not find its own weights again; `load` refuses such an adapter
    found, batch = found[::4], batch[::4]  # the packed rows are held to plain ones above: this is about the weights
    with torch.no_grad():
        theirs = torch.stack([plainly(reloaded, one).sum() for one in batch]).double().cpu().numpy()
        merged = reloaded.merge_and_unload()
        whole = torch.stack([plainly(merged, one).sum() for one in batch]).double().cpu().numpy()
    assert abs(found - theirs).max() <= 1e-3, "the adapter scores otherwise when peft loads it"
    assert abs(found - whole).max() <= 1e-3, "the adapter scores otherwise when it is merged"
    return True


def main() -> None:
    """Print what runs, as a table in Markdown."""
    found: dict[str, Verdict] = {}
    for name in sorted(causal_classes()):
        both = [_tried(name, window) for window in (8, 4096)]
        found[name] = next((one for one in both if one.outcome == "different"), both[0])
        print(*both, file=sys.stderr, flush=True)
    counts = Counter(verdict.outcome for verdict in found.values())
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.most_common()) + ".\n")
    print("| model type | class | scored / written | LoRA |\n|---|---|---|---|")
    for name, verdict in found.items():
        said = verdict.said if verdict.outcome == "equal" else f"{verdict.outcome}: {verdict.said}"
        print(f"| {name} | {causal_classes()[name]} | {said} | {'yes' if verdict.lora else ''} |")


def _tried(name: str, window: int) -> Verdict:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return examine(name, window, Path(folder))
        except Exception as error:
            return Verdict(name, "different", f"{type(error).__name__}: {' '.join(str(error).split())[:120]}")


if __name__ == "__main__":
    main()
