"""A signal stops what runs, at a good place, once."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from dormouse import stopping
from dormouse.errors import UserError
from dormouse.stopping import Stopped, held, listening
from dormouse.terminal import ErrorGroup


@pytest.fixture(autouse=True)
def ordinary_signals() -> Iterator[None]:
    """A library that an earlier test used may have taken them."""
    before = {number: signal.getsignal(number) for number in stopping.SIGNALS}
    for number in before:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number, does in before.items():
        signal.signal(number, does)


def send(number: int) -> None:
    # To this thread: one that is sent to the process may come late, by way of another thread, when nobody listens.
    signal.raise_signal(number)


def void(_: object) -> None:
    return None


def stopped(does: Callable[[], None]) -> Stopped:
    """What is raised by something that is listened in on."""
    with pytest.raises(Stopped) as caught, listening():
        does()
    return caught.value


def several(number: int) -> None:
    try:
        send(number)
    finally:
        for _ in range(3):
            send(signal.SIGTERM)
            send(signal.SIGINT)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_is_raised_and_the_next_ones_are_nobodys(number: int, code: int) -> None:
    before = signal.getsignal(number)
    assert stopped(lambda: several(number)).code == code
    assert signal.getsignal(number) == before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_before_a_command_begins_a_signal_ends_the_process_without_a_word(number: int, code: int) -> None:
    """In its first moments Ctrl-C was a traceback."""
    slow = "import sys, time; sys.modules['dormouse.cli'] = None; import dormouse.__main__ as m; \
sys.meta_path.insert(0, type('Slow', (), {'find_spec': lambda *_: print('begun', flush=True) or time.sleep(30)})); \
del sys.modules['dormouse.cli']; m.start()"
    process = subprocess.Popen([sys.executable, "-c", slow], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(number)
    assert process.communicate(timeout=20)[1] == ""
    assert process.returncode == code


def test_a_command_listens_after_that() -> None:
    stopping.leave_at_once()
    assert stopped(lambda: send(signal.SIGTERM)).code == 143
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stopping.leave_at_once()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_what_is_held_is_not_cut_by_the_first() -> None:
    done = []

    def nested() -> None:
        with held():
            with held():
                send(signal.SIGTERM)
                assert stopping.asked()
                done.append("inner")
            done.append("never")

    def impatient() -> None:
        with held():
            send(signal.SIGINT)
            done.append("held")
            send(signal.SIGTERM)
            done.append("never")

    assert str(stopped(nested)) == "SIGTERM"
    assert str(stopped(impatient)) == "Ctrl-C"
    assert done == ["inner", "held"]


def test_what_was_swallowed_is_asked_for_again() -> None:
    def swallow() -> None:
        with suppress(BaseException):
            send(signal.SIGINT)
        stopping.check()

    assert stopped(swallow).code == 130
    with listening():
        stopping.check()


def test_a_signal_while_an_object_is_put_away_is_not_printed_and_asked_for_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python lets nothing through there: it printed a traceback ("Exception ignored in ...") and went on. What is put
    away half closed, after the last word, said so as well."""

    class Dying:
        def __del__(self) -> None:
            send(signal.SIGTERM)

    def put_away() -> None:
        dying = Dying()
        del dying
        stopping.check()

    class Closed:
        def __del__(self) -> None:
            raise OSError(fault, "closed already")

    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    assert stopped(put_away).code == 143
    assert "ignored" not in capsys.readouterr().err
    fault = errno.EBADF
    Closed()
    assert "ignored" not in capsys.readouterr().err
    fault = errno.EIO
    Closed()
    assert "ignored" in capsys.readouterr().err


def test_putting_away_that_takes_too_long_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    monkeypatch.setattr(stopping.os, "_exit", left.append)
    monkeypatch.setattr(stopping, "PATIENCE", -1.0)
    stopped(lambda: several(signal.SIGHUP))
    assert left[0] == 143


def test_signals_of_somebody_else_stay_theirs() -> None:
    theirs = []
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    before = signal.signal(signal.SIGTERM, lambda number, _: theirs.append(number))
    try:
        with listening():
            send(signal.SIGHUP)
            send(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    assert theirs == [signal.SIGTERM]
    ended = []

    def elsewhere() -> None:
        with listening():
            ended.append(1)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert ended, "outside of the main thread nothing is changed, and nothing fails"


def test_a_training_that_is_stopped_leaves_a_resume_point(tiny_model: Path, tmp_path: Path) -> None:
    from dormouse.lm.chat import encode
    from dormouse.lm.load import load
    from dormouse.lm.objectives import sft_loss
    from dormouse.lm.settings import Training
    from dormouse.lm.train import TrainingRun, cycling, train
    from dormouse.records import Example, ModelRef

    example = [Example((("user", "What is glass made of ?"),), "glass is made")]
    how = Training(steps=6, lr=0.01, method="lora", rank=2)

    def run(out: Path, stop_at: int = -1) -> list[tuple[int, float]]:
        lm = load(ModelRef((tiny_model,), "tiny"))
        batches = cycling(encode(lm, example), 1, 0)

        def batch(step: int) -> object:
            if step == stop_at:
                send(signal.SIGTERM)
            return batches(step)

        where = TrainingRun(0, [6], out, resume_in=tmp_path / "resume")
        return train(lm, sft_loss, batch, how, where)

    assert stopped(lambda: void(run(tmp_path / "cut", stop_at=3))).code == 143
    assert list(tmp_path.rglob("point.json"))
    assert list(tmp_path.rglob("state-000004.safetensors")), "the step that was begun is in it"
    resumed = run(tmp_path / "cut")
    (tmp_path / "resume").rename(tmp_path / "other")
    assert resumed == run(tmp_path / "whole")


def test_a_signal_that_a_library_takes_for_a_fault_of_its_own_stops_the_command() -> None:
    """pydantic made an error of it: a plug-in was said to be broken, with exit code 2."""

    @click.group(cls=ErrorGroup)
    def group() -> None:
        pass

    @group.command()
    def command() -> None:
        try:
            send(signal.SIGINT)
        except BaseException as error:
            raise UserError("it cannot be imported", "fix it") from error

    before = {number: signal.getsignal(number) for number in stopping.SIGNALS}
    done = CliRunner().invoke(group, ["command"])
    for number, does in before.items():
        signal.signal(number, does)
    assert done.exit_code == 130
    assert "it cannot be imported" not in done.stderr
