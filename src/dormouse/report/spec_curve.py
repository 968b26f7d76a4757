"""Specification curves (Simonsohn, Simmons and Nelson 2020): the effect in every set-up, sorted, over what was chosen.

Above the effects with their intervals, below a row for each value of each axis, with a mark where it was chosen. Once
as plotly JSON for the page, once by matplotlib for a paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from dormouse.report.claim_text import Answered, Point, axis_label, reach
from dormouse.report.figure_style import COLOURS, GREY, GRID, INK, LAYOUT
from dormouse.report.plain_text import cut, signed
from dormouse.report.plotly_figures import safe
from dormouse.report.static import DRAWING, put, save

HOLDS, TURNS = COLOURS[0], COLOURS[1]
_TOP, _ROW = 240, 19
"""Pixels of the effects, and of each row below."""
_LETTERS = 28


def rows(one: Answered) -> list[tuple[str, str]]:
    """(axis, value) of each row below the effects, from the top; numbers in their order."""
    found: list[tuple[str, str]] = []
    for axis in one.axes:
        values = dict.fromkeys(dict(point.chosen)[axis] for point in one.curve)
        found += [(axis, value) for value in sorted(values, key=_natural)]
    return found


def _natural(value: str) -> tuple[int, float, str]:
    try:
        return (0, float(value), value)
    except ValueError:
        return (1, 0.0, value)


def _marks(one: Answered) -> list[tuple[int, int]]:
    """(set-up, row) of every mark."""
    at = {row: i for i, row in enumerate(rows(one))}
    return [(x, at[chosen]) for x, point in enumerate(one.curve) for chosen in point.chosen]


def words(one: Answered) -> str:
    """The figure for those who cannot see it."""
    low, high = one.curve[0], one.curve[-1]
    return (
        f"Effects on {one.measurement} in {len(one.curve)} set-ups, from {signed(low.effect)} ({low.said}) to "
        f"{signed(high.effect)} ({high.said}). {one.turning}"
    )


def figure(one: Answered) -> dict[str, object]:
    """The curve as plotly's data and layout."""
    below = rows(one)
    height = _TOP + _ROW * len(below) + 60
    split = (_ROW * len(below) + 10) / (height - 60)
    axis = {"gridcolor": GRID, "linecolor": GREY, "zeroline": False, "fixedrange": True}
    labels = [safe(cut(axis_label(*row), _LETTERS)) for row in below]
    low, high = reach(one.curve, one.margin)
    return {
        "data": [
            *(_effects(one, turned) for turned in (False, True) if _of(one, turned)),
            *(_chosen(one, turned) for turned in (False, True) if _of(one, turned)),
        ],
        "layout": {
            "height": height,
            "margin": {"l": 170, "r": 14, "t": 16, "b": 44},
            **LAYOUT,
            "xaxis": {
                **axis,
                "showgrid": False,
                "showticklabels": False,
                "anchor": "y2",
                "range": [-0.6, len(one.curve) - 0.4],
                "title": {"text": "set-ups, from the lowest effect to the highest", "standoff": 8},
            },
            "yaxis": {**axis, "domain": [split, 1], "range": [low, high], "title": {"text": "effect", "standoff": 8}},
            "yaxis2": {
                **axis,
                "domain": [0, split - 0.03],
                "range": [len(below) - 0.5, -0.5],
                "tickmode": "array",
                "tickvals": list(range(len(below))),
                "ticktext": labels,
                "tickfont": {"size": 11},
            },
            "shapes": [_line(place, dash) for place, dash in _lines(one)],
        },
    }


def _of(one: Answered, turned: bool) -> list[tuple[int, Point]]:
    return [(x, point) for x, point in enumerate(one.curve) if (point.turns != "no") == turned]


def _lines(one: Answered) -> list[tuple[float, str]]:
    """Zero, and the margins of the claim."""
    margins = {"less": [-one.margin], "greater": [one.margin]}.get(one.direction, [-one.margin, one.margin])
    return [(0.0, "solid"), *((place, "dash") for place in margins if place)]


def _line(place: float, dash: str) -> dict[str, object]:
    ends = {"xref": "paper", "x0": 0, "x1": 1, "y0": place, "y1": place, "yref": "y"}
    return {"type": "line", **ends, "line": {"color": GREY, "width": 1, "dash": dash}, "layer": "below"}


def _effects(one: Answered, turned: bool) -> dict[str, object]:
    found, colour = _of(one, turned), TURNS if turned else HOLDS
    bars = {
        "type": "data",
        "symmetric": False,
        "array": [point.high - point.effect for _, point in found],
        "arrayminus": [point.effect - point.low for _, point in found],
        "color": colour,
        "thickness": 1.4,
        "width": 0 if len(one.curve) > 40 else 3,
    }
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [x for x, _ in found],
        "y": [point.effect for _, point in found],
        "error_y": bars,
        "marker": {"color": colour, "size": 7, "symbol": "diamond" if turned else "circle"},
        "hoverinfo": "text",
        "hovertext": [safe(_hover(point)) for _, point in found],
    }


def _hover(point: Point) -> str:
    return f"{point.said}\n{signed(point.effect)} {point.interval}, {point.seeds} seeds"


def _chosen(one: Answered, turned: bool) -> dict[str, object]:
    mine = {x for x, _ in _of(one, turned)}
    marks = [(x, row) for x, row in _marks(one) if x in mine]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [x for x, _ in marks],
        "y": [row for _, row in marks],
        "yaxis": "y2",
        "marker": {"color": TURNS if turned else INK, "size": 6, "symbol": "square"},
        "hoverinfo": "skip",
    }


def draw(path: Path, one: Answered, style: dict[str, object], dpi: int) -> None:
    """Write the curve as a PNG."""
    import warnings

    from matplotlib import style as styles
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    below, png = rows(one), BytesIO()
    top, bottom = 1.9, 0.17 * len(below) + 0.15
    width = min(10.0, max(4.6, 2.0 + 0.14 * len(one.curve)))
    with DRAWING.lock, styles.context(["default", style]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        made = Figure(figsize=(width, top + bottom + 0.5), dpi=dpi, layout="constrained")
        FigureCanvasAgg(made)
        effects, chosen = made.subplots(2, 1, sharex=True, height_ratios=[top, bottom])
        _draw_effects(effects, one)
        _draw_chosen(chosen, one, below)
        save(made, png)
    put(path, png.getvalue())


def _draw_effects(axis: Any, one: Answered) -> None:
    for place, dash in _lines(one):
        axis.axhline(place, color=GREY, linewidth=0.8, linestyle="-" if dash == "solid" else "--", zorder=1)
    for turned in (False, True):
        found, colour = _of(one, turned), TURNS if turned else HOLDS
        xs = [x for x, _ in found]
        axis.vlines(xs, [p.low for _, p in found], [p.high for _, p in found], color=colour, linewidth=1.0)
        axis.scatter(xs, [p.effect for _, p in found], color=colour, s=14, marker="D" if turned else "o", zorder=3)
    axis.set_ylim(*reach(one.curve, one.margin))
    axis.set_ylabel(f"effect on {cut(one.measurement, _LETTERS)}")
    axis.grid(axis="y", color="#e4e7eb", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.tick_params(bottom=False)


def _draw_chosen(axis: Any, one: Answered, below: Sequence[tuple[str, str]]) -> None:
    turned = {x for x, _ in _of(one, True)}
    marks = _marks(one)
    axis.scatter(
        [x for x, _ in marks],
        [row for _, row in marks],
        color=[TURNS if x in turned else INK for x, _ in marks],
        s=9,
        marker="s",
    )
    axis.set_ylim(len(below) - 0.5, -0.5)
    axis.set_yticks(range(len(below)), [cut(axis_label(*row), _LETTERS) for row in below], fontsize=6.5)
    axis.set_xlim(-0.6, len(one.curve) - 0.4)
    axis.set_xticks([])
    for axis_name in one.axes[1:]:
        first = next(i for i, row in enumerate(below) if row[0] == axis_name)
        axis.axhline(first - 0.5, color="#e4e7eb", linewidth=0.8)
    axis.set_xlabel("set-ups, from the lowest effect to the highest")
