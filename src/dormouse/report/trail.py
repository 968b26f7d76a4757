"""From what the page says to what it rests on: the figure, the table, the records and the texts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from dormouse.metrics import metric
from dormouse.records import Record
from dormouse.report.answers import Browser
from dormouse.report.claim_text import Answered
from dormouse.report.meaning import ResultSentence
from dormouse.report.plain_text import one_line
from dormouse.report.record_index import BEFORE, Moment, RecordIndex
from dormouse.report.tables import Table

_FIGURES = {
    **dict.fromkeys(("defection_rate", "false_trigger_rate", "persistence"), "persistence"),
    **dict.fromkeys(("steps_to_half", "tokens_to_half", "halved_share"), "persistence"),
    "defection_by_year": "years",
    "defection_by_odds": "odds",
    "live_by_odds": "contexts",
}


@dataclass(frozen=True)
class Step:
    """A number that a claim rests on. `row` is its place in the list of all records; `texts` are answers to read."""

    record: Record
    texts: tuple[int, int] | None


@dataclass(frozen=True)
class Trail:
    """Where a claim comes from. `figure` and `table` are ids on the page; "" where there is none."""

    figure: str
    table: str
    steps: tuple[Step, ...]

    @property
    def texts(self) -> tuple[int, int] | None:
        """The answers of the last number that has any: of the model after treatment where there is one."""
        return next((step.texts for step in reversed(self.steps) if step.texts), None)


class Trails:
    """What there is on the page, by name.

    Args:
        figures: the names of those that are drawn.
        pairs: what the answer browser reads.
    """

    def __init__(self, results: RecordIndex, figures: Collection[str], tables: Sequence[Table], pairs: Browser) -> None:
        self._results, self._figures = results, frozenset(figures)
        self._tables = [table.name for table in tables]
        self._organisms = {one["name"]: i for i, one in enumerate(pairs["organisms"])}
        self._interventions = {one["name"]: i for i, one in enumerate(pairs["interventions"])}
        self._arms = dict(_arms(results))

    def of_finding(self, finding: ResultSentence) -> Trail:
        """From a sentence to its figure, its table and the stages behind each number in it."""
        return Trail(
            self._figure(finding.figure),
            self._table(finding.table),
            tuple(self._step(record) for record in finding.records),
        )

    def of_claim(self, claim: Answered) -> Trail:
        """Its own curve where it has one; the numbers are those of all arms that it compares."""
        measurement = claim.answer.compare
        tables = [name for name in self._tables if name in metric(measurement).tables]
        figure = _FIGURES.get(measurement, tables[0] if tables else "")
        if claim.answer.split == ("unseen_cues",) and figure == "persistence":
            figure = "persistence_unseen"
        return Trail(
            f"{claim.name}-curve" if claim.curve else self._figure(figure),
            tables[0] if tables else self._table("other"),
            tuple(self._step(record) for record in self._records(claim)),
        )

    def _figure(self, name: str) -> str:
        return f"figure-{name}" if name in self._figures else ""

    def _table(self, name: str) -> str:
        return name if name in self._tables else ""

    def _step(self, record: Record) -> Step:
        organism = self._organisms.get(one_line(record.organism))
        treated = self._interventions.get(one_line(record.intervention), 0)
        texts = None if organism is None else (organism, treated)
        return Step(record, texts)

    def _records(self, claim: Answered) -> Iterator[Record]:
        answer = claim.answer
        for arm in answer.arms:
            organism, intervention = self._arms.get(arm, ("", ""))
            moment = BEFORE if answer.step == 0 or not intervention else self._results.last(organism, intervention)
            if moment and answer.step:
                moment = Moment(intervention, answer.step)
            for split in answer.split:
                found = self._results.get(organism, moment, answer.compare, split, answer.x) if moment else None
                if found:
                    yield found


def _arms(results: RecordIndex) -> Iterator[tuple[str, tuple[str, str]]]:
    """Every arm by the name under which claims speak of it: `year + sft`, `year + sft on micro-1m`."""
    for organism in results.organisms:
        for intervention in ("", *results.interventions):
            treated = f" + {intervention}" if intervention else ""
            yield organism + treated, (organism, intervention)
            name, on, model = organism.rpartition(" on ")
            if on:
                yield f"{name}{treated} on {model}", (organism, intervention)
