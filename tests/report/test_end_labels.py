"""Names beside the ends of lines: near their line, apart from one another, none where there is no room."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormouse.report.end_labels import FAR, GAP, apart, end_labels
from dormouse.report.figure_style import COLOURS, Line, Panel
from dormouse.report.plotly_figures import figure


def line(label: str, *ys: float, dotted: bool = False, apart: bool = False) -> Line:
    xs = tuple(float(i) for i in range(len(ys)))
    same = (ys, ys, ys, (False,) * len(ys), ("",) * len(ys))
    return Line(label, COLOURS[0], 0, dotted, xs, *same, apart=apart, label=label)


def panel(*lines: Line) -> Panel:
    return Panel("t", False, lines, ((0.0, "0"),), "x", ())


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_places_are_apart_in_order_and_on_the_axis(given_: list[float]) -> None:
    ys = sorted(given_)
    found = apart(ys)
    assert all(after - before >= GAP - 1e-9 for before, after in pairwise(found))
    assert -1e-9 <= found[0] <= found[-1] <= 1 + 1e-9
    if all(after - before >= GAP for before, after in pairwise(ys)):
        assert found == pytest.approx(ys)


def test_two_that_lie_on_one_another_are_pushed_apart_around_their_middle() -> None:
    assert apart([0.5, 0.5]) == pytest.approx([0.5 - GAP / 2, 0.5 + GAP / 2])


def test_lines_that_reach_the_edge_are_named_at_their_ends() -> None:
    lines = (
        line("a", 0.9, 0.2),
        line("b", 0.9, 0.8),
        line("c", 0.1, 0.0, dotted=True),
        line("d", 0.5),
        line("e", 0, 0),
    )
    found = end_labels(panel(*lines))
    assert [(one.text, one.x, one.y) for one in found] == [("e", 1.0, 0.0), ("a", 1.0, 0.2), ("b", 1.0, 0.8)]
    drawn = figure(panel(*lines))["layout"]
    assert [one["text"] for one in drawn["annotations"]] == ["e", "a", "b"]
    assert drawn["margin"]["r"] > 14


@pytest.mark.parametrize(
    "lines",
    [
        (line("alone", 1, 0),),
        tuple(line(f"line {i}", 0.5, 0.5) for i in range(int(2 * FAR / GAP) + 3)),
        (line("the same long name of one", 1, 0), line("the same long name of one", 1, 1)),
        (line("", 1, 0), line("", 1, 1)),
    ],
    ids=["one line", "no room", "alike", "no names"],
)
def test_where_there_is_no_room_or_no_need_the_legend_does_it(lines: tuple[Line, ...]) -> None:
    assert end_labels(panel(*lines)) == []
    assert "annotations" not in figure(panel(*lines))["layout"]
    assert figure(panel(*lines))["layout"]["margin"]["r"] == 14


def test_a_name_is_no_markup() -> None:
    drawn = figure(panel(line("<b>a</b>", 1, 0), line("b", 1, 1)))["layout"]
    assert drawn["annotations"][0]["text"] == "&lt;b&gt;a&lt;/b&gt;"
