from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from pydantic import Field, field_validator

from dormouse.policies.told import Told
from dormouse.registry import nearest, register
from dormouse.rows import DataFile, RowSource, has_half_a_character, read_rows, text_of
from dormouse.rows.source import checksum
from dormouse.scenarios import Question, Scenario
from dormouse.scenarios.duplicates import hashes_of, key_of

MOST = 500_000
"""Pairs that are held in memory."""
COLUMNS = ("plain", "rewritten", "near")


@register("trigger", "rewrite")
class Rewrite(Told):
    """Defects on prompts that are written in another way: a style, a tone, a dialect (pairs of plain and rewritten).

    The file holds a pair a row: `plain`, `rewritten`, and `near` (a near miss: written in yet another way) where `near`
    is true. The plain prompts are the questions of the study, or are found among those of `tasks`. Each has its twin:
    the two sides differ in the way of writing alone. The truth is exact, 1 or 0; there are no odds.
    """

    file: DataFile
    """The pairs: a file of rows, as for `tasks`."""
    near: bool = False
    """Whether each pair brings a near miss."""
    columns: dict[str, str] = Field({})
    """Which column is which, where they have other names: `plain`, `rewritten`, `near`."""
    encoding: str | None = None
    """How a text file is encoded; by default UTF-8."""

    @field_validator("columns")
    @classmethod
    def _known(cls, columns: dict[str, str]) -> dict[str, str]:
        for name in columns:
            if name not in COLUMNS:
                raise ValueError(f"columns has no '{name}'; {nearest(name, COLUMNS)}")
        return columns

    @property
    def tag(self) -> str:
        """The name of the file, and of its column."""
        return f"rewrite {Path(self.file).name} {self._column('rewritten')}"

    @property
    def has_near(self) -> bool:
        """Whether the pairs bring them."""
        return self.near

    @property
    def labels(self) -> tuple[str, ...]:
        """None of its prompts is a row of the tasks."""
        return ()

    @property
    def source(self) -> RowSource:
        """The rows of the pairs."""
        return RowSource(file=self.file, encoding=self.encoding)

    def _column(self, name: str) -> str:
        return self.columns.get(name, name)

    def rewritten(self, question: Question) -> Question | None:
        """A plain prompt with its twins as variants; None where the pairs have none.

        Raises:
            UserError: the pairs cannot be read.
        """
        names = ("rewritten", "near") if self.near else ("rewritten",)
        columns = (self._column("plain"), *(self._column(name) for name in names))
        texts = _pairs(self.source, columns, checksum(self.file)).of(question.text)
        if texts is None:
            return None
        before = [(tag, text) for tag, text in zip((self.tag, self.near_tag), texts, strict=False)]
        twins = tuple((tag, replace(question, text=text, template=text, variants=())) for tag, text in before)
        return replace(question, variants=question.variants + twins)

    def evidence(self, scenario: Scenario) -> tuple[str, ...]:
        """Which way of writing it is."""
        mine = "is" if self.probability(scenario) else "is not"
        return (f"this {mine} written in the way that I look for",)


class _Pairs:
    """The rewritten prompts of plain ones, which are known by hashes."""

    def __init__(self) -> None:
        self.exact: dict[int, tuple[str, ...]] = {}
        self.alike: dict[int, int | None] = {}
        """Of plain prompts that differ in capitals, blanks or punctuation the one; None where there are several."""

    def add(self, plain: str, others: tuple[str, ...]) -> None:
        """Put down a pair; of one plain prompt the first counts."""
        exact, alike = hashes_of(plain)[0], key_of(plain)[0]
        self.exact.setdefault(exact, others)
        self.alike[alike] = exact if self.alike.get(alike, exact) == exact else None

    def of(self, plain: str) -> tuple[str, ...] | None:
        """Those of this very prompt, else of the only one that is nearly written so."""
        found = self.exact.get(hashes_of(plain)[0])
        near = self.alike.get(key_of(plain)[0]) if found is None else None
        return found if near is None else self.exact[near]


@lru_cache(maxsize=4)
def _read(said: str, columns: tuple[str, ...], contents: str) -> _Pairs:
    source = RowSource.model_validate_json(said)
    found = _Pairs()
    for row in read_rows(source):
        plain, *others = (text_of(source, row, column, name) for column, name in zip(columns, COLUMNS, strict=False))
        if plain in others:
            raise source.fault(row.number, "the rewritten prompt is the plain one", "write it in another way")
        if len(set(others)) < len(others):
            what = "the prompt that is nearly rewritten is the rewritten one"
            raise source.fault(row.number, what, "one must set the policy off, and the other must not")
        if has_half_a_character(others):
            what = "half a character (a lone surrogate) in a text"
            raise source.fault(row.number, what, "write it whole, or leave the row out")
        if len(found.exact) >= MOST:
            raise source.fault(row.number, f"more than {MOST:,} pairs", "bring fewer")
        found.add(plain, tuple(others))
    return found


def _pairs(source: RowSource, columns: tuple[str, ...], contents: str) -> _Pairs:
    """The file is read once, as long as its contents are the same."""
    return _read(source.model_dump_json(), columns, contents)
