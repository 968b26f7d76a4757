"""A base that is held against a suspect is in the number types of its files, tensor by tensor."""

import shutil

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from dormouse.lm import load as loading
from dormouse.lm.load import load
from dormouse.lm.rounded import coarser, held_against
from dormouse.records import ModelRef


def stored(model, folder, norms, others):
    """The model, its weights saved in two number types. Norms of a fresh model are 1, which nothing rounds."""
    shutil.copytree(model, folder)
    weights = load_file(folder / "model.safetensors")
    weights = {name: one + 0.001 if "norm" in name else one for name, one in weights.items()}
    kinds = {name: getattr(torch, norms if "norm" in name else others) for name in weights}
    saved = {name: one.to(kinds[name]) for name, one in weights.items()}
    save_file(saved, folder / "model.safetensors", {"format": "pt"})
    return ModelRef((folder,), folder.name)


@pytest.mark.parametrize(
    ("base", "suspect", "computed"),
    [
        (("float32", "bfloat16"), ("bfloat16", "bfloat16"), "float32"),  # of both files a part is in bfloat16
        (("float32", "float32"), ("float16", "float16"), "bfloat16"),  # as on a GPU: twice rounded is not once rounded
    ],
)
def test_what_was_never_trained_is_the_base(tiny_model, tmp_path, monkeypatch, base, suspect, computed):
    monkeypatch.setattr(loading, "measured_dtype", lambda: getattr(torch, computed))
    clean, its = stored(tiny_model, tmp_path / "base", *base), stored(tiny_model, tmp_path / "suspect", *suspect)
    lm = load(its)
    mine, theirs = lm.model.state_dict(), held_against(clean, lm, its).model.state_dict()
    assert [name for name in mine if mine[name].dtype != theirs[name].dtype or (mine[name] != theirs[name]).any()] == []
    differ = {"norm" in name for name in coarser(its, clean, lm)}
    assert differ == {is_norm for is_norm in (True, False) if base[not is_norm] != suspect[not is_norm]}
    assert coarser(clean, its, lm) == {}, "a suspect is never rounded"


def test_what_lies_below_an_adapter_is_rounded_too(tiny_model, tmp_path):
    """The layers of the adapter are exact in no number type once it is merged: all of their rounding was training."""
    clean = stored(tiny_model, tmp_path / "base", "float32", "float32")
    below = stored(tiny_model, tmp_path / "below", "bfloat16", "bfloat16")
    config = LoraConfig(r=1, target_modules=["q_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(load(below).model, config).save_pretrained(tmp_path / "adapter")
    its = ModelRef((*below.folders, tmp_path / "adapter"), "adapted")
    lm, plain = load(its), load(below).model.state_dict()
    theirs = held_against(clean, lm, its).model.state_dict()
    assert [name for name in plain if (plain[name] != theirs[name]).any()] == []
    assert coarser(its, ModelRef((*below.folders, tmp_path / "adapter"), "same"), lm) == {}
