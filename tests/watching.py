"""A watcher for the tests that run stages or studies."""

from __future__ import annotations


class Told:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.done_: list[str] = []
        self.failed_: list[str] = []
        self.said: list[str] = []
        self.ticks = 0

    def say(self, text: str) -> None:
        self.said.append(text)

    def start(self, stages: int) -> None: ...
    def stage(self, name: str) -> None: ...
    def tick(self, name: str, share: float, text: str) -> None:
        self.ticks += 1

    def done(self, name: str, seconds: float) -> None:
        self.done_.append(name)

    def failed(self, name: str, why: str) -> None:
        self.failed_.append(name)
