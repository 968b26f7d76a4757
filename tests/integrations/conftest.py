from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from played import serving, write_run

from dormouse.integrations.play.server import Server


@pytest.fixture(scope="package")
def played_run(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    return write_run(tmp_path_factory.mktemp("play") / "run", tiny_model)


@pytest.fixture(scope="package")
def playground(played_run: Path, tiny_model: Path) -> Iterator[Server]:
    with serving(played_run, tiny_model) as server:
        yield server
