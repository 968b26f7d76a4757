"""What a measurement may leave: what it declares, values with items of their own, and shares that are shares."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from dormouse.errors import UserError
from dormouse.json_files import json_text
from dormouse.measurements.measurement import Measured, Measurement, Sample, Subject
from dormouse.measurements.usable import usable
from dormouse.metrics import Metric


class Anything(Measurement):
    """Declares nothing."""

    kind: ClassVar[str] = "anything"

    def measure(self, subject: Subject) -> Measured:
        raise NotImplementedError


class Declared(Anything):
    """Declares one."""

    kind: ClassVar[str] = "declared"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("thing"), Metric("by_*", low=0.0))


def kept_of(*samples: Sample, of: Measurement | None = None) -> list[Sample]:
    return usable(of or Anything(), Measured(samples))


@pytest.mark.parametrize("returned", [None, (), [Sample("a", "test", ("a",), (1.0,))]])
def test_what_is_no_measured_is_refused(returned: Any) -> None:
    with pytest.raises(UserError, match="the measurement 'anything' returned a"):
        usable(Anything(), returned)


def test_what_is_not_declared_or_stands_there_twice_is_refused() -> None:
    """It was dropped without a word."""
    one, family = (Sample(name, "test", ("a",), (0.5,)) for name in ("thing", "by_year"))
    assert kept_of(one, family, of=Declared()) == [one, family]
    with pytest.raises(UserError, match="'declared' left 'defection_rate', which is none of its metrics"):
        kept_of(one, Sample("defection_rate", "test", ("a",), (0.5,)), of=Declared())
    with pytest.raises(UserError, match=r"several samples of thing \(test\)"):
        kept_of(one, Sample("thing", "test", ("b",), (0.1,)))


def test_a_value_out_of_the_range_of_its_metric_is_refused() -> None:
    with pytest.raises(UserError, match="the mean -1, and its metric lies between 0 and inf"):
        kept_of(Sample("by_year", "test", ("a",), (-1.0,), aggregation="number"), of=Declared())
    assert kept_of(Sample("by_year", "test", ("a",), (-1.0,), aggregation="exp_mean"), of=Declared())


@pytest.mark.parametrize(
    ("aggregation", "value", "remedy"),
    [
        ("number", float("nan"), "training has diverged .* or `measure` has divided by 0"),
        ("number", float("-inf"), "divided by 0"),
        ("number", 1e308, "at most 1e\\+100"),
        ("number", -1e308, "at most 1e\\+100"),
        ("exp_mean", 850.0, "at most 700"),
        ("exp_mean", float("-inf"), "training has diverged"),
        ("proportion", 0.5, "give zeros and ones"),
        ("proportion", -1.0, "give zeros and ones"),
        ("proportion", 1.5, "give zeros and ones"),
        ("proportion", float("nan"), "diverged"),
    ],
)
def test_a_value_that_cannot_be_counted_with_is_told_of_who_gave_it(
    aggregation: Any, value: float, remedy: str
) -> None:
    """It was a bug to report, a model that has diverged, or 1e+304 without a word."""
    sample = Sample("shift", "test", tuple("abc"), (value, value, 1.0), aggregation=aggregation)
    with pytest.raises(UserError, match=rf"'anything' left shift[\s\S]*{remedy}"):
        kept_of(sample)
    assert kept_of(replace(sample, values=(0.0, 1.0, 1.0)))


def test_what_holds_nothing_is_left_out() -> None:
    kept = Sample("shift", "test", ("a", "b"), (-3.0, 40.0), aggregation="number")
    assert kept_of(Sample("shift", "test", (), ()), kept) == [kept]


def test_items_and_values_may_come_from_anywhere() -> None:
    """A generator ended in a bare TypeError."""
    found = kept_of(Sample("shift", "test", (name for name in "ab"), (x for x in (0.0, 1.0))))  # type: ignore[arg-type]
    assert found == [Sample("shift", "test", ("a", "b"), (0.0, 1.0))]
    with pytest.raises(UserError, match="without a list of items or of values"):
        kept_of(Sample("shift", "test", ("a",), 0.5))  # type: ignore[arg-type]


def test_values_of_one_item_are_refused() -> None:
    """They counted twice in a seed and once in the pool."""
    with pytest.raises(UserError, match="several values for one item: 'a'"):
        kept_of(Sample("dup", "test", ("a", "a", "b"), (0.0, 1.0, 1.0)))


@pytest.mark.parametrize("value", [-10.8, 40.0, 1.01])
def test_a_mean_that_is_no_share_is_refused(value: float) -> None:
    """Its interval was cut off at 0 and 1: 40 [30, 1]."""
    with pytest.raises(UserError, match="is for numbers between 0 and 1") as found:
        kept_of(Sample("shift", "test", ("a", "b"), (value, value), aggregation="mean"))
    assert 'aggregation="number"' in found.value.remedy


def test_placements_may_lie_outside_where_their_mean_does_not() -> None:
    assert kept_of(Sample("auroc", "test", ("a", "b"), (1.2, 0.7)))


def test_numbers_of_others_are_numbers_and_what_is_none_is_told_by_name() -> None:
    """float32, and text, ended in "please report it as a bug"."""
    values = (np.float32(0.25), torch.tensor(1.0), True, np.int64(0))
    (found,) = kept_of(Sample("thing", "test", tuple("abcd"), values))  # type: ignore[arg-type]
    assert [(type(value), value) for value in found.values] == [(float, 0.25), (float, 1.0), (float, 1.0), (float, 0.0)]
    for value in ("0.5", None, torch.ones(2)):
        with pytest.raises(UserError, match=r"'anything' left thing \(test\) with the value"):
            kept_of(Sample("thing", "test", ("a",), (value,)))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="with the item 3"):
        kept_of(Sample("thing", "test", (3,), (0.5,)))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="with 1 values of 2 items"):
        kept_of(Sample("thing", "test", ("a", "b"), (0.5,)))
    assert json_text({"x": np.float32(0.5), "n": np.int64(3)}) == '{"x": 0.5, "n": 3}'
