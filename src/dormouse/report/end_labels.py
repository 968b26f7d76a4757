"""Names beside the ends of the lines of a figure, so that nobody has to look them up in the legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dormouse.report.figure_style import Line, Panel
from dormouse.report.plain_text import cut

GAP = 0.06
"""The height of a label on an axis from 0 to 1."""
FAR = 0.15
"""Further from the end of its line than this, nobody sees what a label belongs to."""
LETTERS = 16


@dataclass(frozen=True)
class EndLabel:
    """A label beside the end of a line: (`x`, `y`) is its left edge, in the middle of its height."""

    text: str
    colour: str
    x: float
    y: float


def end_labels(panel: Panel, letters: int = LETTERS) -> list[EndLabel]:
    """The labels of the lines that reach the right edge, pushed apart where lines end close together.

    None at all where there is one line, where there is no room for all, or where two would read the same: the legend
    says it then. Dotted lines and points that stand apart have none.
    """
    right = max((x for line in panel.lines for x in line.xs), default=0.0)
    ends = sorted((line for line in panel.lines if _ends(line, right)), key=lambda line: line.ys[-1])
    texts = [cut(line.label, letters) for line in ends]
    if len(ends) < 2 or len(set(texts)) < len(texts):
        return []
    places = apart([line.ys[-1] for line in ends])
    if any(abs(y - line.ys[-1]) > FAR for y, line in zip(places, ends, strict=True)):
        return []
    return [EndLabel(text, line.colour, right, y) for text, line, y in zip(texts, ends, places, strict=True)]


def _ends(line: Line, right: float) -> bool:
    return bool(line.label) and not line.dotted and not line.apart and line.xs[-1] == right


def apart(places: Sequence[float]) -> list[float]:
    """Rising places, at least a label's height from one another and within the axis, moved as little as can be.

    Neighbours that are too close become a block around their mean; blocks that then touch become one (the
    pool-adjacent-violators algorithm, least squares).
    """
    blocks: list[list[float]] = []
    for i, y in enumerate(places):
        blocks.append([y - i * GAP])
        while len(blocks) > 1 and _mean(blocks[-2]) > _mean(blocks[-1]):
            last = blocks.pop()
            blocks[-1] += last
    top = 1 - (len(places) - 1) * GAP
    free = [min(max(_mean(block), 0.0), max(top, 0.0)) for block in blocks for _ in block]
    return [y + i * GAP for i, y in enumerate(free)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
