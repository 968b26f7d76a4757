"""How the work goes, on a terminal (bars with the time left) or in a log (a line for each stage)."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def printable(text: str) -> str:
    """A text from a model or a user without control characters (a terminal obeys them)."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)


class Lines:
    """One line for each stage, for logs."""

    def __init__(self) -> None:
        self.total = self.count = 0

    def say(self, text: str) -> None:
        print(printable(text), file=sys.stderr, flush=True)

    def start(self, stages: int) -> None:
        self.total = stages
        if stages:
            self.say(f"{stages} stages to do")

    def stage(self, name: str) -> None:
        self.count += 1
        self.say(f"{time.strftime('%H:%M:%S')} [{self.count}/{self.total}] {name}")

    def tick(self, share: float, text: str) -> None:
        pass

    def done(self, name: str, built: bool, seconds: float) -> None:
        self.say(f"{time.strftime('%H:%M:%S')} [{self.count}/{self.total}] done in {seconds:.1f} s: {name}")


class Bars:
    """Two bars: the whole study, and the stage in hand."""

    def __init__(self, progress: Any) -> None:
        self.progress = progress
        self.whole = progress.add_task("study", total=None)
        self.part = progress.add_task("", total=1.0, visible=False)

    def say(self, text: str) -> None:
        self.progress.console.print(printable(text), markup=False, highlight=False)

    def start(self, stages: int) -> None:
        self.progress.update(self.whole, total=stages)

    def stage(self, name: str) -> None:
        self.progress.reset(self.part, total=1.0, description=name, visible=True)

    def tick(self, share: float, text: str) -> None:
        self.progress.update(self.part, completed=share)

    def done(self, name: str, built: bool, seconds: float) -> None:
        self.progress.advance(self.whole)
        self.progress.update(self.part, visible=False)


@contextmanager
def watch(quiet: bool) -> Iterator[Lines | Bars]:
    """Bars where a person looks on, lines where a log does (or `quiet` is asked for)."""
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
