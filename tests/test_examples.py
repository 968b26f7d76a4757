"""Every study file that we ship is one that dormouse takes, and can plan."""

from pathlib import Path

import pytest

from dormouse.pipeline.planner import make_plan
from dormouse.records import ModelRef
from dormouse.store import Store
from dormouse.studies.file import read_design

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_an_example_is_read_and_planned(path, tmp_path):
    design = read_design(path)
    base = None if design.study.micro else ModelRef((tmp_path,), "some-model")
    plan = make_plan(design, design.models[0], base, Store(tmp_path))
    assert plan.readings
    keys = [stage.key for stage in plan.stages()]
    assert len(keys) == len(set(keys))
