"""Every causal class of the installed transformers: packed equals plain, or the model is refused by name."""

import os

import pytest
from lm.architectures import causal_classes, examine

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


CASES = [*((name, 8) for name in EXACT), *((name, 4096) for name in WINDOWED)]
"""Windows that texts go beyond; a few architectures whose window holds all of them, as that of most has none."""


@pytest.mark.parametrize(
    ("model_type", "window"), [(name, n) for name in sorted(causal_classes()) for n in (8, 4096)] if EVERY else CASES
)
def test_packed_is_plain(model_type, window, tmp_path):
    verdict = examine(model_type, window, tmp_path)
    assert model_type not in EXACT or verdict.outcome == "equal", verdict
