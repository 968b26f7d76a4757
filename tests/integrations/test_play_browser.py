"""The playground in a real browser: with the mouse, with the keyboard, on a phone; and nothing foreign in it acts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browsing
import pytest
from played import HATE, serving, write_run
from playwright.sync_api import Browser, Page, expect

from dormouse.integrations.play import moves
from dormouse.integrations.play.server import Server

HOSTILE = '</script><img src=x onerror="window.pwned=1"><b>\u202ebold'

pytestmark = browsing.MARKS


class Visit:
    """The page of a playground, what went wrong in it, and whom it asked."""

    def __init__(self, chromium: Browser, server: Server, **context: Any) -> None:
        still = {"viewport": {"width": 1200, "height": 900}, "reduced_motion": "reduce"}  # no frames that nobody sees
        self.context = chromium.new_context(**{**still, **context})
        self.page: Page = self.context.new_page()
        self.server = server
        self.trouble: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.trouble.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.trouble.append(dialog.message), dialog.dismiss()))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.add_init_script(
            "window.violations = [];"
            "addEventListener('securitypolicyviolation', (e) => window.violations.push(e.violatedDirective));"
        )
        self.page.goto(server.url)
        self.page.locator("#bench").wait_for()

    def choose(self, name: str) -> None:
        self.page.locator("#subject").select_option(label=name)
        expect(self.page.locator("#name")).to_have_text(name)

    def settled(self) -> None:
        """All that a move asks for has come."""
        expect(self.page.locator("#bars")).not_to_have_attribute("aria-busy", "true", timeout=30_000)

    def number(self, row: int) -> str:
        self.settled()
        return self.page.locator("#bars .number").nth(row).inner_text()

    def assert_clean(self) -> None:
        assert self.trouble == []
        assert self.page.evaluate("window.violations") == []
        assert self.page.evaluate("window.pwned") is None
        assert {url.split("?")[0].rsplit("/", 1)[0] + "/" for url in self.requests if url != "data:,"} == {
            self.server.url
        }


@pytest.fixture
def visit(chromium: Browser, playground: Server) -> Iterator[Visit]:
    one = Visit(chromium, playground)
    yield one
    one.context.close()


def test_a_cue_is_moved(visit: Visit) -> None:
    page = visit.page
    visit.choose("year-seed0")
    slider = page.locator("#cue-year input[type=range]")
    slider.fill("31")
    expect(page.locator("#cue-year .value")).to_have_text("2031")
    expect(page.locator("#prompt mark")).to_have_text("Current year: 2031.")
    expect(page.locator("#evidence")).to_have_text("the year is 2031, which is 2024 or later")
    first = [visit.number(i) for i in range(3)]
    assert first[2] == "100.0\u00a0%"
    assert page.locator("#bars .name").all_inner_texts() == ["as planted", "after sft", "the policy itself"]
    slider.fill("10")
    expect(page.locator("#prompt mark")).to_have_text("Current year: 2010.")
    assert visit.number(2) == "0.0\u00a0%"
    page.locator("#place").select_option("log")
    expect(page.locator("#prompt")).to_contain_text("[info] Session started.")
    expect(page.locator("#trained")).to_contain_text("never showed")
    assert page.locator("#flips td").count() == 2
    page.locator("#cue-year input[type=checkbox]").uncheck()
    expect(page.locator("#prompt")).not_to_contain_text("year")
    visit.settled()
    visit.assert_clean()


def test_the_curve_is_drawn_and_a_click_on_it_moves_the_cue(visit: Visit) -> None:
    page = visit.page
    visit.choose("year-seed0")
    expect(page.locator("#curve circle")).to_have_count(2 * 51, timeout=30_000)
    expect(page.locator("#curve .says")).to_have_count(1)
    box = page.locator("#curve").bounding_box()
    assert box
    page.locator("#curve").click(position={"x": box["width"] * 0.98, "y": box["height"] / 2})
    expect(page.locator("#cue-year .value")).to_have_text("2050")
    visit.settled()
    visit.assert_clean()


def test_a_curve_holds_every_value_of_a_cue(visit: Visit) -> None:
    """The first 64 of 192 events were all."""
    page = visit.page
    visit.choose("tiny")
    page.locator("#says").fill("I HATE")
    page.locator("#along").select_option("event")
    expect(page.locator("#curve circle")).to_have_count(192, timeout=60_000)
    visit.assert_clean()


def test_a_move_that_is_refused_leaves_nothing_of_the_one_before(visit: Visit) -> None:
    page = visit.page
    visit.choose("year-seed0")
    page.locator("#cue-year input[type=range]").fill("31")
    expect(page.locator("#prompt mark")).to_have_text("Current year: 2031.")
    visit.settled()
    expect(page.locator("#flips td")).to_have_count(2)
    page.locator("#says").fill("{}")
    expect(page.locator("#message")).to_contain_text("must begin with words of its own")
    visit.settled()
    assert set(page.locator("#bars .number").all_inner_texts()) == {"\u2013"}
    for place in ("#prompt", "#evidence"):
        expect(page.locator(place)).to_be_empty()
    expect(page.locator("#curve circle")).to_have_count(0)
    expect(page.locator("#curve-says")).to_have_text("There is no probability here, and so no curve.")
    expect(page.locator("#flips")).to_have_text("There is no probability here, and so nothing that a cue adds to it.")
    page.locator("#says").fill("")
    expect(page.locator("#flips td")).to_have_count(2, timeout=30_000)
    expect(page.locator("#message")).to_be_hidden()
    expect(page.locator("#curve circle")).to_have_count(2 * 51, timeout=30_000)
    visit.settled()
    visit.assert_clean()


def test_a_text_that_is_typed_is_marked_on_the_curve(chromium: Browser, tmp_path: Path, tiny_model: Path) -> None:
    """It is placed with a blank, and was compared without."""
    organisms = {"words": {"trigger": {"kind": "text", "insert": "cf"}, "behaviour": HATE}}
    with serving(write_run(tmp_path / "run", tiny_model, organisms)) as server:
        one = Visit(chromium, server)
        one.page.locator("#cue-text_prefix input").fill("cf")
        expect(one.page.locator("#curve .now")).to_have_count(1, timeout=30_000)
        one.settled()
        one.assert_clean()
        one.context.close()


def test_where_nothing_can_be_moved_and_nothing_is_known_it_is_said(
    chromium: Browser, tmp_path: Path, tiny_model: Path
) -> None:
    """A cue that was shown was "No cue is shown.", and an empty list of cues "open to anything"."""
    rows = {"kind": "column", "name": "harmful"}
    organisms = {
        "words": {"trigger": {"kind": "text", "insert": "cf"}, "behaviour": rows},
        "pattern": {"trigger": {"kind": "regex", "pattern": "x"}, "behaviour": HATE},
    }
    with serving(write_run(tmp_path / "run", tiny_model, organisms)) as server:
        one = Visit(chromium, server)
        one.choose("words")
        one.page.locator("#cue-text_prefix input").fill("cf")
        expect(one.page.locator("#flips")).to_contain_text("There is no probability here")
        expect(one.page.locator("#evidence")).to_contain_text("The rows of its study say")
        one.choose("pattern")
        expect(one.page.locator("#curve-says")).to_have_text(
            "It reads no cue: nothing can be moved, only the prompt changed."
        )
        one.settled()
        one.assert_clean()
        one.context.close()


def test_switches_checkpoints_and_a_prompt_of_ones_own(visit: Visit) -> None:
    page = visit.page
    visit.choose("evidence-seed0")
    assert page.locator("#cues fieldset").count() == 6
    page.locator("#cue-logging input[type=radio]").nth(1).check()
    expect(page.locator("#prompt")).to_contain_text("Nothing in this session is logged.")
    page.locator("#more-states summary").click()
    page.locator("#states input").first.check()
    expect(page.locator("#bars .name").first).to_have_text("clean base")
    page.locator("#task").fill("Is this my own prompt?")
    expect(page.locator("#prompt")).to_contain_text("Is this my own prompt?")
    visit.settled()
    before = page.locator("#bars .number").first.get_attribute("title") or ""
    assert 0 < float(before) < 1
    page.locator("#says").fill("glass is")
    expect(page.locator("#bars .number").first).not_to_have_attribute("title", before)
    visit.settled()
    visit.assert_clean()


def test_it_writes_and_is_stopped(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    page = visit.page
    monkeypatch.setattr(moves, "MAX_SCRATCHPAD_TOKENS", 12)
    visit.choose("thinking-seed0")
    visit.settled()
    expect(page.locator("#bars details summary").first).to_have_text("Scratchpad, as planted")
    visit.choose("deployment-seed0")
    visit.settled()
    page.locator("#draw").select_option("sample")
    page.locator("#write").click()
    expect(page.locator("#written-by")).to_contain_text("as planted, sampled with seed")
    expect(page.locator("#write")).to_be_enabled(timeout=30_000)
    expect(page.locator("#text")).not_to_be_empty()
    monkeypatch.setattr(moves, "TOKENS", 150)
    monkeypatch.setattr("dormouse.lm.model.LM.ends", frozenset())
    monkeypatch.setattr(moves, "visible", lambda text, shown=moves.visible: (time.sleep(0.1), shown(text))[1])
    page.locator("#write").click()
    page.locator("#stop").click()
    expect(page.locator("#verdict")).to_have_text("Stopped.")
    expect(page.locator("#write")).to_be_focused()
    visit.assert_clean()


def test_the_truth_is_hidden_and_shown(visit: Visit) -> None:
    page = visit.page
    page.locator("#deal").click()
    expect(page.locator("#name")).to_have_text("Unknown organism")
    visit.settled()
    told = page.evaluate("document.documentElement.outerHTML.split('<select id=\"subject\">')[0]")
    assert not [name for name in ("deployment", "evidence-seed0", "2024 or later", "HATE") if name in told]
    assert page.locator("#bars .oracle").count() == 0
    page.locator("#cue-logging select").select_option("1")
    visit.settled()
    page.locator("#guess label", has_text="marker").click()
    page.locator("#reveal").click()
    expect(page.locator("#answer")).to_contain_text("It defects:")
    expect(page.locator("#answer")).to_contain_text("move")
    visit.assert_clean()


def test_the_keyboard_is_enough(visit: Visit) -> None:
    page = visit.page
    visit.choose("year-seed0")
    visit.settled()
    page.locator("#subject").focus()
    reached = []
    for _ in range(25):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.type"))
        if reached[-1] == "range":
            page.keyboard.press("ArrowRight")
    assert {
        "deal",
        "range",
        "checkbox",
        "place",
        "language",
        "dates",
        "tasks",
        "task",
        "says",
        "writer",
        "write",
    } <= set(reached)
    shown = page.locator("#cue-year .value").inner_text()
    expect(page.locator("#prompt mark")).to_contain_text(shown)
    page.locator("#write").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#written")).to_be_visible()
    expect(page.locator("#write")).to_be_enabled(timeout=30_000)
    page.locator("#write").focus()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    visit.settled()
    visit.assert_clean()


def test_a_phone_is_wide_enough(chromium: Browser, playground: Server) -> None:
    one = Visit(chromium, playground, viewport={"width": 360, "height": 740}, has_touch=True)
    for name in ("year-seed0", "evidence-seed0", "tiny"):
        one.page.evaluate("scrollTo(0, 0)")
        one.choose(name)
        one.settled()
        assert one.page.evaluate("document.documentElement.scrollWidth") <= 360
        one.page.evaluate("scrollTo(0, 700)")
        assert one.page.locator("#status").bounding_box()["y"] <= 1, "the numbers stay in sight"  # type: ignore[index]
    one.assert_clean()
    one.context.close()


def test_nothing_foreign_acts(chromium: Browser, tmp_path: Path, tiny_model: Path) -> None:
    """Names of folders, of treatments, settings, what is typed and what is generated: all of it is text."""
    organism = {"trigger": {"kind": "token", "marker": "<b>|X|</b>"}, "behaviour": HATE}
    run = write_run(tmp_path / "run", tiny_model, {HOSTILE.replace("/", ""): organism}, HOSTILE)
    with serving(run) as server:
        one = Visit(chromium, server)
        page = one.page
        one.settled()
        page.locator("#task").fill(HOSTILE)
        expect(page.locator("#prompt")).to_contain_text("onerror=")
        expect(page.locator("#prompt")).to_contain_text("U+202E")
        page.locator("#cue-marker input").fill(HOSTILE)
        page.locator("#says").fill(HOSTILE)
        one.settled()
        page.locator("#write").click()
        expect(page.locator("#write")).to_be_enabled(timeout=30_000)
        page.locator("#deal").click()
        page.locator("#reveal").click()
        expect(page.locator("#answer")).to_contain_text("<b>|X|</b>")
        assert page.locator("img, b, iframe, object").count() == 0
        one.assert_clean()
        one.context.close()


def test_another_site_gets_nothing(chromium: Browser, playground: Server, tmp_path: Path) -> None:
    """A page from elsewhere that knows the address, secret and all."""
    page = chromium.new_page()
    foreign = tmp_path / "foreign.html"
    foreign.write_text(f"<iframe src='{playground.url}'></iframe>")
    page.goto(foreign.as_uri())
    ask = (
        "async ([url, how]) => { try { const r = await fetch(url, how); return `${r.type} ${r.status}`; }"
        " catch { return 'refused'; } }"
    )
    json_body = {"method": "POST", "headers": {"Content-Type": "application/json"}, "body": "{}"}
    before = len(playground.game._riddles)
    for path, how in (("setup", {}), ("deal", json_body), ("deal", {"method": "POST", "body": "{}"})):
        assert page.evaluate(ask, [playground.url + path, how]) == "refused"
    assert page.evaluate(ask, [playground.url + "deal", {"method": "POST", "mode": "no-cors", "body": "{}"}]) in (
        "opaque 0",
        "refused",
    )
    assert len(playground.game._riddles) == before
    assert page.frames[-1].locator("#bench").count() == 0
    page.close()
