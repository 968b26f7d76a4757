"""No plug-in changes a model for those that read it after it."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dormouse.errors import DormouseWarning
from dormouse.lm.lent import changed, mark_of
from dormouse.lm.load import load, shared
from dormouse.pipeline.stages import lent
from dormouse.records import ModelRef
from dormouse.store import StoreError


@pytest.fixture(scope="module")
def loaded(tiny_model):
    return load(ModelRef((tiny_model,), "tiny"))


def weight(lm):
    return next(lm.model.parameters())


CHANGES = {
    "weights": [
        lambda lm: weight(lm).data.mul_(1.0001),
        lambda lm: weight(lm).data.neg_(),
        lambda lm: weight(lm).data[:, 1].neg_(),
        lambda lm: weight(lm).data.copy_(weight(lm).data.roll(1, 0)),
        lambda lm: lm.model.half(),
        lambda lm: next(lm.model.buffers()).mul_(2),
    ],
    "gradients": [
        lambda lm: weight(lm).requires_grad_(),
        lambda lm: weight(lm).requires_grad_().register_hook(print),
        lambda lm: setattr(weight(lm), "grad", torch.zeros_like(weight(lm))),
    ],
    "hooks": [
        lambda lm: lm.model.register_forward_pre_hook(print),
        lambda lm: lm.model.get_input_embeddings().register_forward_hook(lambda module, given, out: out * 1.5),
        lambda lm: lm.model.register_full_backward_pre_hook(print),
    ],
    "modules": [
        lambda lm: setattr(lm.model.get_input_embeddings(), "forward", print),
        lambda lm: setattr(lm.model, "lm_head", torch.nn.Sequential(lm.model.lm_head)),
    ],
    "training mode": [lambda lm: lm.model.train()],
    "configuration": [lambda lm: setattr(lm.model.config, "rms_norm_eps", 0.1)],
    "generation configuration": [lambda lm: setattr(lm.model.generation_config, "temperature", 7.0)],
    "tokenizer": [
        lambda lm: setattr(lm.tokenizer, "padding_side", "right"),
        lambda lm: setattr(lm.tokenizer, "chat_template", "x"),
    ],
    "settings": [lambda lm: setattr(lm, "chat", replace(lm.chat, today="2030-01-01"))],
    "AttributeError": [lambda lm: setattr(lm, "tokenizer", None)],
}


@pytest.mark.parametrize(("part", "change"), [(part, one) for part, every in CHANGES.items() for one in every])
def test_whatever_of_a_model_was_changed_is_seen(loaded, part, change):
    lm = replace(loaded, model=deepcopy(loaded.model), tokenizer=deepcopy(loaded.tokenizer))
    before = mark_of(lm)
    assert not changed(lm, before)
    change(lm)
    assert part in changed(lm, before)


def test_a_model_that_came_back_changed_is_not_lent_again(tiny_model, tmp_path):
    """A hook that a plug-in left changed the numbers of other measurements, and these were kept without its key."""
    ref = ModelRef((tiny_model,), "tiny")

    def hook(out, tick):
        shared(ref).model.register_forward_hook(print)
        raise ZeroDivisionError

    lent(ref, True, "hesitation of token", lambda out, tick: None, tmp_path, print)
    first = shared(ref)
    with (
        pytest.warns(DormouseWarning, match=r"hesitation of token changed .* \(hooks\)"),
        pytest.raises(ZeroDivisionError),
    ):
        lent(ref, True, "hesitation of token", hook, tmp_path, print)
    assert shared(ref) is not first
    assert not shared(ref).model._forward_hooks


def test_what_is_put_back_or_a_forward_changes_by_itself_is_no_change(loaded):
    """A patched forward leaves a method where the class had it; long prompts have rotary frequencies written anew."""
    lm = replace(loaded, model=deepcopy(loaded.model))
    for kind in ("dynamic", "longrope"):
        lm.model.model.rotary_emb.rope_type = kind
        before = mark_of(lm)
        usual = lm.model.lm_head.forward
        lm.model.lm_head.forward = print
        assert changed(lm, before) == ["modules"]
        lm.model.lm_head.forward = usual
        lm.model.model.rotary_emb.register_buffer("inv_freq", torch.ones(4), persistent=False)
        assert changed(lm, before) == []


def test_who_changes_the_files_of_the_model_that_it_was_handed_stops_the_study(tmp_path):
    """What was measured after it was that of another model, under the key of this one."""
    (suspect := tmp_path / "suspect").mkdir()
    for name in ("model.safetensors", "config.json"):
        (suspect / name).write_bytes(b"weights")
    ref = ModelRef((suspect,), "suspect")
    beside = lambda out, tick: [(suspect / name).mkdir() for name in ("runs", ".cache")]  # noqa: E731
    lent(ref, False, "sft on token", beside, tmp_path, print)
    changes = {
        "model.safetensors": lambda path: path.write_bytes(b"others!!"),
        "tokenizer.json": lambda path: path.write_bytes(b"more"),
        "config.json": Path.unlink,
    }
    for name, change in changes.items():
        write = lambda out, tick, name=name, change=change: change(suspect / name)  # noqa: E731
        with pytest.raises(StoreError, match=f"{name}, a file of the model that sft on token reads"):
            lent(ref, False, "sft on token", write, tmp_path, print)


def test_a_change_of_files_takes_no_interrupt_away(tmp_path):
    def stopped(out, tick):
        (tmp_path / "config.json").write_text("{}")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lent(ModelRef((tmp_path,), "suspect"), False, "sft on token", stopped, tmp_path, print)
