"""Lines of a figure that lie on one another: each has its own dashes, those below have larger points, words say so."""

from __future__ import annotations

from collections.abc import Sequence

from dormouse.report.figure_style import Line, Panel

NEAR = 0.025
"""Closer than this, on an axis from 0 to 1, two points cannot be told apart."""


_STROKES = ("", "14 4", "9 3 2 3", "5 3", "16 3 2 3 2 3", "20 6")
"""Dashes and gaps in pixels, by symbol: where one line lies on another, the one below is seen in the gaps."""


def stroke(symbol: int) -> str:
    """The dashes of a line, as SVG writes them; "" for a solid line."""
    return _STROKES[symbol % len(_STROKES)] if symbol >= 0 else ""


def _share(one: Line, other: Line) -> float:
    """Of the points that two lines have at the same places, how many are on one another."""
    places = dict(zip(other.xs, other.ys, strict=True))
    gaps = [abs(y - places[x]) for x, y in zip(one.xs, one.ys, strict=True) if x in places]
    return sum(gap <= NEAR for gap in gaps) / len(gaps) if gaps else 0.0


def covered(lines: Sequence[Line]) -> list[int]:
    """By line: how many of those that are drawn later lie on it, in one half of its points or more.

    Dotted lines are left out: those without the cue lie on one another near 0, as they should.
    """
    drawn = [i for i, line in enumerate(lines) if line.symbol >= 0 and not line.apart and not line.dotted]
    return [
        sum(_share(line, lines[later]) >= 0.5 for later in drawn if later > i) if i in drawn else 0
        for i, line in enumerate(lines)
    ]


def groups(lines: Sequence[Line]) -> list[list[Line]]:
    """The lines that lie on one another all the way, in groups of two or more: each on some other of its group."""
    found: list[list[Line]] = []
    for line in lines:
        if line.symbol < 0 or line.apart:
            continue
        near = [group for group in found if any(_share(line, other) == 1 for other in group)]
        found = [group for group in found if group not in near]
        found.append([*(other for group in near for other in group), line])
    return [group for group in found if len(group) > 1]


def in_words(panel: Panel) -> list[str]:
    """One sentence for each group: `word, with the cue; whole, with the cue (from 99.6 % to 99.8 %)`."""
    said = []
    for group in groups(panel.lines):
        ys = [y for line in group for y in line.ys]
        span = f"from {100 * min(ys):.1f}\u00a0% to {100 * max(ys):.1f}\u00a0%"
        said.append(f"{'; '.join(line.name for line in group)} ({span})")
    return said
