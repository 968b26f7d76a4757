"""The same figures for a paper, as PNG files by matplotlib: plotly would need a browser to write one."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

from dormouse.files import swapped
from dormouse.locks import ThreadLock
from dormouse.report.end_labels import end_labels
from dormouse.report.figure_style import GREY, Legend, Line, Panel
from dormouse.report.overlap import covered, stroke
from dormouse.report.plain_text import cut

STYLE: dict[str, object] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.7,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "text.parse_math": False,
    "savefig.facecolor": "white",
}
_SYMBOLS = ("o", "s", "D", "^", "v", "*", "h", "P")
DPI = 150
_ACROSS = 3
_LETTERS = 32
_AT_END = 12
"""Letters beside the end of a line, where one panel has the width for itself: three in a row have no room."""
_TICK = 6
"""Tick labels longer than this are turned."""


DRAWING = ThreadLock()
"""matplotlib's settings are of the whole process: two threads that change them for a while leave one's behind."""


def draw(path: Path, panels: Sequence[Panel], keys: Sequence[tuple[str, Legend | None]]) -> None:
    """Write the panels side by side, at most three in a row.

    Args:
        path: the PNG file; its folder exists.
        keys: the legend: (label, what it looks like). None stands for the two kinds of line.
    """
    put(path, _drawn(tuple(panels), tuple(keys)))


def put(path: Path, png: bytes) -> None:
    """Write a picture whole. Raises as `swapped`."""
    with swapped(path) as scratch:
        scratch.write_bytes(png)


@lru_cache(maxsize=32)
def _drawn(panels: tuple[Panel, ...], keys: tuple[tuple[str, Legend | None], ...]) -> bytes:
    """The PNG. A report is written again after each look, and in a notebook: most figures are as they were."""
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    across = min(_ACROSS, len(panels))
    down = math.ceil(len(panels) / across)
    width = 4.6 if across == 1 else 2.45 * across + 0.4
    with DRAWING.lock, style.context(["default", STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        labels = [_label(label) for label, _ in keys]
        longest = max(map(len, labels), default=0)
        columns = max(1, min(len(keys), int(width / max(1.5, 0.5 + 0.062 * longest))))
        height = 2.5 * down + 0.38 + 0.17 * math.ceil(len(keys) / columns)
        figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(down, across, squeeze=False, sharey=True).flatten()
        for i, (axis, panel) in enumerate(zip(axes, panels, strict=False)):
            _panel(axis, panel, first=i % across == 0)
            for end in end_labels(panel, _AT_END) if across == 1 else ():
                at = {"xytext": (6, 0), "textcoords": "offset points", "va": "center", "annotation_clip": False}
                axis.annotate(end.text, (end.x, end.y), fontsize=7, color=end.colour, **at)
        for axis in axes[len(panels) :]:
            axis.set_axis_off()
        handles = [_handle(key, label) for label, key in keys]
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, handlelength=4)
        png = BytesIO()
        save(figure, png)
    return png.getvalue()


def save(figure: Any, png: BytesIO) -> None:
    """Lay out once and draw once: savefig by itself draws a figure with a layout a second time, for nothing."""
    figure.get_layout_engine().execute(figure)
    figure.set_layout_engine("none")
    figure.savefig(png, metadata={"Software": None})


def _label(text: str, letters: int = _LETTERS) -> str:
    """A label that fits. matplotlib leaves out of the legend whatever starts with an underscore."""
    plain = cut(text, letters)
    return f"\u200a{plain}" if plain.startswith("_") else plain


def _title(text: str) -> str:
    """A title in one line or two: arms of a grid have long names, broken at one of their dots if there is one."""
    plain = cut(text, 2 * _LETTERS)
    if len(plain) <= _LETTERS:
        return plain
    least = len(plain) - _LETTERS
    at = plain.rfind(".", least - 1, _LETTERS) + 1 or _LETTERS
    return f"{plain[:at]}\n{plain[at:]}"


def _handle(key: Legend | None, label: str) -> Any:
    from matplotlib.lines import Line2D

    if key is None:
        return Line2D([], [], color=GREY, linestyle=":" if "without" in label else "-", linewidth=1.4)
    marker = _SYMBOLS[key.symbol % len(_SYMBOLS)] if key.symbol >= 0 else ""
    dashes = _dashes(key.symbol)
    return Line2D([], [], color=key.colour, marker=marker, markersize=4, linewidth=1.4, linestyle=dashes)


def _panel(axis: Any, panel: Panel, first: bool) -> None:
    told = "\n(told the triggers)" if panel.needs_triggers else ""
    axis.set_title(_title(panel.title) + told, loc="left")
    for line, above in zip(panel.lines, covered(panel.lines), strict=True):
        _line(axis, line, above)
    axis.set_xticks([place for place, _ in panel.ticks], [label for _, label in panel.ticks])
    axis.set_xlabel(panel.x_title)
    if any(len(label) > _TICK for _, label in panel.ticks):
        for label in axis.get_xticklabels():
            label.set(rotation=25, ha="right", rotation_mode="anchor")
    axis.set_ylim(-0.03, 1.03)
    axis.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    axis.tick_params(labelleft=first)
    axis.grid(axis="y", color="#e4e7eb", linewidth=0.6)
    axis.set_axisbelow(True)
    if first:
        axis.set_ylabel(panel.y_title)
    if panel.boundary:
        place, label = panel.boundary
        axis.axvline(place, color=GREY, linewidth=0.8, linestyle="--", zorder=1)
        at = {"xytext": (-3, 0), "textcoords": "offset points", "ha": "right", "va": "center"}
        axis.annotate(label, (place, 0.5), rotation=90, fontsize=6.5, color=GREY, **at)


def _dashes(symbol: int) -> Any:
    """The dashes of a line in widths of the line."""
    parts = [int(part) / 2.4 for part in stroke(symbol).split()]
    return (0, parts) if parts else "-"


def _line(axis: Any, line: Line, above: int) -> None:
    many = len(line.xs) > 12
    if line.apart:
        axis.vlines(line.xs, line.lows, line.highs, color=line.colour, linewidth=1.0)
    else:
        band = ([*line.xs, *reversed(line.xs)], [*line.highs, *reversed(line.lows)])
        axis.fill(*band, color=line.colour, alpha=0.16, linewidth=0)
        width, dashes = (1.1, ":") if line.dotted else (1.4, _dashes(line.symbol))
        axis.plot(line.xs, line.ys, color=line.colour, linewidth=width, linestyle=dashes)
    if line.symbol < 0:
        return
    size = (2.8 if many else 4) + 2 * min(above, 3)
    look = {"marker": _SYMBOLS[line.symbol % len(_SYMBOLS)], "markersize": size, "markeredgewidth": 0.8}
    for hollow in sorted(set(line.hollow)):
        here = [(x, y) for x, y, open_ in zip(line.xs, line.ys, line.hollow, strict=True) if open_ == hollow]
        face = {"markerfacecolor": "white" if hollow else line.colour, "markeredgecolor": line.colour}
        axis.plot(*zip(*here, strict=True), linestyle="none", clip_on=False, zorder=3, **look, **face)
