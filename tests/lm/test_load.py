"""A model in another type is the one that transformers would have loaded in it."""

import shutil

import pytest
import torch
from lm.architectures import tiny_model as small
from transformers import AutoModelForCausalLM

from dormouse.errors import MORE_MEMORY, UserError
from dormouse.lm import load as loading
from dormouse.lm.checkpoint import save
from dormouse.lm.load import cast, load
from dormouse.lm.portable import export_model
from dormouse.lm.score import logprobs
from dormouse.lm.trie import Tokens
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


def test_a_model_that_was_read_is_saved_as_it_was(tiny_model, tmp_path):
    """RWKV halved the weights of its later layers in evaluation mode, in place, for float16."""
    model = small(
        "rwkv",
        rescale_every=2,
        num_hidden_layers=6,
        vocab_size=load(ModelRef((tiny_model,), "tiny")).model.config.vocab_size,
    )
    model.save_pretrained(tmp_path / "rwkv")
    for path in tiny_model.glob("token*"):
        shutil.copy(path, tmp_path / "rwkv")
    lm = load(ModelRef((tmp_path / "rwkv",), "rwkv"), torch.float32)
    text = [Tokens((5, 6, 7), (8, 9))]
    before = logprobs(lm, text)
    save(lm, tmp_path / "again")
    assert logprobs(load(ModelRef((tmp_path / "again",), "again"), torch.float32), text) == pytest.approx(before)
    kept = {name: weight.to(lm.device) for name, weight in model.named_parameters()}
    assert all(torch.equal(kept[name], weight) for name, weight in lm.model.named_parameters())


@pytest.mark.parametrize("kind", ["deepseek_v3", "gemma3_text", "gpt_oss"])
def test_what_transformers_keeps_in_float32_stays_so(kind, tmp_path):
    small(kind, 8).save_pretrained(tmp_path)
    for dtype in (torch.bfloat16, torch.float16):
        ours = cast(AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32), dtype)
        theirs = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=dtype)
        assert {name: one.dtype for name, one in tensors(ours).items()} == {
            name: one.dtype for name, one in tensors(theirs).items()
        }


def test_no_memory_is_no_fault_of_the_folder(tiny_model, monkeypatch):
    def no(*given, **named):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(loading, "_whole", no)
    with pytest.raises(UserError, match="there is not enough memory to load the model") as refused:
        load(ModelRef((tiny_model,), "tiny"))
    assert refused.value.remedy == MORE_MEMORY


def test_a_model_stays_whole_in_the_type_that_it_has(tiny_model, tmp_path):
    """And an export in another type is cast the same way."""
    lm = load(ModelRef((tiny_model,), "tiny"), torch.float32)
    before = {name: tensor.data_ptr() for name, tensor in tensors(lm.model).items()}
    assert {name: tensor.data_ptr() for name, tensor in tensors(cast(lm.model, torch.float32)).items()} == before
    export_model(ModelRef((tiny_model,), "tiny"), tmp_path / "out", "merged", "bfloat16", None)
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto")
    assert again.dtype == torch.bfloat16
