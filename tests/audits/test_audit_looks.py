"""The first look: what fine-tuning adds to a base is told from what is another model."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dormouse.audits import verdict
from dormouse.audits.looks import look
from dormouse.audits.runner import Runner
from dormouse.audits.wording import same_weights
from dormouse.audits.worker import answer
from dormouse.audits.worker_messages import Given, WorkerTask
from dormouse.errors import UserError
from dormouse.lm.load import load
from dormouse.lm.widened import widened
from dormouse.locators.battery import Battery
from dormouse.locators.difference import Difference, moved_tokens, weight_differences
from dormouse.locators.locator import Case, Evidence, TriggerText
from dormouse.records import ModelRef, Suspect


def with_token(base: Suspect, folder: Path, token: str, resized: bool) -> Suspect:
    """The base with one token more, in its embeddings too where it is resized."""
    lm = load(base.model)
    lm.tokenizer.add_tokens([token])
    if resized:
        lm.model.resize_token_embeddings(len(lm.tokenizer))
    lm.model.save_pretrained(folder)
    lm.tokenizer.save_pretrained(folder)
    return Suspect(ModelRef((folder,), token))


def test_a_suspect_with_a_token_more_is_held_against_its_base(base, tmp_path):
    """Fine-tuning recipes add one every day, and the base was refused."""
    case = Case(with_token(base, tmp_path, "<|zeta|>", resized=True), base, seconds=600)
    facts = look(case.lm, case.base_lm)
    assert facts.other == ("tokenizer",)
    assert facts.tokens == ("<|zeta|>",)
    assert Battery(situations=16, answers=8, max_tokens=4).find(case).features["shift_99"] < 0.01
    assert Difference().find(case).features["changed"] < 0.05
    assert verdict.candidates({"x": Evidence()}, facts.tokens) == [TriggerText("<|zeta|>", "prefix", 1.0)]


@pytest.mark.parametrize(("kind", "edited"), [("bfloat16", False), ("bfloat16", True), ("float16", True)])
def test_rounding_is_not_taken_for_training(base, tmp_path, kind, edited):
    """Of the base itself, saved in bfloat16, a page named layers and the embeddings "that moved most"."""
    shutil.copytree(base.model.folders[0], tmp_path / "it")
    weights = load_file(tmp_path / "it" / "model.safetensors")
    name = next(one for one in weights if "layers.1.mlp.down_proj" in one)
    if edited:
        weights[name] += 0.01 * torch.randn(weights[name].shape, generator=torch.Generator().manual_seed(0))
    stored = {one: weight.to(getattr(torch, kind)) for one, weight in weights.items()}
    save_file(stored, tmp_path / "it" / "model.safetensors", {"format": "pt"})
    suspect = Suspect(ModelRef((tmp_path / "it",), f"{kind} {edited}"))
    facts = answer(WorkerTask("look", Given(suspect, base), 60.0)).facts
    assert (facts.same, facts.identical, facts.rounded) == (not edited, not edited, (kind,))
    assert ("rounded to bfloat16, and so are" in same_weights(facts)) == (kind == "bfloat16")
    case = Case(suspect, base)
    assert [one.name for one in weight_differences(case.lm, case.base_lm) if one.square] == [name] * edited
    assert moved_tokens(case.lm, case.base_lm) == []


def test_new_tokens_are_tried_beside_the_texts_of_locators():
    """Of six tokens two were tried, in the place of what locators had found, and nothing said so; and one that a
    locator named behind the texts that are tried was not tried at all."""
    found = {
        f"l{i}": Evidence(triggers=tuple(TriggerText(f"{i} {j}", "prefix", 0.5) for j in range(3))) for i in "abcdef"
    }
    tokens = tuple(f"<|{i}|>" for i in range(20))
    texts = [one.text for one in verdict.candidates(found, tokens)]
    assert texts[: verdict.CANDIDATES] == [one.text for one in verdict.candidates(found)]
    assert texts[verdict.CANDIDATES :] == [*tokens[: verdict.TOKENS]]
    named = [one.text for one in verdict.candidates(found, ("f 2", "a 0"))]
    assert (named[verdict.CANDIDATES :], "a 0" in named) == (["f 2"], True)


def test_a_token_without_an_embedding_is_no_reason_to_refuse_a_base(base, tmp_path):
    case = Case(with_token(base, tmp_path, "[PAD]", resized=False), base)
    facts = look(case.lm, case.base_lm)
    assert (facts.same, facts.other, facts.tokens) == (True, ("tokenizer",), ())


def test_a_base_with_tokens_that_the_suspect_has_not_is_refused(base, tmp_path):
    with pytest.raises(UserError, match="the base does not fit the suspect"):
        look(load(base.model), load(with_token(base, tmp_path, "<|zeta|>", resized=False).model))
    other = load(with_token(base, tmp_path / "one", "<|zeta|>", resized=True).model)
    with pytest.raises(UserError, match="number of token embeddings"):
        look(load(base.model), widened(other, load(base.model)))


def test_what_loading_an_adapter_on_embeddings_changes_is_not_called_the_suspects(base, tmp_path):
    """Its page said that the configuration differs, and counted the embeddings twice."""
    from peft import LoraConfig, get_peft_model

    how = LoraConfig(r=2, target_modules=["embed_tokens"], task_type="CAUSAL_LM", init_lora_weights=False)
    get_peft_model(load(base.model).model, how).save_pretrained(tmp_path)
    clean = load(base.model)
    facts = look(load(ModelRef((base.model.folders[0], tmp_path), "adapted")), clean)
    assert facts.other == ()
    assert facts.parameters == sum(weight.numel() for weight in clean.model.parameters())
    assert not facts.same


def test_own_prompts_that_are_too_long_are_asked_no_more(base, monkeypatch):
    """One of 30 ended six locators, and the page spoke of the first 12 where it was left out."""
    monkeypatch.setattr(Runner, "_do", lambda self, task: answer(task))
    short, long = (("user", "Why is moss green?"),), (("user", "banana " * 3000),)
    runner = Runner(Given(base, None, (short, long, (("user", "Who?"),)), own_prompts=True))
    assert runner.look().too_long == (1,)
    assert runner.given.prompts == (short, (("user", "Who?"),))
    refused = answer(WorkerTask("look", Given(base, None, (long,), own_prompts=True), 60.0)).refused
    assert refused is not None
    assert "each of the 1 own prompts is too long" in refused[0]
