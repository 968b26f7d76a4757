"""Where commands write what they are asked for."""

import errno
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from dormouse import outputs
from dormouse.cli import main
from dormouse.errors import UserError
from dormouse.outputs import fresh
from dormouse.store import Store


@pytest.mark.parametrize("seen", [True, False])
def test_of_two_that_write_one_folder_the_first_stays(tmp_path, monkeypatch, seen):
    """Whether the second sees that it is late, or only the system does."""
    out = tmp_path / "out"

    def put(name, meanwhile=lambda: None):
        with fresh(out) as scratch:
            scratch.mkdir()
            (scratch / name).touch()
            meanwhile()
            if not seen:
                monkeypatch.setattr(outputs, "refuse_old", lambda _: None)

    with pytest.raises(UserError, match="out is there already"):
        put("second", lambda: put("first"))
    assert [path.name for path in out.iterdir()] == ["first"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("file", "number", "is_ours"),
    [
        ("/in/model.safetensors", errno.ENOENT, False),
        (None, errno.ENOENT, False),
        (None, errno.ENOSPC, True),
        ("{scratch}/weights", errno.EIO, True),
        ("{above}", errno.EACCES, True),
    ],
)
def test_what_cannot_be_read_is_no_fault_of_the_output(tmp_path, file, number, is_ours):
    """It said that the output cannot be written, of weights that were not there to be read."""

    def work():
        with fresh(tmp_path / "out") as scratch:
            named = file and file.format(scratch=scratch, above=tmp_path)
            raise ValueError("the weights are gone") from OSError(number, os.strerror(number), named)

    with pytest.raises(UserError if is_ours else ValueError) as caught:
        work()
    assert ("out cannot be written" in str(caught.value)) is is_ours


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """As `models/NAME/weights` of a run: a link into an entry."""

    def fill(folder: Path) -> None:
        (folder / "model").mkdir()
        (folder / "model" / "file").write_text("x")

    entry = Store(tmp_path / "store").get("organism", "0a" * 16, {}, fill)[0]
    (tmp_path / "weights").symlink_to(entry / "model")
    return tmp_path / "weights"


@pytest.mark.parametrize(
    "command",
    [
        "new {}/s.yaml",
        "run STUDY --out {}/runs/x",
        "run STUDY --store {}/store",
        "audit . --out {}/audits/a",
        "audit .",
        "bench audit --out {}/deep/er/bench",
        "results RUN --csv {}/r.csv",
        "results RUN --dataset {}/../d",
        "export MODEL {}/merged",
    ],
)
def test_nothing_is_written_beside_the_weights_in_the_store(
    command: str, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The entry counted as damaged: it was set aside, with what the user had written there, and made anew."""
    study = Path(__file__).parents[1] / "examples" / "quickstart.yaml"
    monkeypatch.setattr("dormouse.export.read_card", lambda folder: None)
    monkeypatch.chdir(weights if command == "audit ." else tmp_path)
    before = sorted(tmp_path.rglob("*"))
    words = [word.format(weights).replace("STUDY", str(study)) for word in command.split()]
    done = CliRunner().invoke(main, words)
    assert (done.exit_code, f"would lie in the store {tmp_path / 'store'}" in done.stderr) == (2, True), done.output
    assert sorted(tmp_path.rglob("*")) == before
