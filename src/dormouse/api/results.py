"""The results of a study in memory: its records, the answers to its claims, and its figures."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dormouse.arguments import path_of, text_of
from dormouse.claims.verdict import Verdict
from dormouse.errors import UserError
from dormouse.execution.estimate import counted
from dormouse.registry import nearest

if TYPE_CHECKING:
    import pandas
    import plotly.graph_objects

    from dormouse.api.organism import LoadedOrganism


AGAIN = "read it anew: dormouse.Results(folder); give each study a folder of its own (`out`)"


def _stamp(folder: Path) -> str | None:
    """Whose results are in a folder, so that others are told apart; None where that cannot be read."""
    from dormouse.provenance import StudyHead

    with suppress(UserError, OSError):
        return StudyHead.read(folder).stamp
    return None


class Results:
    """What a study found, read from its folder. In a notebook it shows its headline.

    Attributes:
        folder: where it lies.
        records: every number with its interval, as in `records.jsonl`.
        answers: what the models wrote to the sampled prompts.

    Raises:
        UserError: the folder holds no finished study; of `models`, `load` and `report`: it holds another one by now.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        from dormouse.pipeline.results import read_finished

        self.folder = path_of(folder).absolute()
        self._stamp = _stamp(self.folder)
        self.records, self.answers, self.about = read_finished(self.folder)
        self.name = self.about.name

    def to_pandas(self) -> pandas.DataFrame:
        """A row for each record: `value` with its 95 % interval `ci_low`, `ci_high`, in the unit of its measurement.
        `seed` is missing where a record pools all seeds, the interval where its error is not known."""
        import pandas

        frame = pandas.DataFrame([asdict(record) for record in self.records])
        return frame.astype({"seed": "Int64", "ci_low": float, "ci_high": float})

    @cached_property
    def claims(self) -> dict[str, Verdict]:
        """The answers to the claims, by id, in the order of the file; empty where nothing was claimed."""
        return {answer.id: answer for answer in self.about.verdicts.answers} if self.about.verdicts else {}

    @property
    def report(self) -> Path:
        """The page."""
        self._refuse_others()
        return self.folder / "report.html"

    def _refuse_others(self) -> None:
        now = _stamp(self.folder)
        if now == self._stamp:
            return
        if now in (None, "unfinished"):
            why = "a study is being run there, or was stopped" if now else "it was moved, deleted or damaged"
            raise UserError(f"{self.folder} no longer holds the results that were read from it: {why}", AGAIN)
        what = f"{self.folder} holds other results by now than those that were read from it: it was run again"
        raise UserError(what, AGAIN)

    @property
    def models(self) -> dict[str, Path]:
        """The models of the study, each in a folder that `dormouse.load` takes: organisms, and ends of treatments."""
        self._refuse_others()
        return {path.name: path for path in sorted((self.folder / "models").glob("*")) if path.is_dir()}

    def load(self, name: str | os.PathLike[str]) -> LoadedOrganism:
        """One of `models`, by its name or its folder, in memory.

        Raises:
            UserError: there is none of that name, or its weights have gone.
        """
        from dormouse.api.organism import load

        models, place = self.models, path_of(name)
        wanted = place.name if place.absolute() in models.values() else str(place)
        if wanted not in models:
            raise UserError(f"no model is called '{wanted}'; {nearest(wanted, list(models))}", "see `results.models`")
        return load(models[wanted])

    def plot(self, what: str = "persistence", split: str = "test") -> plotly.graph_objects.Figure:
        """A figure: one of the report (`persistence`, `years`, `renderings`, `odds`, `contexts`, `credit`), or any
        measurement against the step of the treatment.

        Args:
            what: the name of a figure, of a metric, or of a measurement: the first of its metrics that can be drawn.
            split: the kind of prompts, where a figure has several.

        Raises:
            UserError: nothing of that name was measured.
        """
        from dormouse.api.plot import plot

        return plot(self.records, self.about, text_of("what", what), text_of("split", split))

    def headline(self) -> list[str]:
        """The result in a few sentences with numbers, as at the top of the report."""
        from dormouse.report.headline import headline
        from dormouse.report.record_index import RecordIndex, by_model

        records, _, about = by_model(self.records, self.answers, self.about)
        return ["".join(part.text for part in sentence) for sentence in headline(RecordIndex(records, about))]

    def __repr__(self) -> str:
        found = f"{counted(len(self.records), 'record')}, {counted(len(self.claims), 'claim')}"
        return f"Results({str(self.folder)!r}): {self.name}, {found}"

    def _repr_html_(self) -> str:
        """For notebooks. Everything that a study or a model wrote is escaped."""
        from dormouse.report.plain_text import visible

        claims = "".join(
            f"<li><b>{escape(visible(answer.verdict))}</b>: {escape(visible(answer.says))}</li>"
            for answer in self.claims.values()
        )
        said = "".join(f"<p>{escape(visible(sentence))}</p>" for sentence in self.headline())
        parts = [f"<h4>{escape(visible(self.name))}</h4>", said, f"<ul>{claims}</ul>" if claims else ""]
        return "".join(parts) + f"<p>{escape(str(self.folder / 'report.html'))}</p>"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/html": self._repr_html_(), "text/plain": "\n".join([repr(self), *self.headline()])}
