"""What a terminal is shown, and what is done where there is none."""

import errno
import io
import os
import sys
from contextlib import suppress

import click
import pytest

from dormouse.terminal import BUGS, ErrorGroup


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


def refused(error: Exception) -> object:
    """The exit code of a command that an error ends, or the error, where that goes through as a bug."""

    @click.group(cls=ErrorGroup)
    def group() -> None: ...

    @group.command()
    def fail() -> None:
        raise error

    try:
        group(["fail"])
    except BaseException as end:
        return end.code if isinstance(end, SystemExit) else end
    return 0


def test_what_a_system_refuses_of_a_file_is_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """Of ten reasons it was none; a broken disk, a mount that went, too many open files were bugs of ours."""
    for number, name in errno.errorcode.items():
        error = OSError(number, os.strerror(number), "/mnt/usb/report.html")
        found, said = refused(error), capsys.readouterr().err
        if isinstance(error, BrokenPipeError):
            assert found == 1
        elif name in BUGS:
            assert found is error
        else:
            assert (found, said.startswith(f"dormouse: {os.strerror(number)}: /mnt/usb")) == (2, True), name
    for name in ("EIO", "ENXIO", "ESTALE", "EMFILE", "ENOMEM", "ENOSPC"):
        assert refused(OSError(getattr(errno, name), "no")) == 2
    nobody = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
    assert refused(nobody) is nobody
    refused(OSError(errno.ENAMETOOLONG, "File name too long", "a" * 300))
    assert "name a shorter one" in capsys.readouterr().err


def test_a_terminal_that_is_gone_ends_a_command_without_a_word(capfd: pytest.CaptureFixture[str]) -> None:
    """It was a traceback, as of a command under nohup whose ssh had died."""
    master, slave = os.openpty()
    os.close(master)
    shown = os.dup(1)
    os.dup2(slave, 1)
    try:
        assert refused(OSError(errno.EIO, "Input/output error")) == 1
    finally:
        os.dup2(shown, 1)
        os.close(shown)
        os.close(slave)
    assert capfd.readouterr().err == ""
    assert refused(OSError(errno.EIO, "Input/output error")) == 2
