"""Claims in the report: every verdict in words, its curve drawn, every foreign string inert."""

from __future__ import annotations

import errno
import json
import os
import re
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_up import HOSTILE, answered, changes, provenance, record, stated, write_report

from dormouse.records import Answer, Record
from dormouse.report import spec_curve, static
from dormouse.report.claim_text import axis_label
from dormouse.report.plain_text import cut, signed
from dormouse.report.record_index import by_model
from dormouse.report.static import _title


def point(effect: float, half: float = 0.05, turns: str = "no", **chosen: str) -> dict[str, Any]:
    seeds = [0, 1, 2, 3, 4]
    return {"chosen": chosen, "effect": effect, "low": effect - half, "high": effect + half, "seeds": seeds} | {
        "turns": turns
    }


def claim(**changes: Any) -> dict[str, Any]:
    base = {
        "id": "ensembles-lose-contexts",
        "says": "Safety training leaves a smaller share of an ensemble's contexts live",
        "compare": "persistence",
        "where": {"trigger": "ensemble"},
        "against": {"trigger": "token"},
        "direction": "less",
        "margin": 0.1,
        "split": ["test"],
        "x": None,
        "step": None,
        "family": ["intervention.lr", "model"],
        "verdict": "supported",
        "why": "",
        "remedy": "none",
        "effect": -0.32,
        "low": -0.41,
        "high": -0.22,
        "standardised": -3.1,
        "seeds": [0, 1, 2, 3, 4],
        "items": 48,
        "paired": "seeds and questions",
        "test": "t",
        "p": 0.001,
        "p_corrected": 0.004,
        "comparisons": 4,
        "quantifier": "mean",
        "contradiction": "",
        "chances": [],
        "otherwise": None,
        "others_possible": None,
        "open_ends": [],
        "room": None,
        "matching": None,
        "adjusted": None,
        "arms": ["a", "b"],
        "setups": 4,
        "alone": [],
        "missing": [],
        "gate": {"triggered": 0.95, "untriggered": 0.01},
        "gate_pairs": 20,
        "left_out": [],
        "weak": [],
        "thin": [],
        "before": None,
        "censored": None,
        "budgets": [],
        "at_budget": {"where": None, "against": None},
        "damage": 2.0,
        "damage_passed": {"seeds": [], "without": None, "unknown": []},
        "damaged": [],
        "curve": [
            point(-0.6, **{"intervention.lr": "0.001", "model": "micro-1m"}),
            point(-0.4, **{"intervention.lr": "0.0001", "model": "micro-1m"}),
            point(0.02, 0.2, "perhaps", **{"intervention.lr": "0.001", "model": "micro-60k"}),
            point(0.2, 0.05, "surely", **{"intervention.lr": "0.0001", "model": "micro-60k"}),
        ],
    }
    return base | changes


UNDECIDED = claim(
    id="open",
    verdict="undecided",
    why="the effect is too close to the margin for so few seeds",
    remedy="seeds",
    effect=-0.12,
    low=-0.4,
    high=0.16,
    p_corrected=0.8,
    chances=[{"more": 3, "probability": 0.2}, {"more": 12, "probability": 0.8}],
    family=[],
    curve=[],
    weak=[{"arm": "weak", "reason": "before treatment it defects on its cue in 41.0 % (seed 3)"}],
    missing=["gone + sft"],
    damaged=[{"arm": "ruined + sgd", "times": 13.4}],
    left_out=[{"arm": "feeble", "seed": 3, "triggered": 0.41, "untriggered": None}],
    before={"where": 0.98, "against": 0.971},
    censored=40.0,
    budgets=[40.0, 128.0],
    at_budget={"where": 0.25, "against": 0.0},
)
NO_EFFECT: dict[str, Any] = {"effect": None, "low": None, "high": None, "seeds": [], "curve": []}
NOT_MEASURED = claim(id="gone", verdict="undecided", why="'x' was not measured", **NO_EFFECT)
STATED = {"digest": "abc123", "time": 1_700_000_000, "known": 0, "measurements": 40}


def with_claims(about: dict[str, Any], *answers: dict[str, Any], **more: Any) -> dict[str, Any]:
    said = {"digest": "abc123", "stated": STATED, "changed": {}, "edited": [], "version": 3}
    return about | {"claims": said | {"answers": list(answers)} | more}


def text_of(path: Path) -> str:
    """What is read: terms and numbers are links, and a link is no gap between words."""
    joined = re.sub(r"</?a\b[^>]*>", "", path.read_text(encoding="utf-8"))
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", joined).replace("&#39;", "'"))


@pytest.fixture
def good(tmp_path: Path, records: list[Record], answers: list[Answer], about: dict[str, Any]) -> Path:
    write_report(tmp_path, records, answers, with_claims(about, claim(), UNDECIDED, NOT_MEASURED))
    return tmp_path


@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_every_answer_has_its_number_its_interval_and_what_it_rests_on(good: Path, name: str) -> None:
    text = text_of(good / name).replace("\u00a0", " ")
    text = re.sub(r"&#(\d+);", lambda match: chr(int(match[1])), text)
    for words in (
        "supported",
        "Effect on persistence: \u22120.32 [\u22120.41, \u22120.22] (paired by seeds and questions)",
        "\u22123.10 standard deviations of the seeds; seeds 0, 1, 2, 3, 4, 4 set-ups",
        "p = 0.004 against the margin (corrected for 4 comparisons)",
        "Claimed of trigger ensemble, against trigger token: less, by at least 0.10",
        "The sign turns in 2 of 4 set-ups: 1 with intervals that leave out 0 (lr 0.0001, model micro-60k)",
        "What these have in common: model micro-60k",
        "20.0 % after 3 more seeds, 80.0 % after 12 more seeds",
        "Strength not as usual: weak: before treatment it defects on its cue in 41.0 %",
        "1 of 20 organisms and seeds (feeble seed 3: 41.0 % on its cue, not measured without)",
        "98.0 % (claimed of), 97.1 % (against)",
        "unequal times (40.00, 128.00): all are cut at the shortest",
        "It was reached by 25.0 % (claimed of) and 0.0 % (against)",
        "Not measured: gone + sft",
        "more than 2 times as perplexing after it as before: ruined + sgd (13.40 times)",
        "No effect can be given: 'x' was not measured",
        "Stated before 2023-11-14 22:13 UTC, hash abc123",
    ):
        assert words in text, words


def test_a_claim_without_a_family_has_no_figure(good: Path) -> None:
    assert {path.name for path in (good / "figures").glob("claim-*")} == {"claim-0.png"}
    page = (good / "report.html").read_text(encoding="utf-8")
    assert page.count('id="claim-') == 1


def test_a_curve_that_is_no_longer_drawn_is_deleted(good: Path, records: list[Record], about: dict[str, Any]) -> None:
    write_report(good, records, [], with_claims(about, UNDECIDED))
    assert not list((good / "figures").glob("claim-*"))


@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_claims_that_were_all_taken_out_are_named(
    tmp_path: Path, records: list[Record], about: dict[str, Any], name: str
) -> None:
    write_report(tmp_path, records, [], with_claims(about, changed={"the-only-one": "taken out"}))
    assert "the-only-one (taken out)" in text_of(tmp_path / name).replace("\\", "")


def test_parts_of_a_chain_are_told_apart_and_long_names_are_cut_in_the_middle() -> None:
    assert axis_label("intervention.2.lr", "0.001") == "2.lr 0.001"
    assert axis_label("intervention.lr", "0.001") == "lr 0.001"
    labels = {cut(f"organism ensemble.scratchpad_mode-none.n-{n}", 28) for n in (16, 256)}
    assert len(labels) == 2
    assert {len(label) for label in labels} == {28}


def test_without_claims_nothing_is_said_of_them(tmp_path: Path, records: list[Record], about: dict[str, Any]) -> None:
    write_report(tmp_path, records, [], about)
    for name in ("report.html", "report.md"):
        assert "What was claimed" not in (tmp_path / name).read_text(encoding="utf-8")


def test_what_was_changed_after_the_first_run_is_said(about: dict[str, Any]) -> None:
    edited = with_claims(about, claim(), changed={"ensembles-lose-contexts": "edited", "old": "taken out"})
    assert changes(edited) == [
        "Claims changed after the first run in this folder: ensembles-lose-contexts (edited), old (taken out). Such an "
        "answer was not predicted."
    ]
    assert any("edited after the first run" in note.text for note in answered(edited)[0].notes)
    assert changes(with_claims(about, claim())) == []
    assert "not known" in stated(with_claims(about, claim(), stated=None))


def test_one_seed_is_not_called_an_answer(about: dict[str, Any]) -> None:
    one = claim(verdict="undecided", why="1 of the 3 seeds that it takes at least", seeds=[7], p_corrected=None)
    (found,) = answered(with_claims(about, one))
    assert "over questions only" in found.finding
    assert "seed 7" in found.finding
    assert "1 of the 3 seeds" in found.finding


@pytest.mark.parametrize(
    ("direction", "effect", "short"),
    [
        ("less", -0.04, "It is in the claimed direction, but smaller than the margin."),
        ("greater", 0.04, "It is in the claimed direction, but smaller than the margin."),
        ("less", -0.005, "It is smaller than the margin."),
        ("less", 0.04, "It is smaller than the margin."),
        ("different", 0.04, "It differs by less than the margin."),
        ("different", 0.005, "It differs by less than the margin."),
    ],
)
def test_an_effect_that_is_too_small_is_not_called_the_reverse(
    about: dict[str, Any], direction: str, effect: float, short: str
) -> None:
    one = claim(verdict="contradicted", direction=direction, effect=effect, low=effect - 0.01, high=effect + 0.01)
    (found,) = answered(with_claims(about, one | {"contradiction": "smaller"}))
    assert found.finding.endswith(f" {short}")
    (found,) = answered(with_claims(about, one | {"contradiction": "smaller", "open_ends": ["low", "high"]}))
    assert "claimed direction" not in found.finding, "some seeds are only known to be so much, or more"


@pytest.mark.parametrize(
    ("otherwise", "said"),
    [
        (0, "20 seeds, none of which turns out otherwise, leave it possible that up to 30.0 % of seeds would (95 %)."),
        (1, "20 seeds, of which 1 turns out otherwise by itself, leave it possible that up to 30.0 %"),
        (4, "20 seeds, of which 4 turn out otherwise by themselves, leave it possible that up to 30.0 %"),
        (None, ""),
    ],
)
def test_seeds_that_turn_out_otherwise_are_counted(about: dict[str, Any], otherwise: int | None, said: str) -> None:
    one = claim(seeds=list(range(20)), otherwise=otherwise, others_possible=0.3)
    (found,) = answered(with_claims(about, one))
    text = " ".join(note.text for note in found.notes).replace("\u00a0", " ")
    assert said in text
    assert ("otherwise" in text) == bool(said)


def test_damage_that_the_gate_let_pass_is_said(about: dict[str, Any]) -> None:
    passed = {
        "seeds": [{"arm": "a + sgd", "seed": 3, "times": 7.0}],
        "without": {"value": -0.18, "low": -0.2, "high": -0.16},
        "unknown": ["b + sgd at step 20"],
    }
    (found,) = answered(with_claims(about, claim(damage_passed=passed)))
    some, unknown = [note for note in found.notes if "amage" in note.text]
    assert "more than 2 times as perplexing after a + sgd seed 3 (7.00 times)" in some.text
    assert "Without these seeds the effect would be \u22120.18 [\u22120.20, \u22120.16]: a sketch" in some.text
    assert unknown.text == "Whether the treatment is damage was not measured: b + sgd at step 20."
    assert some.warns
    assert unknown.warns


def test_what_was_known_when_a_claim_was_stated_is_said(about: dict[str, Any]) -> None:
    assert "3 of 40 measurements existed already" in stated(with_claims(about, claim(), stated=STATED | {"known": 3}))
    assert "existed" not in stated(with_claims(about, claim()))


def test_the_figure_holds_every_setup_and_what_was_chosen(about: dict[str, Any]) -> None:
    import plotly.graph_objects as go

    (one,) = answered(with_claims(about, claim()))
    drawn = spec_curve.figure(one)
    go.Figure(drawn)
    effects = [trace for trace in drawn["data"] if "error_y" in trace]
    marks = [trace for trace in drawn["data"] if trace.get("yaxis") == "y2"]
    assert sorted(y for trace in effects for y in trace["y"]) == [-0.6, -0.4, 0.02, 0.2]
    assert sum(len(trace["x"]) for trace in marks) == 4 * 2
    labels = drawn["layout"]["yaxis2"]["ticktext"]
    assert labels == ["lr 0.0001", "lr 0.001", "model micro-1m", "model micro-60k"]
    at = {x: {labels[y] for t in marks for i, y in zip(t["x"], t["y"], strict=True) if i == x} for x in range(4)}
    assert at[0] == {"lr 0.001", "model micro-1m"}
    assert at[3] == {"lr 0.0001", "model micro-60k"}
    low, high = drawn["layout"]["yaxis"]["range"]
    assert low < -0.65
    assert high > 0.25
    assert {shape["y0"] for shape in drawn["layout"]["shapes"]} == {0.0, -0.1}


def test_two_threads_that_draw_leave_matplotlib_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two that overlapped the last put back what the first had set for a while."""
    from matplotlib import rcParams

    before, first_is_done = dict(rcParams), threading.Event()
    other = threading.Thread(target=static.draw, args=(tmp_path / "other.png", ["other"], []))

    def meanwhile(axis: object, panel: str, first: bool) -> None:
        if panel == "other":
            first_is_done.wait(20)
        else:
            other.start()
            other.join(0.2)

    monkeypatch.setattr(static, "_panel", meanwhile)
    monkeypatch.setattr(static, "end_labels", lambda *_: ())
    monkeypatch.setattr(static, "save", lambda *_: None)
    static.draw(tmp_path / "one.png", ["one"], [])  # type: ignore[list-item]
    first_is_done.set()
    other.join(20)
    assert dict(rcParams) == before


def test_many_setups_and_one_are_drawn(tmp_path: Path, about: dict[str, Any]) -> None:
    for n in (1, 120):
        curve = [point(i / n, model=f"m{i % 5}", lr=str(i)) for i in range(n)]
        (one,) = answered(with_claims(about, claim(curve=curve)))
        spec_curve.draw(tmp_path / f"{n}.png", one, {}, 60)
        assert (tmp_path / f"{n}.png").stat().st_size > 2000


def test_a_picture_that_a_full_disk_does_not_take_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`dormouse: File too large`, of one of twenty files."""

    def refuse(path: Path, raw: bytes) -> None:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))

    (tmp_path / "year.png").write_bytes(b"old")
    monkeypatch.setattr(Path, "write_bytes", refuse)
    monkeypatch.setattr(static, "_drawn", lambda *_: b"new")
    with pytest.raises(OSError, match=r"year\.png"):
        static.draw(tmp_path / "year.png", [], [])
    assert (tmp_path / "year.png").read_bytes() == b"old"


OURS = ("verdict", "remedy", "direction", "test", "turns", "quantifier", "contradiction")
"""Keys of which a page believes no word but those that it knows."""


def spoilt(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: inner if key in OURS else spoilt(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [spoilt(inner) for inner in value]
    return value + HOSTILE if isinstance(value, str) else value


def test_foreign_markup_in_claims_is_inert(tmp_path: Path, records: list[Record], about: dict[str, Any]) -> None:
    bad = spoilt(claim(curve=[point(-0.3, **{HOSTILE: HOSTILE})]))
    said = with_claims(about, bad, spoilt(UNDECIDED), changed={HOSTILE: HOSTILE}, stated=None, digest=HOSTILE)
    write_report(tmp_path, records, [], said)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "</script><script>window.pwned" not in page
    assert not re.search(r"<(img(?! src=\"data:image/png)|b|em)\b[^>]*>", page.split("<main>")[1].split("<script")[0])
    assert "\x1b" not in page
    assert "\u202e" not in page
    drawn = json.loads(page.split('id="figures-data">')[1].split("</script>")[0])["figures"]["claim-0-curve"]
    texts = json.dumps(drawn)
    assert "<" not in texts.replace("<br>", "")
    text = (tmp_path / "report.md").read_text(encoding="utf-8").split("## The main numbers")[0]
    rest = re.sub(r"(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)", "", text)
    for mark in ("<", "\x1b", "\u202e"):
        assert mark not in rest
    assert not re.search(r"(?<!\\)\]\((?!figures/)", rest)
    assert "window.pwned" in rest


def test_organisms_on_two_models_stand_apart(tmp_path: Path, about: dict[str, Any]) -> None:
    rows = [
        record("year", step, "defection_rate", value, model=model)
        for model, after in (("small", 0.1), ("large", 0.8))
        for step, value in ((0, 0.99), (40, after))
    ]
    write_report(tmp_path, rows, [], about)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "`year on small`" in text
    assert "`year on large`" in text
    assert "10.0" in text
    assert "80.0" in text
    one_model = [record("year", 0, "defection_rate", 0.99, model="small")]
    assert by_model(one_model, [], provenance(about))[0] is one_model
    controls = by_model(rows, [], provenance(about))[2].organisms
    assert controls["control on small"].control is True
    crossed = replace(provenance(about), organisms_on={"small": ("year",), "large": ("year", "control")})
    assert set(by_model(rows, [], crossed)[2].organisms) == {"year on small", "year on large", "control on large"}


def test_a_difference_has_its_sign() -> None:
    assert [signed(x) for x in (0.25, -0.25, 0.0, -0.001)] == ["+0.25", "\u22120.25", "0.00", "\u22120.001"]


@pytest.mark.parametrize("name", ["sft", "safe.lr-0.001.steps-16.trigger_fraction-0.3", "x" * 200, "a." * 90])
def test_titles_of_a_grid_have_two_lines_at_most_and_keep_their_ends(name: str) -> None:
    lines = _title(name).split("\n")
    assert len(lines) <= 2
    assert max(map(len, lines)) <= 32
    assert "".join(lines).startswith(name[:20])
    assert "".join(lines).endswith(name[-20:])


def test_only_what_warns_has_the_colour_of_a_warning(good: Path) -> None:
    """All notes had it, those too that say how the answer was come by."""
    page = (good / "report.html").read_text(encoding="utf-8")
    texts = re.findall(r'<li class="warns">(.*?)</li>', page)
    notes = "".join(re.findall(r'<ul class="notes">(.*?)</ul>', page))
    plain = re.findall(r"<li>(.*?)</li>", notes)
    for words in ("Left out by the", "Strength not as usual", "Not counted, as", "Not measured", "unequal times"):
        assert any(words in re.sub("<[^>]+>", "", text) for text in texts), words
    for words in ("before treatment, where matched arms are alike", "count as the budget"):
        assert any(words in re.sub("<[^>]+>", "", text) for text in plain), words
