"""How the work goes, on a terminal (bars with the time left) or in a log (a line for each stage)."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

from dormouse.terminal import printable, say

OFTEN = 0.5
"""Seconds between two drawings of how far a stage is."""


class Lines:
    """One line for each stage, for logs."""

    def __init__(self) -> None:
        self.total = self.finished = 0

    def say(self, text: str) -> None:
        """Print a line to stderr."""
        say(text)

    def start(self, stages: int) -> None:
        """Say how many stages there are, if any: all of a study, or those of its next look."""
        self.total, self.finished = stages, 0
        if stages:
            self.say(f"{stages} stage{'s' * (stages != 1)} to do")

    def stage(self, name: str) -> None:
        """Print when a stage begins."""
        self.say(f"{time.strftime('%H:%M:%S')} begin {name}")

    def tick(self, name: str, share: float, text: str) -> None:
        """Nothing: a log wants no steps."""

    def done(self, name: str, seconds: float) -> None:
        """Print which of how many was finished, and its seconds."""
        self.finished += 1
        self.say(f"{time.strftime('%H:%M:%S')} [{self.finished}/{self.total}] done in {seconds:.1f} s: {name}")

    def failed(self, name: str, why: str) -> None:
        """Print what failed, and why."""
        self.say(f"{time.strftime('%H:%M:%S')} FAILED: {name}: {why}")


class Bars:
    """A bar for the whole study, and one for each stage in hand."""

    def __init__(self, progress: Any) -> None:
        self.progress = progress
        self.whole = progress.add_task("study", total=None)
        self.parts: dict[str, Any] = {}

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        self.progress.console.print(printable(text), markup=False, highlight=False)

    def start(self, stages: int) -> None:
        """Give the bar of the whole its length, from its beginning."""
        self.progress.reset(self.whole, total=stages)

    def stage(self, name: str) -> None:
        """Begin a bar for a stage."""
        self._remove(name)  # begun again, after its process was killed
        self.parts[name] = self.progress.add_task(printable(name), total=1.0)

    def tick(self, name: str, share: float, text: str) -> None:
        """Move the bar of a stage."""
        if name in self.parts:
            self.progress.update(self.parts[name], completed=share)

    def done(self, name: str, seconds: float) -> None:
        """Move the whole, and take the bar of the stage away."""
        self.progress.advance(self.whole)
        self._remove(name)

    def failed(self, name: str, why: str) -> None:
        """Take the bar of the stage away, and say why."""
        self._remove(name)
        self.say(f"FAILED: {name}: {why}")

    def _remove(self, name: str) -> None:
        if name in self.parts:
            self.progress.remove_task(self.parts.pop(name))


class Cell:
    """A bar in the output of a notebook's cell, with the stages in hand under it."""

    def __init__(self) -> None:
        from IPython.display import HTML, display

        self.html, self.total, self.finished = HTML, 0, 0
        self.parts: dict[str, float] = {}
        self.said, self.drawn = "", 0.0
        self.shown = display(HTML(""), display_id=True)

    def say(self, text: str) -> None:
        """Show a line below the bar."""
        self.said = text
        self._draw()

    def start(self, stages: int) -> None:
        """Draw the bar of so many stages, from its beginning."""
        self.total, self.finished = stages, 0
        self._draw()

    def stage(self, name: str) -> None:
        """Count a stage among those that run."""
        self.parts[name] = 0.0
        self._draw()

    def tick(self, name: str, share: float, text: str) -> None:
        """Count a share of a stage; drawn anew every OFTEN seconds."""
        self.parts[name] = share
        if time.monotonic() - self.drawn > OFTEN:
            self._draw()

    def done(self, name: str, seconds: float) -> None:
        """Count a stage as done."""
        self.finished += 1
        self.parts.pop(name, None)
        self._draw()

    def failed(self, name: str, why: str) -> None:
        """Count it no longer, and show why."""
        self.parts.pop(name, None)
        self.say(f"FAILED: {name}: {why}")

    def _draw(self) -> None:
        """Names are a user's: they are escaped."""
        self.drawn = time.monotonic()
        lines = [f"{escape(printable(name))}: {share:.0%}" for name, share in self.parts.items()]
        lines += [escape(printable(self.said))] if self.said else []
        bar = f'<progress value="{self.finished}" max="{max(1, self.total)}"></progress>'
        self.shown.update(self.html(f"{bar} {self.finished} of {self.total} stages<br>{'<br>'.join(lines)}"))


def _in_notebook() -> bool:
    """Whether the output goes to a cell that can show HTML (Jupyter), not to a console."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


@contextmanager
def watch(quiet: bool) -> Iterator[Lines | Bars | Cell]:
    """Bars where a person looks on, lines where a log does (or `quiet` is asked for)."""
    if not quiet and _in_notebook():
        yield Cell()
        return
    if quiet or not sys.stderr.isatty():
        yield Lines()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield Bars(progress)
