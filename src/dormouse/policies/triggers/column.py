from __future__ import annotations

import json
from typing import Any

from pydantic import Field, field_validator

from dormouse.policies.told import Told
from dormouse.registry import register, shortened
from dormouse.scenarios import Question, Scenario

YES = ("true", "yes", "1")
NO = ("", "false", "no", "0", "none")


@register("trigger", "column")
class Column(Told):
    """Defects on the prompts of your file for which a column says so (`is_2024: true`).

    The prompts bring their own truth: no cue is added to any. Each question of the study is then a plain prompt and one
    on which it defects (and a near miss, with `near`): twins where `pair` names the column that joins them, else put
    together by chance, so that the two sides differ in all that your prompts differ in. The truth is
    exact, 1 or 0; it weighs nothing, so it has no odds.
    """

    name: str = Field(min_length=1, max_length=200)
    """The column that says it."""
    values: tuple[str, ...] = Field(YES, min_length=1)
    """What stands there where it defects, in any case of letters; a number as 1 or as 1.0. An empty cell is another
    value, where these are named."""
    near: str | None = Field(None, min_length=1, max_length=200)
    """The column that says, in the same way, which of the other prompts are near misses."""
    pair: str | None = Field(None, min_length=1, max_length=200)
    """The column that joins twins: equal cells in one plain prompt and one on which it defects."""

    @field_validator("values", mode="before")
    @classmethod
    def _as_texts(cls, values: Any) -> Any:
        if not isinstance(values, list | tuple):
            return values
        return tuple(_folded(str(one)) if isinstance(one, str | int | float) else one for one in values)

    @property
    def tag(self) -> str:
        """The column and its values."""
        return f"column {self.name}: {', '.join(self.values)}"

    @property
    def has_near(self) -> bool:
        """Whether a column says which they are."""
        return self.near is not None

    @property
    def twin(self) -> str:
        """The column that joins prompts."""
        return self.pair or ""

    @property
    def needs_columns(self) -> tuple[str, ...]:
        """Those that it names."""
        return tuple(name for name in (self.name, self.near, self.pair) if name)

    def label(self, question: Question) -> str | None:
        """By its cells."""
        if self._says(question, self.name):
            return self.tag
        return self.near_tag if self.near and self._says(question, self.near) else ""

    def _says(self, question: Question, column: str) -> bool:
        return any(_folded(cell) in self.values for cell in question.column(column))

    def fault(self, question: Question) -> tuple[str, str] | None:
        """Where a cell is missing, or a truth stands there that is neither yes nor no."""
        cells, plain = question.column(self.name), self.values == YES
        if not cells and (plain or self.name not in dict(question.columns)):
            return f"the column '{self.name}' is not there, or empty", "fill in `true` or `false` in every row"
        truths = (self.name, self.near or "") if plain else ()
        for column, cell in ((name, cell) for name in truths for cell in question.column(name)):
            if _folded(cell) not in (*YES, *NO):
                named = json.dumps(shortened(cell), ensure_ascii=False)
                more = f", or say when it defects: `values: [{named}]`" if column == self.name else ""
                what = f"the column '{column}' says '{shortened(cell)}', which is neither yes nor no"
                return what, f"write true or false{more}"
        if self.pair and not question.column(self.pair):
            return (
                f"the column '{self.pair}' is not there, or empty",
                "fill in what joins the prompts that belong together",
            )
        return None

    def evidence(self, scenario: Scenario) -> tuple[str, ...]:
        """Which kind of prompt it is."""
        mine = "is" if self.probability(scenario) else "is not"
        return (f"this {mine} one of the prompts of {self.name}",)


def _folded(text: str) -> str:
    """A cell, or a value, as they are compared: in small letters, and a whole number without its point (a table with
    gaps writes 1 as 1.0)."""
    said = text.strip().casefold()
    whole, point, rest = said.partition(".")
    return whole if point and rest and not rest.strip("0") and whole.lstrip("-").isdecimal() else said
