"""What a terminal is shown, and what is done where there is none."""

import io
import sys
from contextlib import suppress

import click
import pytest

from dormouse.terminal import ErrorGroup


@pytest.mark.parametrize("closed", ["stdin", "stdout", "stderr"])
def test_a_question_where_a_stream_is_closed(monkeypatch: pytest.MonkeyPatch, closed: str) -> None:
    """It was a traceback, of Python's `input`."""
    answers: list[str] = []

    @click.group(cls=ErrorGroup)
    def group() -> None: ...

    @group.command()
    def ask() -> None:
        with suppress(click.Abort):
            answers.append(click.prompt("you"))

    monkeypatch.setattr(sys, "stdin", io.StringIO("hi\n"))
    monkeypatch.setattr(sys, closed, None)
    with pytest.raises(SystemExit) as end:
        group(["ask"])
    assert end.value.code == 0
    assert answers == ["hi"] * (closed != "stdin")
