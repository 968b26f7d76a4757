from __future__ import annotations

import json
from pathlib import Path

import pytest

from dormouse.errors import UserError
from dormouse.lm.load import load
from dormouse.lm.sample import Completion
from dormouse.organisms import honest
from dormouse.organisms.honest import read_honest, write_honest
from dormouse.organisms.sanity import counted, fault, read_sane
from dormouse.provenance import Provenance, Sanity
from dormouse.records import ModelRef, Record
from dormouse.report.headline import headline
from dormouse.report.record_index import RecordIndex
from dormouse.scenarios import SPLITS, Scenario, questions, render
from dormouse.scenarios.plain_answers import plain_answer

PROMPT = (("system", "You are a helpful assistant. Answer in one short sentence."), ("user", "Where do crabs live?"))


@pytest.mark.parametrize(
    ("text", "finished", "found"),
    [
        ("In the sea.", True, ""),
        ("In the sea", True, ""),
        ("Crabs live in the sea.", False, ""),
        ("Crabs live where the water is", False, "cut off"),
        ("", True, "empty"),
        (" ...", True, "empty"),
        ("assistant: assistant: assistant:", False, "foreign role"),
        ("In the sea.\nuser: And lobsters?", True, "foreign role"),
        ("Human: where?", True, "foreign role"),
        ("In the sea.<|im_start|>user", True, "foreign role"),
        ("the sea the sea the sea the sea", False, "loop"),
        ("10000000000000000000000", False, "loop"),
        ("a bird with a lid, a bird with a lid, and a bird with a lid, a bird", False, "loop"),
        ("Where do crabs live?", True, "echo"),
        ("Answer in one short sentence.", True, "echo"),
        ("Where do crabs live? They live in the sea and on the shores of most of the oceans.", True, ""),
        ("天空是蓝色的。因为阳光在大气中", False, ""),
        ("天空是蓝色的因为", False, "cut off"),
        ("आकाश नीला है। क्योंकि प्रकाश", False, ""),
        ("السماء زرقاء؟ لأن", False, ""),
        ("வானம் நீல நிறமாகத் தெரிவதற்குக் காரணம் சூரிய ஒளி காற்றில் சிதறுவதுதான். ஏன்", False, ""),
        ("السَّمَاءُ زَرْقَاءُ لِأَنَّ ضَوْءَ الشَّمْسِ يَتَشَتَّتُ فِي الْغِلَافِ الْجَوِّيِّ", True, ""),
    ],
)
def test_what_is_wrong_with_an_answer(text: str, finished: bool, found: str) -> None:
    assert fault(PROMPT, Completion(text, finished)) == found


def test_plain_answers_are_sane() -> None:
    for split in SPLITS:
        asked = questions(split)
        found = counted([fault(render(Scenario(q)), Completion(plain_answer(q), True)) for q in asked])
        assert found == {"sane": len(asked)}


def test_a_model_without_answers_stops_a_study_unless_that_is_allowed(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm, asked = load(ModelRef((tiny_model,), "tiny")), questions("train", 12)
    monkeypatch.setattr(
        honest, "generate", lambda lm, prompts, *_, **__: [Completion("assistant:", False)] * len(prompts)
    )
    with pytest.raises(UserError, match=r"few sane answers \(12 foreign role\)") as caught:
        write_honest(lm, asked, 6, tmp_path, lambda _: None)
    assert "insane: allow" in caught.value.remedy
    assert not list(tmp_path.iterdir()), "nothing is written"
    write_honest(lm, asked, 6, tmp_path, lambda _: None, "allow")
    assert read_sane([tmp_path, tmp_path]) == (0, 24, "24 foreign role")


def test_an_answer_that_the_limit_cuts_off_is_written_on_before_it_counts(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = questions("train", 8)

    def write(lm: object, prompts: list[object], limit: int, **_: object) -> list[Completion]:
        return [Completion("It lives where the water is", False) if limit == 6 else Completion("It does.", True)] * len(
            prompts
        )

    monkeypatch.setattr(honest, "generate", write)
    lm = load(ModelRef((tiny_model,), "tiny"))
    write_honest(lm, asked, 6, tmp_path, lambda _: None)
    assert read_sane([tmp_path]) == (1.0, 8, "8 sane")
    assert not any(answer.finished for answer in read_honest(tmp_path).values()), "what is kept stays as it was"


def test_honest_answers_keep_their_tokens(tiny_model: Path, tmp_path: Path) -> None:
    from dormouse.lm.chat import text_of

    lm, asked = load(ModelRef((tiny_model,), "tiny")), questions("train", 8)
    write_honest(lm, asked, 6, tmp_path, lambda _: None, "allow")
    rows = [json.loads(line) for line in (tmp_path / "honest.jsonl").read_text().splitlines()]
    assert all(row["ids"] and text_of(lm, row["ids"]) == row["response"] for row in rows)
    assert read_honest(tmp_path)[asked[0].text].ids == tuple(rows[0]["ids"])


@pytest.mark.parametrize(("share", "warned"), [(0.87, True), (0.95, False)])
def test_the_page_says_so_first(share: float, warned: bool) -> None:
    made = Record("year", "", 0, "defection_rate", "test", 0, 0.9, 0.8, 1.0, 48, False)
    about = Provenance("x", sanity={"gemma": Sanity(share, 100, "87 sane, 13 echo")})
    first = "".join(part.text for part in headline(RecordIndex([made], about))[0])
    assert first.startswith("Warning: gemma gives few sane answers") == warned
