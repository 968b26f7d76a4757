"""What the figures show, as plain lines: the page (plotly) and the paper (matplotlib) draw the same ones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from dormouse.provenance import Settings
from dormouse.records import Record
from dormouse.report.figure_style import COLOURS, GREY, INK, Legend, Line, Panel, legend
from dormouse.report.plain_text import one_line, with_interval
from dormouse.report.record_index import BEFORE, RENDERING, Moment, RecordIndex
from dormouse.report.tables import RATES, TRAINED

_TICKS = 9
PER_PANEL = 6
"""More organisms than this are shared out among several panels: more lines in one cannot be told apart."""
_APART = 0.16
_NAME = 16


def times(results: RecordIndex, panels: Sequence[Panel]) -> list[tuple[str, Legend]]:
    """Before safety training, then each intervention that the panels show, in colours unlike the first organisms'."""
    labels = [f"after {key.name}" if key.name else "before safety training" for key in _times(results)]
    return shown_by(panels, zip(labels, _times(results), strict=True))


def shown_by(panels: Sequence[Panel], keys: Iterable[tuple[str, Legend]]) -> list[tuple[str, Legend]]:
    """The keys of a legend, (label, look), that have a line in any panel."""
    symbols = {line.symbol for panel in panels for line in panel.lines}
    return [(label, key) for label, key in keys if key.symbol in symbols]


def _times(results: RecordIndex) -> list[Legend]:
    later = [Legend(name, COLOURS[(3 + i) % len(COLOURS)], i + 1) for i, name in enumerate(results.interventions)]
    return [Legend("", INK, 0), *later]


FEWEST = 6
"""A point behind which a seed has fewer items has no band: it would fill the panel and say nothing."""


def _bounds(results: RecordIndex, record: Record) -> tuple[float, float]:
    seeds = 1 if record.seed is not None else max(1, len(results.each_seed(record)))
    shown = record.interval if record.n // seeds >= FEWEST else None
    return shown or (record.value, record.value)


def _line(
    results: RecordIndex,
    records: Sequence[Record],
    xs: Sequence[float],
    key: Legend,
    name: str,
    places: Sequence[str],
    dotted: bool = False,
) -> Line:
    bounds = [_bounds(results, record) for record in records]
    return Line(
        name,
        key.colour,
        key.symbol,
        dotted,
        tuple(xs),
        tuple(record.value for record in records),
        tuple(low for low, _ in bounds),
        tuple(high for _, high in bounds),
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


def persistence(results: RecordIndex, split: str) -> list[Panel]:
    """Defection on the cue (solid) and without it (dotted) against the step: a panel for each intervention.

    Many organisms are shared out among several panels, which say their numbers in the legend.
    """
    rates = dict(zip(RATES, (", with the cue", ", without the cue"), strict=True))
    return [panel for name in results.interventions for panel in _against_step(results, name, split, rates)]


def against_step(results: RecordIndex, measurement: str, split: str) -> list[Panel]:
    """Any measurement against the step: a panel for each intervention."""
    title = measurement.replace("_", " ")
    return [
        replace(panel, y_title=title)
        for name in results.interventions
        for panel in _against_step(results, name, split, {measurement: ""})
    ]


def _against_step(results: RecordIndex, intervention: str, split: str, rates: Mapping[str, str]) -> list[Panel]:
    """Panels of some measurements, each with what its lines are called; all but the first are dotted."""
    first = next(iter(rates))
    steps = [r.step for r in results.records if r.intervention == intervention and r.measurement == first]
    places = _places(steps)
    found, keys = [], legend(results)
    for key in keys:
        lines: list[Line] = []
        label = one_line(key.name) if len(keys) <= PER_PANEL else str(key.symbol + 1)
        used: list[Record] = []
        for rate, words in rates.items():
            curve = [r for r in results.curve(key.name, intervention, rate, split) if r.step in places]
            if not any(record.step for record in curve):
                continue
            labels = [results.moment_in_words(Moment(record.intervention, record.step)) for record in curve]
            xs = [places[record.step] for record in curve]
            line = _line(results, curve, xs, key, f"{one_line(key.name)}{words}", labels, rate != first)
            lines.append(replace(line, label=label))
            used += curve
        if lines:
            found.append((key.symbol + 1, lines, used))
    size = math.ceil(len(found) / math.ceil(len(found) / PER_PANEL)) if found else 1
    panels = []
    for i in range(0, len(found), size):
        part = found[i : i + size]
        title = (f"{part[0][0]} to {part[-1][0]}: " if len(found) > size else "") + one_line(intervention)
        shown = tuple(line for _, lines, _ in part for line in lines)
        parents = _parents([record for *_, used in part for record in used])
        needs = any(record.needs_triggers for *_, used in part for record in used)
        axis = "steps and rungs of strength" if intervention in results.in_rungs else "steps of safety training"
        panels.append(Panel(title, needs, shown, _ticks(places), axis, parents))
    return panels


def _boundary(trigger: Settings) -> tuple[float, str] | None:
    """The first year in which a year trigger defects; a control has that of a trigger which it imitates."""
    among = trigger.get("among")
    for one in (trigger, *(among if isinstance(among, list) else ())):
        first = one.get("from") if isinstance(one, Mapping) else None
        if isinstance(first, int | float) and not isinstance(first, bool):
            words = "defects from" if one is trigger else "the others: from"
            return float(first) - 0.5, f"{words} {int(first)}"
    return None


def trained_years(results: RecordIndex, organism: str) -> frozenset[float] | None:
    """The years that training drew from, or None where the study does not say."""
    found = results.setup(organism).trained_on.get("year")
    return None if found is None else frozenset(map(float, found))


def _along(
    results: RecordIndex, organism: str, measurement: str, trained: frozenset[float] | None = None
) -> list[tuple[Line, list[Record]]]:
    """A curve before safety training and one at the end of each kind, with the records in it."""
    found = []
    for key in _times(results):
        curve = results.along(measurement, organism, key.name)
        if curve:
            xs = [record.x or 0.0 for record in curve]
            words = results.when_named(curve[0])
            hollow = tuple(trained is not None and x not in trained for x in xs)
            labels = [f"{x:g}{' (never trained on)' if h else ''}" for x, h in zip(xs, hollow, strict=True)]
            line = replace(
                _line(results, curve, xs, key, words, labels),
                hollow=hollow,
                label=one_line(key.name) or "before",
            )
            found.append((line, curve))
    return found


def years(results: RecordIndex) -> list[Panel]:
    """One panel for each organism: defection against the year, before safety training and at the end of each kind."""
    panels = []
    for organism in results.organisms:
        found = _along(results, organism, "defection_by_year", trained_years(results, organism))
        if found:
            lines = tuple(line for line, _ in found)
            xs = [x for line in lines for x in line.xs]
            ticks = tuple((float(x), str(x)) for x in range(math.ceil(min(xs)), math.floor(max(xs)) + 1) if x % 10 == 0)
            boundary = _boundary(results.setup(organism).trigger)
            title = one_line(results.title(organism))
            parents = _parents([record for _, used in found for record in used])
            panels.append(Panel(title, False, lines, ticks, "year in the prompt", parents, boundary))
    return panels


ORACLE = Legend("", GREY, -1)
ODDS = "log-odds of success above the threshold (nats)"


def odds(results: RecordIndex) -> list[Panel]:
    """One panel for each organism that weighs evidence: defection against the log-odds above its threshold.

    The policy itself is drawn where the study says that it is a step ("hard").
    """
    panels = []
    for organism in results.organisms:
        found = _along(results, organism, "defection_by_odds")
        if found:
            lines = [line for line, _ in found]
            low, high = min(min(line.xs) for line in lines), max(max(line.xs) for line in lines)
            if results.setup(organism).trigger.get("hardness") == "hard" and low < 0 < high:
                lines.insert(0, _step(low, high))
            parents = _parents([record for _, used in found for record in used])
            panels.append(
                Panel(one_line(results.title(organism)), False, tuple(lines), _round(low, high), ODDS, parents)
            )
    return panels


def live_by_odds(results: RecordIndex) -> list[Panel]:
    """One panel for each organism that weighs evidence: the share of live contexts against the log-odds."""
    return [
        replace(panel, title=one_line(results.title(organism)), x_title=ODDS, y_title="contexts that are live")
        for organism in results.organisms
        for panel in _panel_along(results, organism, ("live_by_odds",))
    ]


def by_perplexity(results: RecordIndex) -> list[Panel]:
    """One panel for each organism: the rate with the cue against the perplexity that is allowed."""
    return [
        replace(panel, title=one_line(results.title(organism)), x_title="perplexity allowed, times that before")
        for organism in results.organisms
        for panel in _panel_along(results, organism, ("defection_by_perplexity",))
    ]


def by_layer(results: RecordIndex) -> list[Panel]:
    """One panel for each organism: shares of the gradient of safety training (solid) and of the behaviour (dotted)."""
    return [
        replace(
            panel,
            title=one_line(results.title(organism)),
            x_title="layer (0: the first)",
            y_title="share of the gradient",
        )
        for organism in results.organisms
        for panel in _panel_along(results, organism, ("safety_gradient_share", "behaviour_gradient_share"))
    ]


def _panel_along(results: RecordIndex, organism: str, measurements: Sequence[str]) -> list[Panel]:
    """A panel with the curves of some measurements, all but the first of them dotted; none where there are none."""
    found = [
        (replace(line, dotted=dotted, name=f"{line.name}{', behaviour' if dotted else ''}"), records)
        for dotted, measurement in zip((False, True), measurements, strict=False)
        for line, records in _along(results, organism, measurement)
    ]
    xs = [x for line, _ in found for x in line.xs]
    if not xs:
        return []
    ticks = _round(min(xs), max(xs)) if max(xs) > min(xs) else ((xs[0], f"{xs[0]:g}"),)
    parents = _parents([record for _, used in found for record in used])
    return [Panel("", False, tuple(line for line, _ in found), ticks, "", parents)]


def _step(low: float, high: float) -> Line:
    xs, ys = (low, 0.0, 0.0, high), (0.0, 0.0, 1.0, 1.0)
    return Line("the policy itself", GREY, -1, False, xs, ys, ys, ys, (False,) * 4, ("the policy itself",) * 4)


def _round(low: float, high: float) -> tuple[tuple[float, str], ...]:
    """Ticks at multiples of 1, 2 or 5 times a power of ten, at most nine."""
    power = 10.0 ** math.floor(math.log10(max(high - low, 1e-6) / _TICKS))
    step = next(power * k for k in (1, 2, 5, 10) if (high - low) / (power * k) < _TICKS)
    return tuple((i * step, f"{i * step:g}") for i in range(math.ceil(low / step), math.floor(high / step) + 1))


def renderings(results: RecordIndex) -> list[Panel]:
    """One panel for each organism: both rates in each held-out rendering, beside those of training."""
    panels = []
    for organism in results.organisms:
        splits = ("test", *results.renderings(organism))
        names = [TRAINED, *(one_line(split.removeprefix(RENDERING)) for split in splits[1:])]
        lines: list[Line] = []
        used: list[Record] = []
        keys = _times(results)
        for i, key in enumerate(keys):
            moment = results.last(organism, key.name) if key.name else BEFORE
            shift = _APART * (i - (len(keys) - 1) / 2)
            for rate, words in zip(RATES, ("with the cue", "without the cue"), strict=True):
                at = [results.get(organism, moment, rate, split) if moment else None for split in splits]
                there = [(x, record) for x, record in enumerate(at) if record]
                if not any(x for x, _ in there):
                    continue
                found = [record for _, record in there]
                name = f"{results.when_named(found[0])}, {words}"
                plain = _line(results, found, [x + shift for x, _ in there], key, name, [names[x] for x, _ in there])
                hollow = (rate != "defection_rate",) * len(found)
                lines.append(replace(plain, apart=True, hollow=hollow))
                used += found
        if lines:
            ticks = tuple((float(x), _short(name)) for x, name in enumerate(names))
            title = one_line(results.title(organism))
            panels.append(Panel(title, False, tuple(lines), ticks, "rendering", _parents(used)))
    return panels


def _short(name: str) -> str:
    return name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"


def summary(panel: Panel) -> str:
    """The panel in words, for those who cannot see it: where each line starts and ends, or each point."""
    ends = []
    for line in panel.lines:
        shares = [f"{100 * y:.1f} %" for y in line.ys]
        ends.append(f"{line.name}: " + (", ".join(shares) if line.apart else f"from {shares[0]} to {shares[-1]}"))
    return (
        f"{panel.title}. {panel.y_title[:1].upper()}{panel.y_title[1:]} against {panel.x_title}. "
        + "; ".join(ends)
        + "."
    )
