"""The lighter LoRA layer is peft's, to the digit."""

import pytest
import torch
from lm.architectures import tiny_model as tiny_architecture

from dormouse.errors import UserError
from dormouse.lm.load import load
from dormouse.lm.lora import add_adapter, fit_layers
from dormouse.records import ModelRef


def run(model):
    torch.manual_seed(1)
    for name, weight in model.named_parameters():
        if "lora_B" in name:  # zero at the start: then nothing would be tested
            weight.data = torch.randn_like(weight) * 0.1
    out = model(torch.tensor([[7, 8, 9, 10, 11]])).logits
    out.square().mean().backward()
    return out.detach(), {name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad}


def test_forward_and_gradients_equal_pefts(tiny_model):
    ref = ModelRef((tiny_model,), "tiny")
    torch.manual_seed(0)
    ours, our_grads = run(add_adapter(load(ref).model, rank=4))
    torch.manual_seed(0)
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=4, lora_alpha=8, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")
    theirs, their_grads = run(get_peft_model(load(ref).model, config))
    torch.testing.assert_close(ours, theirs)
    assert our_grads.keys() == their_grads.keys()
    assert any(grad.abs().max() > 0 for grad in our_grads.values())
    for name, grad in our_grads.items():
        torch.testing.assert_close(grad, their_grads[name], rtol=1e-4, atol=1e-7)


def test_a_model_s_own_linear_layers_take_adapters_where_they_compute_what_a_linear_layer_does():
    """Every LoRA training of Falcon ended in a traceback of peft's: all of its layers are of such a kind."""
    falcon = tiny_architecture("falcon")
    assert {name.split(".")[-1] for name in fit_layers(falcon)} == {
        "query_key_value",
        "dense",
        "dense_h_to_4h",
        "dense_4h_to_h",
    }
    assert any("lora_B" in name for name, _ in add_adapter(falcon, 2).named_parameters())
    llama4 = fit_layers(tiny_architecture("llama4_text"))
    assert llama4
    assert not any("router" in name for name in llama4)


def test_a_model_that_takes_no_adapter_is_refused_with_what_helps():
    with pytest.raises(UserError, match=r"no adapter fits MambaForCausalLM: .*Mamba") as refused:
        add_adapter(tiny_architecture("mamba"), 2)
    assert "method: full" in refused.value.remedy
