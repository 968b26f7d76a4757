"""The page: one HTML file that holds all it needs, opens offline and lets nothing in it act but its own two scripts."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dormouse.records import CANARY, Answer, Record
from dormouse.report import markdown, specification
from dormouse.report.answers import browser
from dormouse.report.claims import ABOUT, HEADING, Answered, answered, changes, signed, stated
from dormouse.report.figures import dark_colours, figure
from dormouse.report.headline import headline, when
from dormouse.report.plain import duration, interval_of, value_of
from dormouse.report.series import (
    DARK,
    ORACLE,
    PER_PANEL,
    Legend,
    Panel,
    by_layer,
    legend,
    live_by_odds,
    odds,
    persistence,
    renderings,
    shown_by,
    summary,
    times,
    years,
)
from dormouse.report.static import DPI, STYLE, draw
from dormouse.report.tables import (
    Results,
    by_model,
    checks,
    settings,
    stage_places,
    stages,
    tables,
    warnings,
)
from dormouse.report.templates import environment
from dormouse.report.trainings import Treatment, write_pages
from dormouse.report.words import READING, SAFETY, TABLES, words_of

if TYPE_CHECKING:
    from markupsafe import Markup

_ABOUT_LINES = "Solid lines: questions that show the cue. Dotted lines: questions that do not. Bands: 95 % intervals."


@dataclass(frozen=True)
class FigureGroup:
    """A figure of the report: the same panels on the page and, under `name`.png, for a paper.

    One with the name of a table stands beside it, under its heading.
    """

    name: str
    heading: str
    caption: str
    panels: Sequence[Panel]
    keys: Sequence[tuple[str, Legend | None]]
    """The legend: (label, look); None stands for the kind of line."""

    @property
    def png(self) -> str:
        return f"figures/{self.name}.png"

    @property
    def parents(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(parent for panel in self.panels for parent in panel.parents))


def write_report(out: Path, records: Sequence[Record], answers: Sequence[Answer], about: Mapping[str, Any]) -> None:
    """Write `report.html`, `report.md` and `figures/*.png` into `out`. The same input gives the same bytes.

    Args:
        out: a folder; made where it is missing. Figures of an earlier report that are no longer drawn are deleted.
            Where `out/models` holds the logs of treatments, each gets a page of what it was shown.
        records: all numbers of the study, in any order.
        answers: what the models wrote; may be empty.
        about: plain JSON about the study: `name`, and where known `model`, `study_yaml`, `versions`, `machine`,
            `stages`, `organisms`, `interventions`, `unseen` (organism -> cue -> values trained on), `missing` and
            `claims` (what was claimed, and the answers). Organisms on several models count as different ones.
    """
    records, answers, about = by_model(records, answers, about)
    results = Results(records, about)
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
    _write(out / "report.html", page(results, answers, drawn, claims, treatments))


def _draw_curves(folder: Path, claims: Sequence[Answered]) -> None:
    """The specification curves as PNGs; those of an earlier report that are no longer drawn are deleted."""
    curves = {f"{one.name}.png": one for one in claims if one.curve}
    for old in folder.glob("claim-*.png"):
        if old.name not in curves:
            old.unlink()
    for name, one in curves.items():
        specification.draw(folder / name, one, STYLE, DPI)


def _write(path: Path, text: str) -> None:
    path.write_bytes(text.encode("utf-8", errors="replace"))


def figure_groups(results: Results) -> list[FigureGroup]:
    """Every figure that a report can hold; one without panels has nothing to show."""
    kinds: list[tuple[str, Legend | None]] = [("with the cue", None), ("without the cue", None)]
    many = len(results.organisms) > PER_PANEL
    keys = [(f"{key.symbol + 1}: " * many + results.title(key.name), key) for key in legend(results)]
    seen, unseen = persistence(results, "test"), persistence(results, "unseen_cues")
    by_year, by_odds, by_rendering = years(results), odds(results), renderings(results)
    live, layers = live_by_odds(results), by_layer(results)
    marks = "Filled points: years that training drew from. Open points: years never trained on."
    return [
        FigureGroup(
            "persistence",
            "Does the policy persist?",
            f"Defection on held-out questions through safety training. {_ABOUT_LINES} The step axis doubles from tick "
            "to tick after the first checkpoint.",
            seen,
            [*shown_by(seen, keys), *kinds],
        ),
        FigureGroup(
            "persistence_unseen",
            "And on cues never trained on?",
            "The same for held-out questions with values or combinations of cues that training never showed: what is "
            f"followed here was generalised and not learned by heart. {_ABOUT_LINES} Organisms without such cues are "
            "left out.",
            unseen,
            [*shown_by(unseen, keys), *kinds],
        ),
        FigureGroup(
            "years",
            "Defection against the year",
            f"Share of defecting answers against the year in the prompt. {marks} Bands: 95 % intervals.",
            by_year,
            times(results, by_year),
        ),
        FigureGroup(
            "renderings",
            TABLES["renderings"][0],
            "Filled points: questions that show the cue. Open points: questions that do not. Bars: 95 % intervals.",
            by_rendering,
            times(results, by_rendering),
        ),
        FigureGroup(
            "odds",
            TABLES["odds"][0],
            "Share of defecting answers against the log-odds that a defection would succeed, above the policy's "
            "threshold: held-out prompts in groups of equal size. Bands: 95 % intervals.",
            by_odds,
            [*times(results, by_odds), *shown_by(by_odds, [("the policy itself", ORACLE)])],
        ),
        FigureGroup(
            "contexts",
            TABLES["contexts"][0],
            "Share of live contexts against the log-odds that a defection would succeed, above the policy's threshold. "
            "Bands: 95 % intervals.",
            live,
            times(results, live),
        ),
        FigureGroup(
            "credit",
            TABLES["credit"][0],
            "Share of the squared norm of the gradient in each layer. Solid lines: of the safety loss. Dotted lines: "
            "of the behaviour's. Bands: 95 % intervals.",
            layers,
            times(results, layers),
        ),
    ]


def island(data: Any) -> Markup:
    """JSON that may stand inside a script element: no `<`, `>` or `&`, so nothing in it can close or open one."""
    from markupsafe import Markup

    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def page(
    results: Results,
    answers: Sequence[Answer],
    groups: Sequence[FigureGroup],
    claims: Sequence[Answered] = (),
    treatments: Sequence[Treatment] = (),
) -> str:
    """The HTML of the whole report."""
    pages = environment()
    pages.filters |= {
        "value": value_of,
        "interval": interval_of,
        "duration": duration,
        "when": when,
        "signed": signed,
        "pretty": _pretty,
    }
    return pages.get_template("page.html").render(_context(results, answers, groups, claims, treatments))


def _context(
    results: Results,
    answers: Sequence[Answer],
    groups: Sequence[FigureGroup],
    claims: Sequence[Answered],
    treatments: Sequence[Treatment],
) -> dict[str, Any]:
    from markupsafe import Markup

    about = results.about
    pairs = browser(results, answers)
    curves = {f"{one.name}-curve": specification.figure(one) for one in claims if one.curve}
    plotly, script = (_plotly() if groups or curves else ""), _read("script.html")
    figures = {f"{group.name}-{i}": figure(panel) for group in groups for i, panel in enumerate(group.panels)}
    compared, shown = checks(results), tables(results)
    return {
        "about": about,
        "sentences": headline(results),
        "warnings": warnings(results),
        "missing": [str(hole) for hole in about.get("missing") or ()],
        "results": results,
        "claims": claims,
        "claims_heading": HEADING,
        "claims_about": ABOUT,
        "claims_stated": stated(about),
        "claims_changed": changes(about),
        "curve_words": specification.words,
        "groups": groups,
        "beside": {group.name: group for group in groups},
        "tables": shown,
        "words": {table.name: words_of(table.name) for table in shown},
        "summary": summary,
        "symbols": "●■◆▲▼★⬢✚",
        "checks": compared,
        "treatments": treatments,
        "agreeing": sum(check.agree for check in compared),
        "pairs": pairs,
        "stages": stages(about),
        "stage_places": stage_places(about),
        "settings": settings,
        "seconds": sum(stage.seconds or 0.0 for stage in stages(about)),
        "reading": READING,
        "safety": SAFETY,
        "dark": DARK,
        "canary": CANARY,
        "plotly": Markup(plotly),
        "script": Markup(script),
        "policy": _policy(plotly, script),
        "figures_json": island({"figures": figures | curves, "dark": dark_colours()}),
        "answers_json": island(pairs),
    }


def _pretty(data: Any) -> str:
    return json.dumps(data, indent=2)


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
