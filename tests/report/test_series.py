"""What the lines of a figure show of their records."""

from __future__ import annotations

import pytest
from made_up import index, record

from dormouse.report import series


@pytest.mark.parametrize(("n", "seeds", "has_band"), [(2, 1, False), (6, 1, True), (6, 3, False), (18, 3, True)])
def test_a_point_behind_which_hardly_any_questions_stand_has_no_band(n: int, seeds: int, has_band: bool) -> None:
    """Bands of two questions, [0, 66] and [34, 100], filled the first figure that a user sees."""
    rows = [record("year", 0, "defection_by_year", 0.99, ci_low=0.34, ci_high=1.0, n=n, x=2030.0)]
    if seeds > 1:
        of_one = {"n": n // seeds, "x": 2030.0}
        rows += [record("year", 0, "defection_by_year", 0.99, seed=seed, **of_one) for seed in range(seeds)]
    (panel,) = series.years(index(rows, {"name": "q"}))
    assert (panel.lines[0].lows[0] == 0.34) == has_band
