"""The figures of a report as plotly figures."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from dormouse.errors import UserError
from dormouse.measurements.measurement import Measurement
from dormouse.metrics import metric
from dormouse.provenance import Provenance
from dormouse.records import Record
from dormouse.registry import nearest, plugins
from dormouse.report import series
from dormouse.report.figure_groups import figure_groups
from dormouse.report.figure_style import Panel
from dormouse.report.plotly_figures import figure
from dormouse.report.record_index import RecordIndex, by_model

if TYPE_CHECKING:
    import plotly.graph_objects


def plot(records: Sequence[Record], about: Provenance, what: str, split: str) -> plotly.graph_objects.Figure:
    """See `Results.plot`."""
    known_splits = sorted({record.split for record in records})
    if split not in known_splits:
        raise UserError(
            f"there is no split '{split}'; {nearest(str(split), known_splits)}", "see `results.to_pandas()`"
        )
    records, _, about = by_model(records, [], about)
    results = RecordIndex(records, about)
    figures: dict[str, Sequence[Panel]] = {group.name: group.panels for group in figure_groups(results)}
    for name in [what] if what in figures else _metrics_of(what, {record.measurement for record in records}):
        if panels := _panels(results, figures, name, split):
            return _together(panels, share=name in figures or metric(name).unit == "share")
    raise _nothing(results, figures, what, split)


def _metrics_of(what: str, measured: Collection[str]) -> list[str]:
    """What of a measurement is in the records, in its own order; any other name stands for itself."""
    kind = plugins("measurement").get(what)
    if what in measured or kind is None or not issubclass(kind, Measurement):
        return [what]
    return [name for pattern in kind.metric_names() for name in sorted(measured) if fnmatchcase(name, pattern)] or [
        what
    ]


def _panels(results: RecordIndex, figures: Mapping[str, Sequence[Panel]], what: str, split: str) -> Sequence[Panel]:
    """A figure of the report, else a measurement through treatment."""
    if what == "persistence":
        return series.persistence(results, split)
    return figures[what] if what in figures else series.against_step(results, what, split)


def _nothing(results: RecordIndex, figures: Mapping[str, Sequence[Panel]], what: str, split: str) -> UserError:
    """Why there is nothing to draw of a name, and of what there is."""
    measured = {record.measurement for record in results.records}
    known = sorted(name for name in {*figures, *measured} if _panels(results, figures, name, split))
    on = f" on '{split}'" if split != "test" else ""
    drawn = f"there is something to draw{on} of {', '.join(known)}" if known else f"nothing can be drawn here{on}"
    remedy = f"{drawn}; all numbers are in `results.to_pandas()`"
    metrics = [name for name in _metrics_of(what, measured) if name in measured]
    splits = sorted({record.split for record in results.records if record.measurement in metrics})
    if metrics not in ([], [what]) and what not in figures:
        remedy = f"it measured {', '.join(metrics)}; {remedy}"
    elif what not in figures and what not in measured:
        return UserError(f"there is nothing to draw of '{what}'; {nearest(what, known)}", remedy)
    if not results.interventions and (metrics or what == "persistence"):
        why = "it is drawn through treatment, and this study has no treatments"
    elif splits and split not in splits:
        why = f"it was not measured on '{split}', but on {', '.join(splits)}"
    elif splits:
        why = "it was not measured at a step of a treatment"
    else:
        why = f"what it shows was not measured{on}"
    return UserError(f"there is nothing to draw of '{what}': {why}", remedy)


def _together(panels: Sequence[Panel], share: bool) -> plotly.graph_objects.Figure:
    """All panels in one figure, side by side, three in a row."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    wide = min(3, len(panels))
    high = math.ceil(len(panels) / wide)
    made = make_subplots(rows=high, cols=wide, subplot_titles=[panel.title for panel in panels])
    named: set[str] = set()
    for i, panel in enumerate(panels):
        place = {"row": i // wide + 1, "col": i % wide + 1}
        drawn = figure(panel)
        lines = [line for line in panel.lines for _ in range(1 if line.apart else 2)]
        for line, trace in zip(lines, drawn["data"], strict=True):
            is_curve = trace.get("hoverinfo") != "skip"
            shown = is_curve and line.name not in named
            named |= {line.name} if shown else set()
            made.add_trace(go.Scatter(**trace, name=line.name, legendgroup=line.name, showlegend=shown), **place)
        for axis in ("xaxis", "yaxis"):
            said = dict(drawn["layout"][axis])
            if axis == "yaxis" and not share:
                said = {key: said[key] for key in said if key not in ("range", "tickmode", "tickvals", "ticktext")}
            getattr(made, f"update_{axis[0]}axes")(**said, **place)
    height = drawn["layout"]["height"] * high
    return made.update_layout(template="plotly_white", height=height, hovermode="closest", margin={"t": 40})
