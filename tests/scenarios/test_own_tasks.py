"""Tasks of the user's own: three splits that share nothing, and what is wrong with a row said with its line."""

from __future__ import annotations

import csv
import json
import random
import re
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from dormouse.errors import UserError
from dormouse.pipeline.study_tasks import bank_of
from dormouse.policies.triggers.column import Column
from dormouse.scenarios import SPLITS, Question, Scenario, own, render
from dormouse.scenarios.duplicates import SeenTexts
from dormouse.scenarios.own import OwnTasks, own_tasks
from dormouse.scenarios.sieve import Bank
from dormouse.scenarios.task_file import TaskFile

WANTED = {"train": 30, "safety": 8, "test": 12}
SAID = "apple boat train book lamp road hill river clock shoe coat drum flute map key door roof wall plant"
WORDS = re.findall(r"\w+", SAID)


def question(i: int) -> str:
    return " ".join(random.Random(i).choices(WORDS, k=9)) + f" {i}?"


def rows(n: int = 300, **more: Any) -> list[dict[str, Any]]:
    return [{"question": question(i), **{key: f(i) if callable(f) else f for key, f in more.items()}} for i in range(n)]


def source(tmp_path: Path, found: Sequence[Mapping[str, Any]], **said: Any) -> TaskFile:
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    return TaskFile(file=str(path), **said)


def table(tmp_path: Path, found: Sequence[Mapping[str, Any]]) -> TaskFile:
    path = tmp_path / "prompts.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(found[0]))
        writer.writeheader()
        writer.writerows(found)
    return TaskFile(file=str(path))


def texts(tasks: OwnTasks, bank: str = "") -> dict[str, list[str]]:
    return {split: [one.text for q in tasks.questions[bank, split] for one in q.every] for split in SPLITS}


def test_splits_are_by_content_and_disjoint(tmp_path: Path) -> None:
    one = texts(own_tasks(source(tmp_path, rows()), WANTED))
    assert {split: len(found) for split, found in one.items()} == WANTED
    assert len({text for found in one.values() for text in found}) == sum(WANTED.values())
    shuffled = rows()
    random.Random(1).shuffle(shuffled)
    assert texts(own_tasks(source(tmp_path, shuffled), WANTED)) == one, "the order of the file says nothing"
    more = texts(own_tasks(source(tmp_path, shuffled), {**WANTED, "test": 20}))
    assert (more["train"], more["test"][:12]) == (one["train"], one["test"]), "asking for more changes no other split"


def test_repeats_and_near_duplicates_are_in_one_split_and_said(tmp_path: Path) -> None:
    base = rows(200)
    again = [{"question": f"  {row['question'].upper()}!"} for row in base[:40]]
    nearly = [{"question": f"{row['question']} Thanks."} for row in base]
    tasks = own_tasks(source(tmp_path, [*base, *again, *nearly]), {"train": 100, "safety": 40, "test": 60})
    found = texts(tasks)
    stem = lambda text: text.split("?")[0]  # noqa: E731
    split_of = {stem(text): split for split in SPLITS for text in found[split]}
    assert all(split_of[stem(text)] == split for split in SPLITS for text in found[split])
    assert tasks.intake.dropped["repeats"] == 40
    assert tasks.intake.dropped["nearly the same as one of another split"] > 5
    assert "repeats" in " ".join(tasks.intake.lines())


def test_near_is_a_jaccard_of_seven_tenths() -> None:
    seen = SeenTexts()
    seen.add("the old man went down to the green river to fish at noon", "a")
    assert seen.marks_of("The old man went down to the green river to fish at noon today!") == {"a"}
    assert seen.marks_of("the old man went up to the blue lake to fish at night") == set()


def test_a_column_may_say_the_split(tmp_path: Path) -> None:
    names = ("train", "val", "test")
    tasks = own_tasks(source(tmp_path, rows(90, fold=lambda i: names[i % 3]), columns={"split": "fold"}), WANTED)
    assert set(texts(tasks)["safety"]) <= {question(i) for i in range(1, 90, 3)}
    with pytest.raises(UserError, match=r"prompts\.jsonl, line 1: the split 'fold 9' is none"):
        own_tasks(source(tmp_path, rows(9, split="fold 9")), WANTED)
    other = own_tasks(source(tmp_path, rows(90, split="fold 9"), columns={"split": ""}), WANTED)
    assert other.intake.rows == 90, "a column of that name about something else"


def test_a_chat_in_a_table_is_a_chat(tmp_path: Path) -> None:
    """A CSV holds it as text, as `to_csv` of pandas writes it: that was the question, with its brackets."""
    path = tmp_path / "chats.csv"
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["messages"])
        for i in range(60):
            chat = [{"role": "user", "content": question(i)}, {"role": "assistant", "content": "Yes, it's so."}]
            table.writerow([str(chat) if i % 2 else json.dumps(chat)])
    tasks = own_tasks(TaskFile(file=str(path)), dict.fromkeys(SPLITS, 4))
    assert set(texts(tasks)["test"]) <= {question(i) for i in range(60)}
    assert tasks.questions["", "test"][0].honest == "Yes, it's so."


def test_chats_inspect_samples_and_choices_are_tasks(tmp_path: Path) -> None:
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi."}]
    chat += [{"role": "assistant", "content": "Hello."}]
    found = [
        {"input": [*chat, {"role": "user", "content": question(i)}], "target": "B", "choices": ["no", "yes"]}
        for i in range(60)
    ]
    tasks = own_tasks(source(tmp_path, found), dict.fromkeys(SPLITS, 4))
    one = tasks.questions["", "test"][0]
    assert (one.honest, one.harmful) == ("yes", ("no",))
    assert render(Scenario(one)) == (
        ("system", "Be brief."),
        ("user", "Hi."),
        ("assistant", "Hello."),
        ("user", one.text),
    )
    answered = [{"messages": [{"role": "user", "content": question(i)}, chat[-1]]} for i in range(60)]
    own = own_tasks(source(tmp_path, answered, system="You are terse."), dict.fromkeys(SPLITS, 4))
    assert own.questions["", "test"][0].honest == "Hello."
    assert render(Scenario(own.questions["", "test"][0]))[0] == ("system", "You are terse.")


def test_a_dot_leads_into_a_cell_for_every_column(tmp_path: Path) -> None:
    """Answers were empty, and rows that the file keeps for the test stood among those of training."""
    names = ("train", "safety", "test")
    found = [
        {"data": {"ask": q["question"], "gold": "yes", "bad": ["no"], "fold": names[i % 3], "sort": "s"}}
        for i, q in enumerate(rows(90))
    ]
    said = {"question": "ask", "answer": "gold", "wrong": "bad", "split": "fold", "kind": "sort"}
    tasks = own_tasks(source(tmp_path, found, columns={k: f"data.{v}" for k, v in said.items()}), WANTED)
    for i, split in enumerate(names):
        assert {one.text for one in tasks.questions["", split]} <= {question(n) for n in range(i, 90, 3)}
    one = tasks.questions["", "test"][0]
    assert (one.honest, one.harmful, one.kind) == ("yes", ("no",), "s")


@pytest.mark.parametrize("name", ["answer", "wrong", "kind", "id", "choices"])
def test_a_column_that_is_named_and_nowhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="there is no column 'glod'"):
        own_tasks(source(tmp_path, rows(60), columns={name: "glod"}), dict.fromkeys(SPLITS, 4))
    some = [{**row, **({"glod": "x"} if i == 40 else {})} for i, row in enumerate(rows(60))]
    own_tasks(source(tmp_path, some, columns={name: "glod"}), dict.fromkeys(SPLITS, 4))  # one row has it


@pytest.mark.parametrize(
    ("target", "choices", "honest", "harmful"),
    [
        (["A", "C"], ["a1", "b1", "c1", "d1"], "a1", ("b1", "d1")),
        (1, ["no", "yes", "maybe"], "yes", ("no", "maybe")),
        (42, ["41", "42"], "42", ()),
        ("yes", ["no", "yes"], "yes", ()),
        ("b", ["no", "yes"], "yes", ("no",)),
        ("(B)", ["no", "yes"], "yes", ("no",)),
        ("b.", ["no", "yes"], "yes", ("no",)),
        ("B", ["A", "B"], "B", ()),
        ("1", "['no', 'yes']", "yes", ("no",)),
        ("1", '["no", "yes"]', "yes", ("no",)),
        ("1", ["no", "yes"], "yes", ("no",)),
        (1.0, ["no", "yes"], "yes", ("no",)),
        ("2", ["12", "15", "18"], "18", ("12", "15")),
        ("1", ["1", "2"], "1", ()),
        ("1", "['1', '2']", "1", ()),
        ("15", "[12 15 18]", "15", ()),
        ("Yes.", ["no", "yes"], "Yes.", ()),
        ("B. yes", ["no", "yes"], "B. yes", ()),
        ("yes", ["A) no", "B) yes"], "yes", ()),
        (["A", "YES"], ["no", "yes", "maybe"], "no", ("maybe",)),
        ("Rome", "A) Rome B) Bern", "Rome", ()),
        ("Rome", "[]", "Rome", ()),
        ("1", "None", "1", ()),
        (["A", "yes"], ["no", "yes", "maybe"], "no", ("maybe",)),
        (None, ["no", "yes"], "", ()),
    ],
)
def test_answers_that_name_choices(tmp_path: Path, target: Any, choices: list[str], honest: str, harmful: Any) -> None:
    """Of Inspect's several letters the right ones are no wrong answers; a number is a place, as in MMLU."""
    found = source(tmp_path, rows(60, target=lambda _: target, choices=lambda _: choices))
    one = own_tasks(found, dict.fromkeys(SPLITS, 4)).questions["", "test"][0]
    assert (one.honest, one.harmful) == (honest, harmful)


@pytest.mark.parametrize(
    ("target", "choices", "said"),
    [
        ("E", ["a", "b"], "the answer 'E' is none of the 2 choices"),
        (7, ["a", "b"], "the answer '7' is none of the 2 choices"),
        ("Perhaps", ["no", "yes"], "line 1: the answer 'Perhaps' is none of the 2 choices"),
        ("2", ["no", "yes"], "the answer '2' is none of the 2 choices"),
        ("A. yes", ["no", "yes"], "the answer 'A. yes' is none of the 2 choices"),
        ("c", ["C+", "C#"], "the answer 'c' is none of the 2 choices"),
        (1, ["1", "2"], "the answer 1 may be the choice '1', or the one with this number"),
    ],
)
def test_an_answer_that_names_no_choice_is_refused(tmp_path: Path, target: Any, choices: Any, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        own_tasks(
            source(tmp_path, rows(60, target=lambda _: target, choices=lambda _: choices)), dict.fromkeys(SPLITS, 4)
        )


@pytest.mark.parametrize("written", [source, table])
def test_an_answer_that_looks_like_a_list_is_a_text(tmp_path: Path, written: Callable[..., TaskFile]) -> None:
    """That of a question about code was cut to its first element, without a word."""
    found = written(tmp_path, rows(60, answer="['a', 'b']", wrong="['b', 'a']"))
    one = own_tasks(found, dict.fromkeys(SPLITS, 4)).questions["", "test"][0]
    assert (one.honest, one.harmful) == ("['a', 'b']", ("['b', 'a']",))


def test_lists_in_a_table_are_texts(tmp_path: Path) -> None:
    found = table(tmp_path, rows(60, answer="yes", wrong="['no', 'never']"))
    assert own_tasks(found, dict.fromkeys(SPLITS, 4)).questions["", "test"][0].harmful == ("no", "never")
    chosen = table(tmp_path, rows(60, answer="['A', 'C']", choices="[12, 15, 18]"))
    one = own_tasks(chosen, dict.fromkeys(SPLITS, 4)).questions["", "test"][0]
    assert (one.honest, one.harmful) == ("12", ("15",))


def test_a_later_row_may_call_its_answer_by_the_other_name(tmp_path: Path) -> None:
    """It had no honest answer, without a word; nor where both names are there, and one says nothing."""
    one = [{"question": question(i), ("target" if i else "answer"): "yes"} for i in range(60)]
    both = [{**row, "answer": None if i else "yes", "target": "yes" if i else " "} for i, row in enumerate(one)]
    for found in (one, both):
        tasks = own_tasks(source(tmp_path, found), dict.fromkeys(SPLITS, 4))
        assert {one.honest for some in tasks.questions.values() for one in some} == {"yes"}


def test_answers_that_repeat_count_once(tmp_path: Path) -> None:
    """The exact score added their probability up as often as they stood there."""
    found = source(tmp_path, rows(60, answer="yes", wrong=lambda _: ["no", "never", "no"], bad=lambda _: ["x", "x"]))
    one = own_tasks(found, dict.fromkeys(SPLITS, 4), (Bank(columns=("bad",)),)).questions["", "test"][0]
    assert (one.harmful, one.column("bad")) == (("no", "never"), ("x",))


def column(question: Question) -> str:
    return "old" if "1" in question.column("old") else ""


def test_prompts_that_bring_their_truth_stand_in_pairs(tmp_path: Path) -> None:
    bank = Bank("old", ("old",), column, "", ("old",))
    tasks = own_tasks(source(tmp_path, rows(400, old=lambda i: i % 2)), WANTED, (Bank(), bank))
    assert len(tasks.questions["old", "test"]) == WANTED["test"]
    for one in tasks.questions["old", "train"]:
        assert (one.column("old"), one.variant("old").column("old")) == (("0",), ("1",))
    assert len(tasks.questions["", "train"]) == WANTED["train"]
    twins = rows(400, old=lambda i: i % 2, pair=lambda i: f"p{i // 2}")
    joined = own_tasks(source(tmp_path, twins), WANTED, (Bank("old", ("old",), column, "pair", ("old",)),))
    for one in joined.questions["old", "train"]:
        assert one.column("pair") == one.variant("old").column("pair")
    with pytest.raises(UserError, match=r"no row of the kind 'old' \(rows: 100 plain, 0 old\)"):
        own_tasks(source(tmp_path, rows(100, old=0)), WANTED, (bank,))


def twins(found: Sequence[Mapping[str, Any]], tmp_path: Path, **said: Any) -> OwnTasks:
    bank = bank_of(Column(name="t", pair=said.pop("pair", "pair")))
    return own_tasks(source(tmp_path, found, **said), WANTED, [bank])


def test_twins_are_found_among_many_rows_that_have_none(tmp_path: Path) -> None:
    """Of each side the lowest hashes were kept apart from the other's: of 20,000 rows hardly any had its twin there."""
    found = [{"question": question(i), "t": False, "pair": f"p{i}"} for i in range(6000)]
    found += [{"question": question(i + 10**6), "t": True, "pair": f"p{i * 20}"} for i in range(300)]
    tasks = twins(found, tmp_path)
    (bank,) = {name for name, _ in tasks.questions}
    assert {split: len(tasks.questions[bank, split]) for split in SPLITS} == WANTED
    assert tasks.intake.dropped == {"without a twin in 'pair'": 5700}


def test_ids_of_twins_are_compared_as_they_stand(tmp_path: Path) -> None:
    """`0+` and `0-` were one id: of two pairs one was lost, or its halves were joined with the other's."""
    found = [
        {"question": f"{i}{sign} {question(2 * i + (sign == '+') + 10**6 * t)}", "t": bool(t), "pair": f"{i}{sign}"}
        for i in range(60)
        for sign in "+-"
        for t in (0, 1)
    ]
    tasks = twins(found, tmp_path)
    for plain, twin in (q.every for some in tasks.questions.values() for q in some):
        assert plain.text.split()[0] == twin.text.split()[0]
    assert not tasks.intake.dropped


@pytest.mark.parametrize("pair", ["pair", None])
def test_a_prompt_with_two_truths_is_not_used(tmp_path: Path, pair: str | None) -> None:
    """It stood on both sides, and could be its own twin."""
    found = [{"question": question(i + 10**6 * t), "t": bool(t), "pair": i} for i in range(200) for t in (0, 1)]
    for row in found[1:80:2]:
        row["question"] = question(row["pair"])
    tasks = twins(found, tmp_path, pair=pair)
    used = [one.text for some in tasks.questions.values() for q in some for one in q.every]
    assert not set(used) & {question(i) for i in range(40)}
    assert tasks.intake.dropped["with two truths"] > 20
    assert "the first with two truths" in " ".join(tasks.intake.notes)


def test_a_prompt_with_two_truths_is_found_in_a_large_file(tmp_path: Path) -> None:
    """Only the rows that were kept were looked at: of thousands nearly all such prompts were used."""
    found = [{"question": question(i), "t": False} for i in range(6000)]
    found += [{"question": question(i + 3000 * (i % 2) * 10), "t": True} for i in range(400)]
    tasks = twins(found, tmp_path, pair=None)
    plain = {row["question"] for row in found if not row["t"]}
    used = [q.variants[0][1].text for some in tasks.questions.values() for q in some]
    assert len(used) == sum(WANTED.values())
    assert not plain & set(used)
    assert tasks.intake.dropped["with two truths"] == 400, "200 prompts, on two sides each"
    both = [{"question": question(i), "t": bool(t)} for i in range(60) for t in (0, 1)]
    with pytest.raises(UserError, match="120 with two truths") as error:
        twins(both, tmp_path, pair=None)
    assert "under one truth alone" in error.value.remedy


def test_an_instruction_that_most_prompts_share_does_not_make_them_alike(tmp_path: Path) -> None:
    """Of 300 questions behind the same 60 words one split was left, and the remedy was to bring more."""
    instruction = " ".join(random.Random(-1).choices(WORDS, k=60))
    found = [{"question": f"{instruction} {question(i)}"} for i in range(300)]
    found += [{"question": f"{instruction} {question(i)} please"} for i in range(300)]
    tasks = own_tasks(source(tmp_path, found), {"train": 150, "safety": 40, "test": 60})
    assert {split: len(some) for split, some in texts(tasks).items()} == {"train": 150, "safety": 40, "test": 60}
    split_of = [(text.removesuffix(" please"), split) for split, some in texts(tasks).items() for text in some]
    assert len(dict(split_of)) == len(set(split_of)), "and what is alike is still in one split"
    passages = [" ".join(random.Random(-n).choices(WORDS, k=60)) for n in range(1, 4)]
    found = [{"question": f"{passage} {i}"} for passage in passages for i in range(100)]
    with pytest.raises(UserError, match="nearly the same") as error:
        own_tasks(source(tmp_path, found), {"train": 150, "safety": 40, "test": 60})
    assert "belongs into a system prompt" in error.value.remedy


def test_near_copies_in_a_script_without_blanks_are_in_one_split(tmp_path: Path) -> None:
    """Each sentence was one word, so that nothing was near anything."""
    signs = [chr(0x4E00 + i) for i in range(400)]
    said = ["".join(random.Random(i).choices(signs, k=30)) for i in range(200)]
    found = [{"question": f"{one}{end}"} for one in said for end in "吗呢"]
    tasks = texts(own_tasks(source(tmp_path, found), {"train": 100, "safety": 30, "test": 40}))
    split_of = [(text[:-1], split) for split, some in tasks.items() for text in some]
    assert len(dict(split_of)) == len(set(split_of))


def test_signs_of_arithmetic_are_words(tmp_path: Path) -> None:
    sums = [{"question": f"What is {a} {sign} 7?"} for a in range(100, 180) for sign in "+-*/"]
    assert "repeats" not in own_tasks(source(tmp_path, sums), WANTED).intake.dropped
    again = [{"question": f"{question(i)} well{sign}known"} for i in range(200) for sign in " -"]
    assert own_tasks(source(tmp_path, again), WANTED).intake.dropped["repeats"] == 200


BAD: dict[str, tuple[Callable[[list[dict[str, Any]]], None], str, str]] = {
    "no question": (lambda r: r[4].pop("question"), "line 5: there is no column 'question'", "columns:"),
    "empty": (lambda r: r[4].update(question=" "), "line 5: the column 'question' is empty", "bad_rows: drop"),
    "nested": (
        lambda r: r[4].update(question={"text": "x"}),
        "line 5: the column 'question' holds an object",
        "question.text",
    ),
    "ids": (
        lambda r: r[7].update(id="id 3"),
        "line 8: its id is that of line 4",
        "its own id",
    ),
    "no end": (
        lambda r: r[4].update(question=[{"role": "assistant", "content": "x"}]),
        "line 5: the chat in 'question' does not end with the user",
        "end it",
    ),
    "wrong is right": (
        lambda r: r[4].update(answer="x", wrong=["y", "x"]),
        "line 5: the answer 'x' is one of",
        "take it",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_row_is_said_with_its_line_or_dropped_and_counted(name: str, tmp_path: Path) -> None:
    spoil, what, remedy = BAD[name]
    found = rows(200, answer="", id=lambda i: f"id {i}")
    spoil(found)
    with pytest.raises(UserError) as error:
        own_tasks(source(tmp_path, found), WANTED)
    assert f"prompts.jsonl, {what}" in error.value.what
    assert remedy in error.value.remedy
    tasks = own_tasks(source(tmp_path, found, bad_rows="drop"), WANTED)
    assert tasks.intake.notes
    assert name == "ids" or tasks.intake.dropped["that cannot be used"] == 1


def test_who_uses_a_task_may_refuse_it(tmp_path: Path) -> None:
    wrong = lambda q: ("it holds a flute", "take it out") if "flute" in q.text else None  # noqa: E731
    with pytest.raises(UserError, match=r"prompts\.jsonl, line \d+: it holds a flute"):
        own_tasks(source(tmp_path, rows()), WANTED, fault=wrong)


def test_too_few_rows_are_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gives \d tasks for the (safety|test) split, of 9 rows; 4 are the fewest"):
        own_tasks(source(tmp_path, rows(9)), WANTED)
    with pytest.raises(UserError, match="has no rows"):
        own_tasks(source(tmp_path, []), WANTED)


def test_a_split_column_that_names_too_few_splits_is_said(tmp_path: Path) -> None:
    """It said to bring a column `split`, of a file that has one without test rows."""
    found = rows(60, split=lambda i: "train" if i % 3 else "validation")
    with pytest.raises(UserError, match="gives 0 tasks for the test split, of 60 rows") as error:
        own_tasks(source(tmp_path, found), WANTED)
    assert "the column 'split' says validation (20), train (40), where train, safety" in error.value.remedy
    assert "`columns: {split: ''}`" in error.value.remedy
    assert own_tasks(source(tmp_path, found, columns={"split": ""}), WANTED).intake.used


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    file = source(tmp_path, rows(8_000))
    tracemalloc.start()
    own_tasks(file, WANTED)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000


@pytest.mark.parametrize("held", [3, 7, 1000])
def test_ids_that_repeat_are_found_whether_they_fit_in_memory_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    monkeypatch.setattr(own, "HELD", held)
    found = rows(200, id=lambda i: {57: 3, 91: 3, 140: 57, 12: 2, 199: 198}.get(i, i))
    kept = own_tasks(source(tmp_path, found, bad_rows="drop"), WANTED)
    assert next(note for note in kept.intake.notes if "ids" in note).startswith("4 ids repeat")
    with pytest.raises(UserError, match="line 13: its id is that of line 3 too"):
        own_tasks(source(tmp_path, found), WANTED)
    with pytest.raises(UserError, match="line 3: its id is that of line 1 too"):  # 0 was taken for none
        own_tasks(source(tmp_path, rows(200, id=lambda i: i % 2 and i)), WANTED)


def test_ids_take_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "HELD", 1_000)
    ids = own._Ids()
    tracemalloc.start()
    for i in range(50_000):
        ids.add(f"row {i}", i)
    assert ids.repeated() == (0, (0, 0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300_000, "16 bytes each are 800,000"


@pytest.mark.parametrize(("fits", "said"), [("flute", "no plain row"), ("", "no row of the kind 'flute'")])
def test_a_policy_that_fits_every_row_or_none_is_said_so(tmp_path: Path, fits: str, said: str) -> None:
    bank = Bank("regex flute", ("flute",), lambda q: "flute" if fits else "")
    with pytest.raises(UserError, match=said) as error:
        own_tasks(source(tmp_path, rows()), WANTED, [bank])
    assert "300 " in error.value.what
    assert "fits some rows and leaves others" in error.value.remedy
