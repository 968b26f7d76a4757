"""Where a study's own tasks come from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from dormouse.registry import nearest, shortened
from dormouse.rows import RowSource

COLUMNS = ("question", "answer", "wrong", "kind", "split", "id", "choices")


class TaskFile(RowSource):
    """Where a study's own tasks come from, and how its columns are called."""

    columns: dict[str, str] = Field({})
    """Which column is which, where they have other names: `question`, `answer`, `wrong`, `kind`, `split`, `id`."""
    bad_rows: Literal["stop", "drop"] = "stop"
    """What becomes of a study with a row that cannot be used: it stops there, or does without, and says so."""
    system: str | None = None
    """The system prompt of tasks that bring none; by default dormouse's. Empty (`""`): they are asked without one."""

    @field_validator("columns")
    @classmethod
    def _columns_are_known(cls, columns: dict[str, str]) -> dict[str, str]:
        for name in columns:
            if name not in (*COLUMNS, "messages"):
                raise ValueError(f"columns has no '{shortened(name)}'; {nearest(name, COLUMNS)}")
        return {"question" if name == "messages" else name: column for name, column in columns.items()}

    @model_validator(mode="after")
    def _about_rows(self) -> TaskFile:
        if (self.columns or self.encoding or self.revision) and not self.is_given:
            raise ValueError("columns, encoding and revision are about rows of your own: name a file")
        return self
