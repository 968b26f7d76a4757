"""The page: one HTML file that holds all it needs, opens offline and lets nothing in it act but its own two scripts."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dormouse.files import read_whole, replaced
from dormouse.metrics import metric
from dormouse.provenance import Provenance
from dormouse.records import CANARY, Answer, Record
from dormouse.report import markdown, spec_curve
from dormouse.report.answers import Browser, browser
from dormouse.report.claim_text import ABOUT, HEADING, Answered, answered, changes, stated
from dormouse.report.fates import RULES
from dormouse.report.figure_groups import FigureGroup, figure_groups
from dormouse.report.figure_style import DARK
from dormouse.report.glossary import TERMS, marked
from dormouse.report.headline import headline
from dormouse.report.meaning import meaning
from dormouse.report.overlap import in_words, stroke
from dormouse.report.plain_text import duration, interval_of, sentence, signed, value_of
from dormouse.report.plotly_figures import dark_colours, figure
from dormouse.report.record_index import RecordIndex, by_model
from dormouse.report.records_csv import NAME as CSV
from dormouse.report.records_csv import records_csv
from dormouse.report.series import summary
from dormouse.report.setup_text import behaviour, known, machine, origin, scored, spans, treatment, trigger
from dormouse.report.static import DPI, STYLE, draw
from dormouse.report.tables import Table, checks, stage_places, tables, warnings
from dormouse.report.templates import environment
from dormouse.report.trail import Trails
from dormouse.report.training_page import Treatment, write_pages
from dormouse.report.words import SAFETY, words_of

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


def write_report(out: Path, records: Sequence[Record], answers: Sequence[Answer], about: Provenance) -> None:
    """Write `report.html`, `report.md`, `records.csv` and `figures/*.png` into `out`.

    The same input gives the same bytes.

    Args:
        out: a folder; made where it is missing. Figures of an earlier report that are no longer drawn are deleted.
            Where `out/models` holds the logs of treatments, each gets a page of what it was shown.
        records: all numbers of the study, in any order.
        answers: what the models wrote; may be empty.
        about: what stands behind the numbers. Organisms on several models count as different ones.
    """
    table = records_csv(records)
    records, answers, about = by_model(records, answers, about)
    results = RecordIndex(records, about)
    claims = answered(about)
    groups = figure_groups(results)
    (out / "figures").mkdir(parents=True, exist_ok=True)
    for group in groups:
        path = out / group.png
        if group.panels:
            draw(path, group.panels, group.keys)
        else:
            path.unlink(missing_ok=True)
    drawn = [group for group in groups if group.panels]
    _draw_curves(out / "figures", claims)
    pictures = [
        markdown.Picture(group.name, group.heading, group.caption, group.png, [summary(p) for p in group.panels])
        for group in drawn
    ]
    treatments = write_pages(out)
    _write(out / "report.md", markdown.report(results, answers, pictures, claims))
    _write(out / CSV, table)
    stills = _stills(
        out, [*(group.png for group in drawn), *(f"figures/{one.name}.png" for one in claims if one.curve)]
    )
    _write(out / "report.html", page(results, answers, drawn, claims, treatments, stills))


def _stills(out: Path, pictures: Sequence[str]) -> dict[str, str]:
    """The PNGs as data that stand in the page itself, by name: what a reader without JavaScript sees."""
    data = {Path(name).stem: base64.b64encode(read_whole(out / name)).decode() for name in pictures}
    return {name: f"data:image/png;base64,{text}" for name, text in data.items()}


def _draw_curves(folder: Path, claims: Sequence[Answered]) -> None:
    """The specification curves as PNGs; those of an earlier report that are no longer drawn are deleted."""
    curves = {f"{one.name}.png": one for one in claims if one.curve}
    for old in folder.glob("claim-*.png"):
        if old.name not in curves:
            old.unlink()
    for name, one in curves.items():
        spec_curve.draw(folder / name, one, STYLE, DPI)


def _write(path: Path, text: str) -> None:
    replaced(path, text, errors="replace")


def island(data: Any) -> Markup:
    """JSON that may stand inside a script element: no `<`, `>` or `&`, so nothing in it can close or open one."""
    from markupsafe import Markup

    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def page(
    results: RecordIndex,
    answers: Sequence[Answer],
    groups: Sequence[FigureGroup],
    claims: Sequence[Answered] = (),
    treatments: Sequence[Treatment] = (),
    stills: Mapping[str, str] | None = None,
) -> str:
    """The HTML of the whole report. `stills` are pictures as data, by name, for readers without JavaScript."""
    pairs = browser(results, answers)
    context = {
        **_about_the_study(results, claims),
        **_drawn(groups, claims, pairs),
        **_numbers(results, groups, pairs),
        "pairs": pairs,
        "treatments": treatments,
        "stills": stills or {},
    }
    context["contents"] = _contents(context)
    return _environment(results).get_template("page.html").render(context)


def _environment(results: RecordIndex) -> Environment:
    places = {id(record): i for i, record in enumerate(results.records)}
    pages = environment()
    pages.filters |= {
        "value": value_of,
        "interval": interval_of,
        "duration": duration,
        "signed": signed,
        "pretty": _pretty,
        "marked": marked,
        "ended": sentence,
        "spans": spans,
        "stroke": stroke,
        "summarised": summary,
        "columns": _columns,
        "row": lambda record: places[id(record)],
    }
    return pages


def _about_the_study(results: RecordIndex, claims: Sequence[Answered]) -> dict[str, object]:
    about = results.about
    return {
        "about": about,
        "findings": meaning(results),
        "rules": RULES,
        "sentences": headline(results),
        "warnings": warnings(results),
        "missing": about.missing,
        "claims": claims,
        "outcomes": Counter(one.verdict for one in claims).most_common(),
        "claims_heading": HEADING,
        "claims_about": ABOUT,
        "claims_stated": stated(about),
        "claims_changed": changes(about),
        "curve_words": spec_curve.words,
        "stages": about.stages,
        "stage_places": stage_places(about),
        "seconds": about.seconds,
        "trigger": trigger,
        "behaviour": behaviour,
        "treatment": treatment,
        "known": known,
        "origin": origin,
        "scored": scored,
        "machine": machine,
        "terms": TERMS,
        "safety": SAFETY,
        "canary": CANARY,
    }


def _drawn(groups: Sequence[FigureGroup], claims: Sequence[Answered], pairs: Browser) -> dict[str, object]:
    from markupsafe import Markup

    curves = {f"{one.name}-curve": spec_curve.figure(one) for one in claims if one.curve}
    plotly, script = (_plotly() if groups or curves else ""), _read("script.html")
    figures = {f"{group.name}-{i}": figure(panel) for group in groups for i, panel in enumerate(group.panels)}
    return {
        "groups": groups,
        "beside": {group.name: group for group in groups},
        "summary": summary,
        "overlaps": in_words,
        "symbols": "●■◆▲▼★⬢✚",
        "dark": DARK,
        "plotly": Markup(plotly),
        "script": Markup(script),
        "policy": _policy(plotly, script),
        "figures_json": island({"figures": figures | curves, "dark": dark_colours()}),
        "answers_json": island(pairs),
    }


def _numbers(results: RecordIndex, groups: Sequence[FigureGroup], pairs: Browser) -> dict[str, object]:
    compared, found = checks(results), tables(results)
    measured = sorted({record.measurement for record in results.records})
    return {
        "results": results,
        "tables": found,
        "words": {table.name: words_of(table.name) for table in found},
        "checks": compared,
        "agreeing": sum(check.agree for check in compared),
        "trails": Trails(results, [group.name for group in groups], found, pairs),
        "measures": [(name, meaning) for name in measured if (meaning := metric(name).meaning)],
    }


def _columns(table: Table) -> list[tuple[str, str]]:
    """The columns of a table, each with what it means; "" where that is not known."""
    found = []
    for i, column in enumerate(table.columns):
        record = next((row.cells[i] for row in table.rows if row.cells[i]), None)
        found.append((column, metric(record.measurement).meaning if record else ""))
    return found


def _contents(page: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every section: its id and its heading, in the order of the page."""
    alone = [group for group in page["groups"] if group.name not in {table.name for table in page["tables"]}]
    parts = [
        ("meaning", "What this result means", True),
        ("setup", "What was run", True),
        ("claims", HEADING, page["claims"] or page["claims_changed"]),
        *((group.name, group.heading, True) for group in alone),
        *((table.name, words_of(table.name)[0], True) for table in page["tables"]),
        ("checks", "Exact against sampled", page["checks"]),
        ("answers", "Read the answers", page["pairs"]["organisms"]),
        ("shown", "What each treatment was shown", page["treatments"]),
        ("specification", "The exact specification", True),
        ("provenance", "Where the numbers come from", page["stages"]),
        ("records", "Every number", page["results"].records),
        ("reading", "Glossary", True),
        ("safety", "Safety", True),
    ]
    return [(name, title) for name, title, there in parts if there]


def _pretty(data: Any) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False)


def _policy(*scripts: str) -> str:
    """A content security policy under which nothing runs but these scripts, and nothing is fetched."""
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts if script)
    allowed = " ".join(f"'sha256-{one}'" for one in hashes)
    # plotly sets style attributes, so styles cannot be held to hashes.
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _read(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs()).replace("\r\n", "\n")
