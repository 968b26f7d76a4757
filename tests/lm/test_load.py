"""A model in another type is the one that transformers would have loaded in it; an adapter is laid over it whole."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from lm.architectures import tiny_model as small
from transformers import AutoModelForCausalLM

from dormouse.errors import MORE_MEMORY, DormouseWarning, UserError
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


@pytest.fixture
def adapter(tiny_model: Path, tmp_path: Path) -> Path:
    from peft import LoraConfig, get_peft_model

    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    config = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], use_dora=True, init_lora_weights=False)
    get_peft_model(model, config).save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def says(adapter: Path, **said: object) -> None:
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, **said}))


def longer(adapter: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(adapter / "adapter_model.safetensors")
    beyond = {name.replace("layers.0.", "layers.70."): weight.clone() for name, weight in weights.items()}
    save_file(weights | beyond, adapter / "adapter_model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (lambda adapter: says(adapter, target_modules=["q_proj"]), "v_proj.lora_A"),
        (lambda adapter: says(adapter, use_dora=False), "lora_magnitude_vector"),
        (longer, "layers.70"),
    ],
    ids=["target_modules", "use_dora", "layers"],
)
def test_an_adapter_with_weights_that_have_no_place_is_refused(tiny_model, adapter, change, left):
    change(adapter)
    for attached in (False, True):
        with pytest.raises(UserError, match=rf"leaves no place in the model: .*{left}.*, and \d+ more"):
            load(ModelRef((tiny_model, adapter), "tiny"), attached=attached)


def test_what_peft_does_not_know_of_an_adapter_is_said(tiny_model, adapter, recwarn):
    ref = ModelRef((tiny_model, adapter), "tiny")
    says(adapter, dormouse={"model_organism": True}, use_newest=False)
    load(ref)
    assert not [one for one in recwarn if one.category is DormouseWarning and "peft" in str(one.message)]
    says(adapter, use_newest=True)
    with pytest.warns(DormouseWarning, match="peft does not know use_newest in .*adapter_config.json"):
        load(ref)
