"""A model in another type is the one that transformers would have loaded in it."""

import pytest
import torch
from lm.architectures import tiny_model as small
from transformers import AutoModelForCausalLM

from dormouse.lm.load import cast, load
from dormouse.lm.portable import export_model
from dormouse.records import ModelRef


def tensors(model):
    return dict(model.named_parameters()) | dict(model.named_buffers())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_weights_are_rounded_and_frequencies_are_not(tiny_model, dtype):
    ours = load(ModelRef((tiny_model,), "tiny"), dtype).model
    theirs = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=dtype).eval()
    assert ours.model.rotary_emb.inv_freq.dtype == torch.float32
    mine, other = tensors(ours), tensors(theirs)
    assert mine.keys() == other.keys()
    for name, tensor in other.items():
        assert mine[name].dtype == tensor.dtype, name
        assert torch.equal(mine[name], tensor), name
    ids = torch.arange(7, 107)[None]
    with torch.no_grad():
        assert torch.equal(ours(ids).logits, theirs(ids).logits)


@pytest.mark.parametrize("kind", ["deepseek_v3", "gemma3_text", "gpt_oss"])
def test_what_transformers_keeps_in_float32_stays_so(kind, tmp_path):
    small(kind, 8).save_pretrained(tmp_path)
    for dtype in (torch.bfloat16, torch.float16):
        ours = cast(AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32), dtype)
        theirs = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=dtype)
        assert {name: one.dtype for name, one in tensors(ours).items()} == {
            name: one.dtype for name, one in tensors(theirs).items()
        }


def test_a_model_stays_whole_in_the_type_that_it_has(tiny_model, tmp_path):
    """And an export in another type is cast the same way."""
    lm = load(ModelRef((tiny_model,), "tiny"), torch.float32)
    before = {name: tensor.data_ptr() for name, tensor in tensors(lm.model).items()}
    assert {name: tensor.data_ptr() for name, tensor in tensors(cast(lm.model, torch.float32)).items()} == before
    export_model(ModelRef((tiny_model,), "tiny"), tmp_path / "out", "merged", "bfloat16", None)
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto")
    assert again.dtype == torch.bfloat16
