"""The lighter LoRA layer is peft's, to the digit."""

import torch

from dormouse.lm.load import load
from dormouse.lm.lora import add_adapter
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
