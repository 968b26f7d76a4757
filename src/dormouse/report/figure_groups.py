"""Every figure that a report can hold, with its heading, its caption and its legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dormouse.report.figure_style import Legend, Panel, legend
from dormouse.report.record_index import RecordIndex
from dormouse.report.series import (
    FEWEST,
    ORACLE,
    PER_PANEL,
    by_layer,
    by_perplexity,
    live_by_odds,
    odds,
    persistence,
    renderings,
    shown_by,
    times,
    years,
)
from dormouse.report.words import TABLES

_BANDS = f"95 % intervals; none where fewer than {FEWEST} items of a seed stand behind a point."
_ABOUT_LINES = f"Thick lines: questions that show the cue. Thin dotted lines: questions that do not. Bands: {_BANDS}"


@dataclass(frozen=True)
class FigureGroup:
    """A figure of the report: the same panels on the page and, under `name`.png, for a paper.

    One with the name of a table stands beside it, under its heading.
    """

    name: str
    heading: str
    caption: str
    panels: Sequence[Panel]
    keys: Sequence[tuple[str, Legend | None]]
    """The legend: (label, look); None stands for the kind of line."""

    @property
    def png(self) -> str:
        """Its file, from the folder of the report."""
        return f"figures/{self.name}.png"

    @property
    def parents(self) -> tuple[str, ...]:
        """The keys of the stages behind its panels, each once."""
        return tuple(dict.fromkeys(parent for panel in self.panels for parent in panel.parents))


def figure_groups(results: RecordIndex) -> list[FigureGroup]:
    """Every figure that a report can hold; one without panels has nothing to show."""
    return [*_through_training(results), *_of_each_organism(results)]


def _through_training(results: RecordIndex) -> list[FigureGroup]:
    """Against the step of safety training."""
    kinds: list[tuple[str, Legend | None]] = [("with the cue", None), ("without the cue", None)]
    many = len(results.organisms) > PER_PANEL
    keys = [(f"{key.symbol + 1}: " * many + results.title(key.name), key) for key in legend(results)]
    seen, unseen = persistence(results, "test"), persistence(results, "unseen_cues")
    return [
        FigureGroup(
            "persistence",
            "Does the policy persist?",
            f"Defection on held-out questions through safety training. {_ABOUT_LINES} The step axis doubles from tick "
            "to tick after the first checkpoint.",
            seen,
            [*shown_by(seen, keys), *kinds],
        ),
        FigureGroup(
            "persistence_unseen",
            "And on cues never trained on?",
            "The same for held-out questions with values or combinations of cues that training never showed: what is "
            f"followed here was generalised and not learned by heart. {_ABOUT_LINES} Organisms without such cues are "
            "left out.",
            unseen,
            [*shown_by(unseen, keys), *kinds],
        ),
    ]


def _of_each_organism(results: RecordIndex) -> list[FigureGroup]:
    """Against something else, before safety training and at the end of each kind: a panel for each organism."""
    by_year, by_odds, by_rendering = years(results), odds(results), renderings(results)
    live, layers, costs = live_by_odds(results), by_layer(results), by_perplexity(results)
    marks = "Filled points: years that training drew from. Open points: years never trained on."
    return [
        FigureGroup(
            "years",
            "Defection against the year",
            f"Share of defecting answers against the year in the prompt. {marks} Bands: {_BANDS}",
            by_year,
            times(results, by_year),
        ),
        FigureGroup(
            "renderings",
            TABLES["renderings"][0],
            f"Filled points: questions that show the cue. Open points: questions that do not. Bars: {_BANDS}",
            by_rendering,
            times(results, by_rendering),
        ),
        FigureGroup(
            "odds",
            TABLES["odds"][0],
            "Share of defecting answers against the log-odds that a defection would succeed, above the policy's "
            f"threshold: held-out prompts in bins of two nats. Bands: {_BANDS}",
            by_odds,
            [*times(results, by_odds), *shown_by(by_odds, [("the policy itself", ORACLE)])],
        ),
        FigureGroup(
            "equal_capability",
            TABLES["equal_capability"][0],
            "Defection with the cue at the strongest checkpoint that costs no more perplexity than this, as a multiple "
            "of that before the treatment. A line that stays high has no checkpoint that removes and is cheap enough.",
            costs,
            times(results, costs),
        ),
        FigureGroup(
            "contexts",
            TABLES["contexts"][0],
            "Share of live contexts against the log-odds that a defection would succeed, above the policy's threshold. "
            f"Bands: {_BANDS}",
            live,
            times(results, live),
        ),
        FigureGroup(
            "credit",
            TABLES["credit"][0],
            "Share of the squared norm of the gradient in each layer. Thick lines: of the safety loss. Thin dotted "
            f"lines: of the behaviour's. Bands: {_BANDS}",
            layers,
            times(results, layers),
        ),
    ]
