"""Every study file that we ship is one that dormouse takes, and can plan."""

from pathlib import Path

import pytest

from dormouse.claims.effects import FEWEST
from dormouse.pipeline.planner import make_plan
from dormouse.records import ModelRef
from dormouse.store import Store
from dormouse.studies.file import read_design
from dormouse.studies.seeds import any_seed

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_an_example_is_read_and_planned(path, tmp_path):
    design = read_design(path)
    base = None if design.study.micro else ModelRef((tmp_path,), "some-model")
    plan = make_plan(design, design.models[0], base, Store(tmp_path))
    assert plan.readings
    keys = [stage.key for stage in plan.stages()]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_an_example_says_where_its_seeds_are_too_few_for_a_verdict(path):
    design = read_design(path)
    head = path.read_text(encoding="utf-8").partition("\nname:")[0]
    few = design.claims and len(any_seed(design.study.seeds)) < FEWEST
    assert bool(few) == ("Since then a verdict takes four" in head)


def test_the_pilot_of_how_many_has_the_arms_of_the_study_and_seeds_of_its_own():
    study, pilot = (read_design(path) for path in EXAMPLES if path.stem in ("how-many", "how-many-pilot"))
    if pilot.study.name == "how-many":
        study, pilot = pilot, study
    for part in ("model", "organisms", "interventions", "cross", "measure"):
        assert getattr(study.study, part) == getattr(pilot.study, part), part
    assert not {*any_seed(study.study.seeds)} & {*any_seed(pilot.study.seeds)}
