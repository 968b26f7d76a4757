"""How a figure looks: lines and panels as plain data, and the colour and symbol of every organism."""

from __future__ import annotations

from dataclasses import dataclass

from dormouse.report.record_index import RecordIndex

COLOURS = ("#0072b2", "#d55e00", "#00805e", "#b4508a", "#946800", "#4a9ccb")
"""Wong's colour-blind-safe palette, darkened where it is too pale on white. A line's symbol differs as well."""


GREY = "#6b7280"
INK = "#1f2933"
GRID = "#dfe3e8"
DARK = dict(
    zip(
        (*COLOURS, GREY, INK),
        ("#56b4e9", "#ff8a3d", "#2cc99b", "#e79bc4", "#f0c040", "#a9d8f5", "#a3abb8", "#e6e8eb"),
        strict=True,
    )
)
"""The same colours on a dark page."""
LAYOUT = {
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "font": {"family": "system-ui, sans-serif", "size": 13, "color": INK},
    "showlegend": False,
    "hovermode": "closest",
    "hoverlabel": {"bgcolor": "#ffffff", "font": {"color": INK}, "align": "left", "namelength": -1},
    "dragmode": False,
}
"""What every plotly figure of a page has in common."""


@dataclass(frozen=True)
class Line:
    """One curve with its interval band, or (`apart`) points with an interval each. A symbol of -1: no points.

    `hollow` marks points apart (years that were never trained on, prompts without the cue).
    """

    name: str
    colour: str
    symbol: int
    dotted: bool
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    lows: tuple[float, ...]
    highs: tuple[float, ...]
    hollow: tuple[bool, ...]
    notes: tuple[str, ...]
    """What the reader sees on pointing at each point."""
    apart: bool = False
    label: str = ""
    """What may stand beside its end (see `end_labels`); "" for none."""


@dataclass(frozen=True)
class Panel:
    """One pair of axes. `ticks` are (place, label); `boundary` is a vertical line with its label."""

    title: str
    needs_triggers: bool
    lines: tuple[Line, ...]
    ticks: tuple[tuple[float, str], ...]
    x_title: str
    parents: tuple[str, ...]
    boundary: tuple[float, str] | None = None
    y_title: str = "defection rate"


@dataclass(frozen=True)
class Legend:
    name: str
    colour: str
    symbol: int
    control: bool = False


def legend(results: RecordIndex) -> list[Legend]:
    """The colour and the symbol of every organism, the same in all figures. Controls are grey."""
    colours = iter(range(len(results.organisms)))
    return [
        Legend(
            name,
            GREY if name in results.controls else COLOURS[next(colours) % len(COLOURS)],
            i,
            name in results.controls,
        )
        for i, name in enumerate(results.organisms)
    ]
