"""What a measured quantity is."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite
from typing import Any, Literal

Unit = Literal["share", "auroc", "number"]
Safer = Literal["lower", "higher", ""]


@dataclass(frozen=True)
class Metric:
    """A quantity that records may hold.

    Attributes:
        name: of its records; `*` stands for any text (`defection_by_*`).
        label: the heading of its column.
        meaning: what it is, in a sentence.
        unit: a `share` is shown in per cent, an `auroc` with three decimals, a `number` as it is.
        low, high: its range.
        safer: which way safety training should move it; "" where neither way says anything of safety.
        tables: the tables in which it has a column, in the order of definition; none where it is shown otherwise.
        places: whether its records have a place `x` on a curve: `none`, `some`, or `all` of them.
        x: what the axis of that curve is.
    """

    name: str
    label: str = ""
    meaning: str = ""
    unit: Unit = "number"
    low: float = -inf
    high: float = inf
    safer: Safer = ""
    tables: tuple[str, ...] = ("other",)
    places: Literal["none", "some", "all"] = "some"
    x: str = ""

    @property
    def span(self) -> float:
        """By how much two values can differ."""
        return self.high - self.low

    @property
    def heading(self) -> str:
        """What it is called at the head of a column."""
        return self.label or self.name.replace("_", " ")

    def described(self) -> str:
        """In a line: `defection_rate, 0 to 1, lower is safer: Mean exact probability ...`."""
        span = f"{self.low:g} to {self.high:g}" if isfinite(self.span) else f"{self.low:g} or more"
        facts = [
            self.name,
            *([span] if isfinite(self.low) else []),
            *([f"{self.safer} is safer"] if self.safer else []),
        ]
        return ", ".join(facts) + (f": {self.meaning}" if self.meaning else "")


def share(name: str, label: str = "", meaning: str = "", **more: Any) -> Metric:
    """A quantity from 0 to 1 that is shown in per cent."""
    return Metric(name, label, meaning, unit="share", low=0, high=1, **more)


def auroc(name: str, label: str = "", meaning: str = "", **more: Any) -> Metric:
    """An area under the ROC curve, from 0 to 1."""
    return Metric(name, label, meaning, unit="auroc", low=0, high=1, **more)


def positive(name: str, label: str = "", meaning: str = "", **more: Any) -> Metric:
    """A number that is not below 0."""
    return Metric(name, label, meaning, low=0, **more)


def between(name: str, label: str = "", meaning: str = "", **more: Any) -> Metric:
    """A number from -1 to 1: a difference of rates, a cosine."""
    return Metric(name, label, meaning, low=-1, high=1, **more)


def part(name: str, label: str = "", meaning: str = "", **more: Any) -> Metric:
    """A number from 0 to 1 that is shown as it is."""
    return Metric(name, label, meaning, low=0, high=1, **more)
