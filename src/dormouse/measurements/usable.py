"""What a measurement may leave: its samples, held to what it says of itself and to what the statistics rest on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from dormouse.errors import UserError
from dormouse.json_files import shown
from dormouse.measurements.measurement import Measured, Measurement, Sample
from dormouse.measurements.stats import FARTHEST_LOG
from dormouse.metrics import Metric
from dormouse.registry import is_outside, nearest

LARGEST = 1e100
"""Numbers further from 0 than this are none: the sum of their squares is beyond what a float holds."""
SLACK = 1e-6
"""By how much rounding may carry a number out of its range."""


def usable(measurement: Measurement, measured: Measured) -> list[Sample]:
    """Those samples that hold anything, their values as numbers of Python.

    Raises:
        UserError: there is no `Measured`; a sample is of something that the measurement does not declare, or stands
            there twice; or its values cannot be.
    """
    name = f"the measurement '{measurement.kind}'"
    if not isinstance(measured, Measured):
        raise UserError(f"{name} returned a {type(measured).__name__}", "have `measure` return a `Measured`")
    found = [one for sample in measured.samples if (one := _with_numbers(name, sample)).items]
    _check_names(name, measurement.metric_names(), found)
    for sample in found:
        if is_outside(type(measurement)):
            _check_values(name, sample)
        _check(sample)
        for metric in (one for one in measurement.metrics if fnmatchcase(sample.measurement, one.name)):
            _check_range(sample, metric)
    return found


def _with_numbers(name: str, sample: Sample) -> Sample:
    """A sample whose items and values may come from anywhere, numbers of numpy or torch too, as texts and numbers.

    Raises:
        UserError: they are none, or not as many.
    """
    of = f"{name} left {sample.measurement} ({sample.split})"
    try:
        items, given = tuple(sample.items), tuple(sample.values)
    except TypeError as error:
        raise UserError(
            f"{of} without a list of items or of values", "give both as lists, one value for each"
        ) from error
    values = []
    for value in given:
        try:
            if isinstance(value, str | bytes):
                raise TypeError
            values.append(float(value))
        except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:  # the last of a tensor with several
            raise UserError(f"{of} with the value {shown(value)}", "give each item a number") from error
    if odd := [item for item in items if not isinstance(item, str)]:
        raise UserError(f"{of} with the item {shown(odd[0])}", "give items as texts: that of a question, say")
    if len(values) != len(items):
        raise UserError(f"{of} with {len(values)} values of {len(items)} items", "give each item one value")
    return replace(sample, items=items, values=tuple(values))


def _check_values(name: str, sample: Sample) -> None:
    """Raises a UserError where somebody else's measurement gives a value that is no number, too large, or a part of a
    yes. Of our own the first says that a model or its training has diverged; of theirs it may."""
    shares = sample.values if sample.aggregation == "proportion" else ()
    if odd := [value for value in shares if math.isfinite(value) and value not in (0, 1)]:
        what = f"{name} left {sample.measurement} ({sample.split}), a proportion, with the value {odd[0]:g}"
        raise UserError(what, 'give zeros and ones; or aggregation="mean" for shares, "number" for others')
    most = FARTHEST_LOG if sample.aggregation == "exp_mean" else LARGEST
    if odd := [value for value in sample.values if not (value <= most and abs(value) <= LARGEST)]:
        what = f"{name} left {sample.measurement} ({sample.split}) with the value {odd[0]:g}"
        if math.isfinite(odd[0]):
            raise UserError(what, f"mend `measure`: values for aggregation '{sample.aggregation}' are at most {most:g}")
        raise UserError(
            what,
            "its model or its training has diverged (use a lower learning rate), or `measure` has divided by 0: give a "
            "finite number, or leave that item out",
        )


def _check_names(name: str, declared: Sequence[str], found: Sequence[Sample]) -> None:
    """Raises a UserError where a sample is of nothing that was declared, where anything was, or stands there twice."""
    for sample in found:
        if declared and not any(fnmatchcase(sample.measurement, one) for one in declared):
            what = f"{name} left '{sample.measurement}', which is none of its metrics"
            raise UserError(what, f"declare it; {nearest(sample.measurement, list(declared))}")
    places = Counter((sample.measurement, sample.split, sample.x) for sample in found)
    if twice := [place for place, n in places.items() if n > 1]:
        what = f"{name} left several samples of {twice[0][0]} ({twice[0][1]})"
        raise UserError(what, "put their values into one, or give each a split, or a place `x`, of its own")


def _check(sample: Sample) -> None:
    """
    Raises:
        UserError: two values of one sample are about the same item, which would count twice in a seed and once where
            seeds are pooled; or a mean is no share, though an interval of shares would be put around it.
    """
    if len(set(sample.items)) < len(sample.items):
        twice = next(item for item, n in Counter(sample.items).items() if n > 1)
        raise UserError(
            f"{sample.measurement} ({sample.split}) has several values for one item: {twice[:60]!r}",
            "give each value an item of its own, or one value for each item: the mean of its values, say",
        )
    mean = _mean(sample)
    if sample.aggregation in ("mean", "proportion") and not -SLACK <= mean <= 1 + SLACK:
        raise UserError(
            f"{sample.measurement} ({sample.split}) has the mean {mean:.4g}, and aggregation "
            f"'{sample.aggregation}' is for numbers between 0 and 1",
            'give its samples aggregation="number", or "exp_mean" where the values are logarithms',
        )


def _check_range(sample: Sample, metric: Metric) -> None:
    """Raises a UserError where a mean lies outside of the range of its metric."""
    value = math.exp(min(_mean(sample), FARTHEST_LOG)) if sample.aggregation == "exp_mean" else _mean(sample)
    if not math.isnan(value) and not metric.low - SLACK <= value <= metric.high + SLACK:
        raise UserError(
            f"{sample.measurement} ({sample.split}) has the mean {value:.4g}, and its metric lies between "
            f"{metric.low:g} and {metric.high:g}",
            "mend the values, or the range of that metric",
        )


def _mean(sample: Sample) -> float:
    return math.fsum(sample.values) / len(sample.values)
