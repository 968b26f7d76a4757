from __future__ import annotations

import io
import sys

import pytest

from dormouse.progress import Bars, Lines, watch
from dormouse.terminal import printable

HOSTILE = "\x1b]0;evil\x07\x1b[2J[bold]loud[/bold] \u202e"


def inert(text: str) -> bool:
    return "evil" in text and "\x1b]" not in text and "\x07" not in text and "\u202e" not in text


def test_printable_keeps_text_and_shows_the_rest() -> None:
    assert printable("é 漢字 😀\n\tx") == "é 漢字 😀\n\tx"
    assert printable("\x1b\x00\x9b\r\u202e\udcff") == "\\x1b\\x00\\x9b\\x0d\\x202e\\xdcff"


def test_lines_for_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    with watch(quiet=True) as watcher:
        assert isinstance(watcher, Lines)
        watcher.start(2)
        watcher.stage("organism a")
        watcher.tick("organism a", 0.5, "half")
        watcher.done("organism a", 1.25)
        watcher.say(HOSTILE)
    out, err = capsys.readouterr()
    assert out == ""
    assert "begin organism a" in err
    assert "[1/2] done in 1.2 s: organism a" in err
    assert inert(err)


def test_the_next_look_of_a_study_counts_from_its_own_first_stage(capsys: pytest.CaptureFixture[str]) -> None:
    """It said "[2502/1248]": all that was ever done, of what this look has to do."""
    with watch(quiet=True) as watcher:
        for stages in (2, 3):
            watcher.start(stages)
            watcher.done("a", 1.0)
            watcher.done("b", 1.0)
    said = capsys.readouterr().err
    assert [line.split()[1] for line in said.splitlines() if "done in" in line] == ["[1/2]", "[2/2]", "[1/3]", "[2/3]"]


def test_no_bars_in_a_pipe() -> None:
    with watch(quiet=False) as watcher:
        assert isinstance(watcher, Lines)


def test_bars_show_text_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")
    with watch(quiet=False) as watcher:
        assert isinstance(watcher, Bars)
        watcher.start(3)
        watcher.stage("organism [bold]a[/bold]")
        watcher.tick("organism [bold]a[/bold]", 0.5, "half")
        watcher.stage(HOSTILE)
        watcher.say(HOSTILE)
        watcher.progress.refresh()
        watcher.done("organism [bold]a[/bold]", 1.0)
        watcher.start(5)
        assert (watcher.progress.tasks[0].total, watcher.progress.tasks[0].completed) == (5, 0)
    shown = screen.getvalue()
    assert "[bold]loud[/bold]" in shown
    assert "organism [bold]a[/bold]" in shown
    assert inert(shown)
