"""One planted model for all that is tried on it: nothing here changes its folder."""

from pathlib import Path

import planted
import pytest

from dormouse.records import ModelRef


@pytest.fixture(scope="session")
def planted_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return planted.plant(tiny_model, tmp_path_factory.mktemp("planted"))
