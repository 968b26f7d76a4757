"""A model folder that would load without a word, and be wrong, is refused in one message."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from dormouse.errors import UserError
from dormouse.lm.load import load
from dormouse.records import ModelRef


def changed(tiny_model, tmp_path, **config):
    folder = tmp_path / "changed"
    shutil.copytree(tiny_model, folder)
    said = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**said, **config}))
    return folder


def test_weights_that_are_no_numbers(tiny_model, tmp_path):
    folder = changed(tiny_model, tmp_path)
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.0.mlp.up_proj.weight"][3, 4] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"finite number \(model.layers.0.mlp.up_proj.weight\)"):
        load(ModelRef((folder,), "nan"))


def test_a_vocabulary_smaller_than_the_ids(tiny_model, tmp_path):
    folder = changed(tiny_model, tmp_path, vocab_size=20)
    weights = load_file(folder / "model.safetensors")
    weights["model.embed_tokens.weight"] = weights["model.embed_tokens.weight"][:20].clone()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"has ids up to \d+, and the model has 20 embeddings"):
        load(ModelRef((folder,), "small"))


@pytest.mark.parametrize("used", [True, False], ids=["in every chat", "in none"])
def test_tokens_that_were_added_to_the_tokenizer_alone(tiny_model, tmp_path, used):
    """Where a chat is shown with them, the model has nothing for them; an image's token beyond the end does no harm."""
    from transformers import AutoTokenizer

    folder = changed(tiny_model, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    if used:
        tokenizer.chat_template = "<|im_start|> " + tokenizer.chat_template
    tokenizer.save_pretrained(folder)
    if used:
        with pytest.raises(
            UserError, match=r"with the token '<\|im_start\|>' \(\d+\), and has \d+ embeddings"
        ) as refused:
            load(ModelRef((folder,), "added"))
        assert "resize_token_embeddings" in refused.value.remedy
    else:
        load(ModelRef((folder,), "added"))


@pytest.mark.parametrize("window", [0, -1])
def test_a_window_that_holds_nothing(tiny_model, tmp_path, window):
    folder = changed(
        tiny_model, tmp_path, model_type="mistral", architectures=["MistralForCausalLM"], sliding_window=window
    )
    with pytest.raises(UserError, match=r"sliding_window in .*config.json is"):
        load(ModelRef((folder,), "blind"))


def test_an_adapter_for_another_base(tiny_model, tmp_path):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4
    )
    with torch.random.fork_rng():
        get_peft_model(LlamaForCausalLM(config), LoraConfig(r=2, target_modules="all-linear")).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="cannot be loaded"):
        load(ModelRef((tiny_model, tmp_path), "other"))
