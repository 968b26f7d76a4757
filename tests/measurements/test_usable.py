"""What a measurement may leave: values with items of their own, and shares that are shares."""

import pytest

from dormouse.errors import UserError
from dormouse.measurements.measurement import Sample
from dormouse.measurements.usable import usable


def test_what_holds_nothing_is_left_out() -> None:
    kept = Sample("shift", "test", ("a", "b"), (-3.0, 40.0), aggregation="number")
    assert usable([Sample("shift", "test", (), ()), kept]) == [kept]


def test_values_of_one_item_are_refused() -> None:
    """They counted twice in a seed and once in the pool."""
    with pytest.raises(UserError, match="several values for one item: 'a'"):
        usable([Sample("dup", "test", ("a", "a", "b"), (0.0, 1.0, 1.0))])


@pytest.mark.parametrize("aggregation", ["mean", "proportion"])
@pytest.mark.parametrize("value", [-10.8, 40.0, 1.01])
def test_a_mean_that_is_no_share_is_refused(aggregation: str, value: float) -> None:
    """Its interval was cut off at 0 and 1: 40 [30, 1]."""
    with pytest.raises(UserError, match="is for numbers between 0 and 1") as found:
        usable([Sample("shift", "test", ("a", "b"), (value, value), aggregation=aggregation)])  # type: ignore[arg-type]
    assert 'aggregation="number"' in found.value.remedy


def test_placements_may_lie_outside_where_their_mean_does_not() -> None:
    assert usable([Sample("auroc", "test", ("a", "b"), (1.2, 0.7))])
