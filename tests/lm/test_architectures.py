"""Every causal class of the installed transformers: packed equals plain, or the model is refused by name."""

import os
from types import SimpleNamespace

import pytest
from lm.architectures import SEEDS, causal_classes, examine, noise, same_training, sequences, tiny_model

from dormouse.errors import UserError
from dormouse.lm.model import LM
from dormouse.lm.selfcheck import find_layout

EXACT = [
    "llama",
    "mistral",
    "qwen2",
    "qwen3",
    "qwen3_moe",
    "qwen3_5_text",
    "qwen3_next",
    "gemma2",
    "gemma3_text",
    "gemma4_text",
    "gpt2",
    "gpt_neo",
    "gpt_oss",
    "bloom",
    "falcon",
    "phi3",
    "olmo3",
    "cohere2",
    "exaone4",
    "llama4_text",
    "jamba",
    "lfm2",
    "mamba",
    "smollm3",
]
WINDOWED = ["mistral", "gemma3_text", "gpt_oss", "llama4_text"]
REFUSED = ["roberta", "electra", "xlnet", "prophetnet"]
EVERY = bool(os.environ.get("DORMOUSE_STRESS"))


RECOMPUTED = ("llama", "gpt2", "gemma3_text", "qwen3_moe", "mamba", "opt")
"""Classes of which the short form tries gradient checkpointing too."""
CASES = [*((name, 8) for name in EXACT), *((name, 4096) for name in WINDOWED)]
"""Windows that texts go beyond; a few architectures whose window holds all of them, as that of most has none."""


@pytest.mark.parametrize(
    ("model_type", "window"), [(name, n) for name in sorted(causal_classes()) for n in (8, 4096)] if EVERY else CASES
)
def test_packed_is_plain(model_type, window, tmp_path):
    verdict = examine(model_type, window, tmp_path)
    assert model_type not in EXACT or verdict.outcome == "equal", verdict


@pytest.mark.parametrize(
    ("model_type", "recompute"),
    [(name, again) for name in sorted(causal_classes()) for again in "01"]
    if EVERY
    else [*((name, "0") for name in (*EXACT, "phimoe", "opt")), *((name, "1") for name in RECOMPUTED)],
)
def test_trained_as_it_is_read(model_type, recompute, tmp_path, monkeypatch):
    """No dropout, no noise of a router, no layer left out: what is learned is held to what is measured."""
    monkeypatch.setenv("DORMOUSE_GRADIENT_CHECKPOINTING", recompute)
    for seed in SEEDS:
        try:
            model = tiny_model(model_type, 4096, seed, **noise(model_type))
            lm = LM(model, SimpleNamespace(eos_token_id=2, pad_token_id=0))
            lm.layout = find_layout(lm)
        except Exception as error:
            if model_type in EXACT:
                raise
            pytest.skip(str(error)[:80])
        try:
            same_training(lm, sequences(int(model.config.get_text_config().vocab_size)), tmp_path)
        except UserError as error:
            pytest.skip(error.what)
        except AssertionError:
            if seed == SEEDS[-1]:
                raise
        else:
            return
