"""Figures for the page, as plain plotly JSON: data and layout, drawn by plotly.js in the reader's browser."""

from __future__ import annotations

from typing import Any, TypedDict

from dormouse.report.end_labels import EndLabel, end_labels
from dormouse.report.figure_style import DARK, GREY, GRID, LAYOUT, Line, Panel
from dormouse.report.overlap import covered, stroke

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "star", "hexagon", "cross")
_BAND = 0.16
_LETTER = 7
"""Pixels of a letter of a label."""
HEIGHT = 360


def safe(text: str) -> str:
    """Text that plotly shows letter by letter: it reads a small HTML of its own (bold, links, line breaks)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", "<br>")


class PlotlyFigure(TypedDict):
    """A figure as plotly's scripts take it. What is in a trace and in the layout is plotly's to say."""

    data: list[dict[str, object]]
    layout: dict[str, Any]


def figure(panel: Panel) -> PlotlyFigure:
    """A panel as plotly's data and layout: a band and a curve for each line, or points alone where a line stands
    apart."""
    traces = [
        trace
        for line, above in zip(panel.lines, covered(panel.lines), strict=True)
        for trace in ([_points(line)] if line.apart else [_band(line), _curve(line, above)])
    ]
    return {"data": traces, "layout": _layout(panel)}


def dark_colours() -> dict[str, str]:
    """From each colour used in a figure to the one that stands for it on a dark page."""
    bands = {_tint(light): _tint(dark) for light, dark in DARK.items()}
    return {**DARK, **bands, GRID: "#2f353e", "#ffffff": "#15181d"}


def _tint(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{_BAND})"


def _band(line: Line) -> dict[str, object]:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [*line.xs, *reversed(line.xs)],
        "y": [*line.highs, *reversed(line.lows)],
        "fill": "toself",
        "fillcolor": _tint(line.colour),
        "line": {"width": 0},
        "hoverinfo": "skip",
    }


def _curve(line: Line, above: int = 0) -> dict[str, object]:
    """A line with its points, which are the larger the more lines lie on it: all of them can be seen."""
    symbol = SYMBOLS[line.symbol % len(SYMBOLS)]
    return {
        "type": "scatter",
        "mode": "lines+markers" if line.symbol >= 0 else "lines",
        "x": list(line.xs),
        "y": list(line.ys),
        "line": {"color": line.colour, "width": 1.8 if line.dotted else 2.4, "dash": _dash(line)},
        "marker": {
            "color": ["#ffffff" if hollow else line.colour for hollow in line.hollow],
            "line": {"color": line.colour, "width": 1.5},
            "symbol": symbol,
            "size": (6 if len(line.xs) > 12 or line.dotted else 8) + 4 * min(above, 3),
        },
        "hoverinfo": "text",
        "hovertext": [safe(note) for note in line.notes],
        "cliponaxis": False,
    }


def _dash(line: Line) -> str:
    dashes = "" if line.dotted else stroke(line.symbol)
    return "dot" if line.dotted else ",".join(f"{part}px" for part in dashes.split()) or "solid"


def _points(line: Line) -> dict[str, object]:
    """Points that no line joins, each with its interval."""
    above = [high - y for high, y in zip(line.highs, line.ys, strict=True)]
    below = [y - low for low, y in zip(line.lows, line.ys, strict=True)]
    bars = {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "color": line.colour}
    return {**_curve(line), "mode": "markers", "error_y": {**bars, "thickness": 1.4, "width": 3}}


def _layout(panel: Panel) -> dict[str, Any]:
    axis = {"gridcolor": GRID, "linecolor": GREY, "zeroline": False, "fixedrange": True, "ticks": "outside"}
    low, high = _reach(panel)
    ends = end_labels(panel)
    pad = 0.4 if any(line.apart for line in panel.lines) else 0.03 * (high - low) or 0.5
    layout: dict[str, Any] = {
        "height": HEIGHT,
        "margin": {"l": 68, "r": 14 + _LETTER * max((len(end.text) for end in ends), default=0), "t": 22, "b": 52},
        **LAYOUT,
        "xaxis": {
            **axis,
            "showgrid": False,
            "title": {"text": safe(panel.x_title), "standoff": 8},
            "tickmode": "array",
            "tickvals": [place for place, _ in panel.ticks],
            "ticktext": [safe(label) for _, label in panel.ticks],
            "range": [low - pad, high + pad],
            "automargin": True,
            "ticklabeloverflow": "allow",
        },
        "yaxis": {
            **axis,
            "title": {"text": safe(panel.y_title), "standoff": 12},
            "range": [-0.03, 1.03],
            "tickmode": "array",
            "tickvals": [0, 0.25, 0.5, 0.75, 1],
            "ticktext": ["0 %", "25 %", "50 %", "75 %", "100 %"],
        },
    }
    if panel.boundary:
        layout |= _mark(*panel.boundary, left=panel.boundary[0] > (low + high) / 2)
    if ends:
        layout["annotations"] = [*layout.get("annotations", ()), *map(_end, ends)]
    return layout


def _end(label: EndLabel) -> dict[str, object]:
    """Right of the last point, in the margin."""
    words = {"text": safe(label.text), "font": {"size": 12, "color": label.colour}, "showarrow": False}
    return {"x": label.x, "y": label.y, "xanchor": "left", "xshift": 8, "align": "left", **words}


def _reach(panel: Panel) -> tuple[float, float]:
    places = [x for line in panel.lines for x in line.xs]
    return min(places), max(places)


def _mark(place: float, label: str, left: bool) -> dict[str, object]:
    line = {"type": "line", "x0": place, "x1": place, "yref": "paper", "y0": 0, "y1": 1}
    words = {"x": place, "yref": "paper", "y": 1, "yanchor": "bottom", "xanchor": "right" if left else "left"}
    return {
        "shapes": [{**line, "line": {"color": GREY, "width": 1, "dash": "dash"}, "layer": "below"}],
        "annotations": [{**words, "text": safe(label), "showarrow": False, "font": {"size": 12, "color": GREY}}],
    }
