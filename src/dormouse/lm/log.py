"""What a training was shown, in which order, and how each step went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypedDict

from dormouse.json_files import checked, json_text, plain
from dormouse.lm.trie import Tokens
from dormouse.records import SHOWN_ROWS, TRAINING, ShownRow, TrainingStep


class LogState(TypedDict):
    """A log in a resume point: its steps as JSON, and its rows as they stand in their file."""

    steps: list[object]
    rows: list[str]


class Log:
    """The log of one training. `write` leaves two files.

    training.jsonl has a `TrainingStep` a line. shown.jsonl has a line a row, each once, in the order in which they
    first came: the prompt and the responses as the model saw them, special tokens and all, with the numbers that came
    with them (the advantage of a rollout, say).
    """

    def __init__(self, tokenizer: Any, rows: bool) -> None:
        self.tokenizer, self.keeps_rows = tokenizer, rows
        self.steps: list[TrainingStep] = []
        self.rows: dict[str, int] = {}
        """The text of a row -> its number."""
        self._known: dict[Any, int] = {}

    def step(self, loss: float, gradient_norm: float, lr: float, batch: Sequence[Any]) -> None:
        """Put down a step: the loss before it, the norm before clipping, the learning rate, the rows it was shown."""
        shown = tuple(self._number(item) for item in batch) if self.keeps_rows else ()
        self.steps.append(TrainingStep(len(self.steps) + 1, loss, gradient_norm, lr, shown))

    def _number(self, item: Any) -> int:
        try:
            known = self._known.get(item)
        except TypeError:  # an objective from outside may train on what has no hash
            return self.rows.setdefault(json_text(self._said(item), ascii_only=False), len(self.rows))
        if known is None:
            text = json_text(self._said(item), ascii_only=False)
            known = self._known[item] = self.rows.setdefault(text, len(self.rows))
        return known

    def _said(self, item: Any) -> ShownRow:
        """An item in words. Of an objective's own type: every response in it, and every number."""
        if isinstance(item, Tokens):
            return {"prompt": self._text(item.prompt), "response": self._text(item.response)}
        if not is_dataclass(item):
            return {"item": str(item)[:1000]}
        said: ShownRow = {}
        for field in fields(item):
            value = getattr(item, field.name)
            if isinstance(value, Tokens):
                said.setdefault("prompt", self._text(value.prompt))
                said["response" if field.name == "tokens" else field.name] = self._text(value.response)
            elif isinstance(value, int | float | str):
                said[field.name] = value
        return said

    def _text(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids)))

    def write(self, out: Path) -> None:
        """Write training.jsonl, and shown.jsonl where rows are kept."""
        with (out / TRAINING).open("w", encoding="utf-8") as file:
            file.writelines(json_text(step) + "\n" for step in self.steps)
        if self.keeps_rows:
            with (out / SHOWN_ROWS).open("w", encoding="utf-8") as file:
                file.writelines(row + "\n" for row in self.rows)

    def state(self) -> LogState:
        """All of it, as plain JSON data."""
        return {"steps": [plain(step) for step in self.steps], "rows": list(self.rows)}

    def restore(self, state: LogState) -> None:
        """Go back to a state that `state` gave."""
        self.steps = checked(state["steps"], list[TrainingStep], "the log of a resume point")
        self.rows = {row: i for i, row in enumerate(state["rows"])}
