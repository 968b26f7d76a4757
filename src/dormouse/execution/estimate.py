"""What a study will take: time and disk of its stages, from what stages of their kind took on this machine."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from dormouse.entry import MANIFEST, Manifest
from dormouse.errors import UserError
from dormouse.execution.about import About
from dormouse.execution.stage import Stage
from dormouse.json_files import read_json
from dormouse.records import weights_by_name
from dormouse.store import Store

LIKE = 2.0
"""How far off a guess from a single earlier stage, or from stages of another model, may well be: a factor."""
KNEES = (1e6, 5e6, 2e7)
"""Weights below which a model hardly gets any quicker: from micro-60k to smollm2-135m, 2,200 times as large, stages
take 6 to 63 times as long."""
QUICK, SLOW = 0.1, 0.9
"""The share of earlier stages of which it is taken that all are as quick, or as slow."""


class Span(NamedTuple):
    """A number that is not known: what it is at least and at most, likely, and its expectation."""

    low: float
    middle: float
    high: float

    def __add__(self, other: object) -> Span:  # type: ignore[override]  # tuples would be joined
        if not isinstance(other, Span):
            return NotImplemented
        return Span(self.low + other.low, self.middle + other.middle, self.high + other.high)

    def times(self, factor: float) -> Span:
        """That of so many of them, one after another."""
        return Span(self.low * factor, self.middle * factor, self.high * factor)

    def of_model(self, weights: float, known: float) -> Span:
        """Seconds on a model of so many weights, if these are of one of `known`: a step costs what the weights cost and
        those of a model of KNEES; the smallest and the largest ratio are the ends."""
        low, middle, high = sorted((weights + knee) / (known + knee) for knee in KNEES)
        return Span(self.low * low, self.middle * middle, self.high * high)

    def less(self, amount: float) -> Span:
        """What is left of it after an amount of its unit; never below zero."""
        return Span(*(max(0.0, value - amount) for value in self))

    def said(self, how: Callable[[float], str]) -> str:
        """`12 min (8 min to 20 min)`."""
        return f"{how(self.middle)} ({how(self.low)} to {how(self.high)})"


NO_TIME = Span(0.0, 0.0, 0.0)


def duration(seconds: float) -> str:
    """`42 s`, `12 min`, `3.4 h`, `2.1 days`."""
    for size, unit, until in ((1, "s", 120), (60, "min", 7200), (3600, "h", 172_800)):
        if seconds < until:
            value = seconds / size
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{seconds / 86_400:.1f} days"


def counted(n: int, noun: str) -> str:
    """`1 stage`, `2,000 stages`."""
    return f"{n:,} {noun}{'s' * (n != 1)}"


def megabytes(size: float) -> str:
    """`3 MB`, `1.2 GB`."""
    return f"{size / 1e6:.{0 if size >= 1e7 else 1}f} MB" if size < 1e9 else f"{size / 1e9:.1f} GB"


@dataclass(frozen=True)
class _Took:
    """An earlier stage: its time for each unit of work, and its size for each state of a model in it."""

    rate: float
    size: float


@dataclass
class History:
    """What earlier stages took, by kind, by what they did, and by model."""

    abouts: dict[str, Mapping[str, object]] = field(default_factory=dict)
    took: dict[tuple[str, str, str], list[_Took]] = field(default_factory=dict)
    sizes: dict[str, float] = field(default_factory=dict)
    """How many weights models have, by name, as far as that is known; of others the name may say it."""

    def guess(self, stage: Stage) -> tuple[Span, Span] | None:
        """(seconds, bytes) of a stage; None where no stage of its kind was ever done here."""
        self.abouts.setdefault(stage.key, stage.about)
        about, kind = About.of(stage.about), stage.kind
        does, model = about.does(kind), self.model(stage.about)
        like = [key for key in self.took if key[:2] == (kind, does)] or [key for key in self.took if key[0] == kind]
        if not like:
            return None
        nearest = min(like, key=lambda key: self._apart(key[2], model))
        found, work, rough = self.took[nearest], about.work(kind), nearest != (kind, does, model)
        seconds, size = (_span(of, rough) for of in ([one.rate * work for one in found], [one.size for one in found]))
        seconds = seconds._replace(low=seconds.low * (about.until.least if about.until else 1.0))
        mine, known = self.weights(model), self.weights(nearest[2])
        if mine and known and mine != known and kind in ("base", "organism", "treatment"):
            size = _grown(size, mine, known, about.trained.method == "lora")
        size = size.times(about.states()[0])
        return (seconds.of_model(mine, known) if mine and known else seconds), size

    def add(
        self, kind: str, key: str, about: Mapping[str, object], seconds: float, size: float, done: float = 1.0
    ) -> None:
        """Put down a stage that took so many seconds, and so many bytes on the disk, for that share of its steps."""
        made = About.of(about)
        took = _Took(seconds / (made.work(kind) * done), size / made.states()[0])
        self.took.setdefault((kind, made.does(kind), self.model(about)), []).append(took)

    def model(self, about: Mapping[str, object], depth: int = 0) -> str:
        """The base model of a stage, by name. A treatment names its suspect, which leads there."""
        made = About.of(about)
        if made.base or made.behind not in self.abouts or depth >= 50:
            return made.base
        return self.model(self.abouts[made.behind], depth + 1)

    def weights(self, model: str) -> float | None:
        """How many weights a model has; None where nobody knows."""
        return self.sizes[model] if model in self.sizes else weights_by_name(model)

    def _apart(self, one: str, other: str) -> float:
        """How unlike two models are in size; those of which nobody knows it are far from all."""
        if one == other:
            return 0.0
        sizes = self.weights(one), self.weights(other)
        return 1.0 + (abs(math.log(sizes[0] / sizes[1])) if sizes[0] and sizes[1] else 99.0)


def read_history(store: Store) -> History:
    """What the manifests in a store say. Damaged ones count as not there."""
    history, found = History(), []
    for path in sorted((store.root / "entries").glob(f"*/*/{MANIFEST}")):
        try:
            one = Manifest.read(path.parent)
        except (OSError, UserError):
            continue
        if one.seconds >= 0:
            history.abouts[one.key] = one.about
            found.append(one)
    for one in found:  # only now is it known what each of them was made from
        size = float(sum(file.size for file in one.files.values()))
        history.add(one.kind, one.key, one.about, one.seconds, size, _done(store.root / "entries", one))
    return history


def _span(values: Sequence[float], rough: bool) -> Span:
    ordered = sorted(values)
    if len(ordered) == 1:
        low = middle = high = ordered[0]
        rough = True
    else:
        cuts = statistics.quantiles(ordered, n=10, method="inclusive")
        low, middle, high = cuts[0], statistics.fmean(ordered), cuts[-1]
    low, high = min(low, middle), max(high, middle)
    return Span(low / LIKE, middle, high * LIKE) if rough else Span(low, middle, high)


def _done(entries: Path, one: Manifest) -> float:
    """The share of its most steps that a stage took: less than 1 where it ended at a strength."""
    until = About.of(one.about).until
    if not until:
        return 1.0
    try:
        trained = read_json(entries / one.kind / one.key / "model" / "trained.json", dict[str, int])
        return max(1, trained["steps"]) / (until.by or 1.0)
    except (OSError, UserError, LookupError):
        return 1.0


def _grown(size: Span, weights: float, known: float, adapter: bool) -> Span:
    """The disk of a state of a model of so many weights, if this is that of one of `known`: float32 for each of them,
    and what lies beside them; an adapter grows with their root."""
    if adapter:
        return size.times(math.sqrt(weights / known))
    return size.less(4 * known) + Span(4 * weights, 4 * weights, 4 * weights)


@dataclass
class KindForecast:
    """The stages of one kind: how many, how many are in the store, and what the others will take."""

    stages: int = 0
    kept: int = 0
    seconds: Span = NO_TIME
    size: Span = NO_TIME
    unknown: int = 0
    """Stages of which nothing is known: they are not in the sums."""

    @property
    def todo(self) -> int:
        """How many are not in the store."""
        return self.stages - self.kept

    @property
    def each(self) -> list[float] | None:
        """Seconds of one stage, for the journal."""
        known = self.todo - self.unknown
        return [round(value / known, 3) for value in self.seconds] if known > 0 else None


def forecast(every: Iterable[Stage], todo: Iterable[Stage], history: History) -> dict[str, KindForecast]:
    """Kind -> what its stages will take, in the order of the plan."""
    rows: dict[str, KindForecast] = {}
    ahead = {stage.key: stage for stage in todo}
    for stage in every:
        row = rows.setdefault(stage.kind, KindForecast())
        row.stages += 1
        history.abouts.setdefault(stage.key, stage.about)
        row.kept += stage.key not in ahead
    for stage in ahead.values():
        row = rows.setdefault(stage.kind, KindForecast())
        if guess := history.guess(stage):
            row.seconds, row.size = row.seconds + guess[0], row.size + guess[1]
        else:
            row.unknown += 1
    return rows


def said(rows: Mapping[str, KindForecast], workers: int) -> list[str]:
    """What `dormouse plan` prints."""
    lines = [f"{'stages':12} {'all':>6} {'stored':>7} {'to do':>6}   time, one after another         disk"]
    total = KindForecast()
    for kind, row in rows.items():
        known = row.todo > row.unknown
        time = row.seconds.said(duration) if known else "" if not row.todo else "nothing known"
        disk = row.size.said(megabytes) if known else ""
        more = f"  [{row.unknown} of which nothing is known]" if row.unknown and known else ""
        lines.append(f"{kind:12} {row.stages:6} {row.kept:7} {row.todo:6}   {time:30}  {disk}{more}".rstrip())
        total = KindForecast(
            total.stages + row.stages,
            total.kept + row.kept,
            total.seconds + row.seconds,
            total.size + row.size,
            total.unknown + row.unknown,
        )
    lines.append(f"{'together':12} {total.stages:6} {total.kept:7} {total.todo:6}".rstrip())
    if total.todo > total.unknown:
        wall = total.seconds.times(1 / workers)
        lines[-1] += f"   {total.seconds.said(duration):30}  {total.size.said(megabytes)}"
        lines.append(f"on {workers} workers at a time about {wall.said(duration)}" if workers > 1 else "")
        lines.append("Ranges: if all were as quick, or as slow, as the quick and the slow tenth of such stages here.")
    if total.unknown:
        kinds = "is of a kind that was" if total.unknown == 1 else "are of kinds that were"
        lines.append(f"{counted(total.unknown, 'stage')} {kinds} never done here: not included in the total.")
    return [line for line in lines if line]
