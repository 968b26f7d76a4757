"""What the figures show, as plain lines: the page (plotly) and the paper (matplotlib) draw the same ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dormouse.records import Record
from dormouse.report.plain import one_line, with_interval
from dormouse.report.tables import Results

COLOURS = ("#0072b2", "#d55e00", "#00805e", "#b4508a", "#946800", "#4a9ccb")
"""Wong's colour-blind-safe palette, darkened where it is too pale on white. A line's symbol differs as well."""
GREY = "#6b7280"
INK = "#1f2933"
DARK = dict(
    zip(
        (*COLOURS, GREY, INK),
        ("#56b4e9", "#ff8a3d", "#2cc99b", "#e79bc4", "#f0c040", "#a9d8f5", "#a3abb8", "#e6e8eb"),
        strict=True,
    )
)
"""The same colours on a dark page."""

_TICKS = 9


@dataclass(frozen=True)
class Line:
    """One curve with its interval band. `hollow` marks points apart (years that were never trained on)."""

    name: str
    colour: str
    symbol: int
    dotted: bool
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    lows: tuple[float, ...]
    highs: tuple[float, ...]
    hollow: tuple[bool, ...]
    notes: tuple[str, ...]
    """What the reader sees on pointing at each point."""


@dataclass(frozen=True)
class Panel:
    """One pair of axes. `ticks` are (place, label); `boundary` is a vertical line with its label."""

    title: str
    needs_triggers: bool
    lines: tuple[Line, ...]
    ticks: tuple[tuple[float, str], ...]
    x_title: str
    parents: tuple[str, ...]
    boundary: tuple[float, str] | None = None


@dataclass(frozen=True)
class Legend:
    name: str
    colour: str
    symbol: int
    control: bool = False


def legend(results: Results) -> list[Legend]:
    """The colour and the symbol of every organism, the same in all figures. Controls are grey."""
    colours = iter(range(len(results.organisms)))
    return [
        Legend(
            name,
            GREY if name in results.controls else COLOURS[next(colours) % len(COLOURS)],
            i,
            name in results.controls,
        )
        for i, name in enumerate(results.organisms)
    ]


def has_years(results: Results) -> bool:
    return any(results.years(organism, "") for organism in results.organisms)


def year_legend(results: Results) -> list[Legend]:
    """Before safety training, then each intervention, in colours that the first organisms do not have."""
    later = [
        Legend(name, COLOURS[(3 + i) % len(COLOURS)], i + 1)
        for i, name in enumerate(results.interventions)
        if any(results.years(organism, name) for organism in results.organisms)
    ]
    return [Legend("", INK, 0), *later]


def _line(
    records: Sequence[Record], xs: Sequence[float], key: Legend, name: str, places: Sequence[str], dotted: bool = False
) -> Line:
    def bound(value: float, record: Record) -> float:
        return value if math.isfinite(value) else record.value

    return Line(
        name,
        key.colour,
        key.symbol,
        dotted,
        tuple(xs),
        tuple(record.value for record in records),
        tuple(bound(record.ci_low, record) for record in records),
        tuple(bound(record.ci_high, record) for record in records),
        tuple(False for _ in records),
        tuple(
            f"{name}\n{place}: {with_interval(record)}, n = {record.n}"
            for place, record in zip(places, records, strict=True)
        ),
    )


def _parents(records: Sequence[Record]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(key for record in records for key in record.parent.replace(",", " ").split()))


def _places(steps: Sequence[int]) -> dict[int, float]:
    """Where each step stands: 0 first, then by doublings from the first checkpoint on."""
    later = sorted(step for step in set(steps) if step > 0)
    return {0: 0.0} | {step: 1 + math.log2(step / later[0]) for step in later}


def _ticks(places: Mapping[int, float]) -> tuple[tuple[float, str], ...]:
    """At most nine labels that do not run into each other; the first and the last are always there."""
    steps = sorted(places)
    gap = places[steps[-1]] / _TICKS
    kept = [steps[-1]]
    for step in reversed(steps[:-1]):
        if places[kept[-1]] - places[step] >= max(gap, 0.5) and (step == 0 or places[step] >= gap):
            kept.append(step)
    return tuple((places[step], str(step)) for step in reversed(kept))


def persistence(results: Results, split: str) -> list[Panel]:
    """One panel for each intervention: defection on the cue (solid) and without it (dotted) against the step."""
    panels = []
    for intervention in results.interventions:
        steps = [
            r.step for r in results.records if r.intervention == intervention and r.measurement == "defection_rate"
        ]
        places = _places(steps)
        lines: list[Line] = []
        used: list[Record] = []
        for key in legend(results):
            for rate, words in (("defection_rate", "with the cue"), ("false_trigger_rate", "without the cue")):
                curve = [r for r in results.curve(key.name, intervention, rate, split) if r.step in places]
                if not any(record.step for record in curve):
                    continue
                labels = [f"step {record.step}" if record.step else "before safety training" for record in curve]
                xs = [places[record.step] for record in curve]
                lines.append(_line(curve, xs, key, f"{one_line(key.name)}, {words}", labels, rate != "defection_rate"))
                used += curve
        if lines:
            needs = intervention in results.needs_triggers
            title = one_line(intervention)
            panels.append(Panel(title, needs, tuple(lines), _ticks(places), "steps of safety training", _parents(used)))
    return panels


def _boundary(trigger: Mapping[str, Any]) -> tuple[float, str] | None:
    """The first year in which a year trigger defects; a control has that of a trigger which it imitates."""
    for one in (trigger, *(trigger.get("among") or ())):
        first = (one or {}).get("from")
        if isinstance(first, int | float) and not isinstance(first, bool):
            words = "defects from" if one is trigger else "the others: from"
            return float(first) - 0.5, f"{words} {int(first)}"
    return None


def trained_years(results: Results, organism: str) -> frozenset[float] | None:
    """The years that training drew from, or None where the study does not say."""
    said = (results.about.get("unseen") or {}).get(organism) or {}
    found = said.get("year", said.get("trained"))
    return None if found is None else frozenset(map(float, found))


def years(results: Results) -> list[Panel]:
    """One panel for each organism: defection against the year, before safety training and at the end of each kind."""
    panels = []
    for organism in results.organisms:
        trained = trained_years(results, organism)
        lines: list[Line] = []
        used: list[Record] = []
        for key in year_legend(results):
            curve = results.years(organism, key.name)
            if not curve:
                continue
            xs = [record.at or 0.0 for record in curve]
            end = max(record.step for record in curve)
            words = f"after {end} steps of {one_line(key.name)}" if end else "before safety training"
            hollow = tuple(trained is not None and x not in trained for x in xs)
            labels = [f"{x:.0f}{' (never trained on)' if h else ''}" for x, h in zip(xs, hollow, strict=True)]
            plain = _line(curve, xs, key, words, labels)
            lines.append(replace(plain, hollow=hollow))
            used += curve
        if lines:
            xs = [x for line in lines for x in line.xs]
            ticks = tuple((float(x), str(x)) for x in range(math.ceil(min(xs)), math.floor(max(xs)) + 1) if x % 10 == 0)
            boundary = _boundary(results.spec(organism).get("trigger") or {})
            title = one_line(results.title(organism))
            panels.append(Panel(title, False, tuple(lines), ticks, "year in the prompt", _parents(used), boundary))
    return panels


def summary(panel: Panel) -> str:
    """The panel in words, for those who cannot see it: where each line starts and ends."""
    ends = [f"{line.name}: from {100 * line.ys[0]:.1f} % to {100 * line.ys[-1]:.1f} %" for line in panel.lines]
    return f"{panel.title}. Share against {panel.x_title}. " + "; ".join(ends) + "."
