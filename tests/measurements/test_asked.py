"""Which measurements a study takes: all that apply and cost little, those that it names alone, those it names too."""

from __future__ import annotations

from pathlib import Path

import pytest

from dormouse.errors import UserError
from dormouse.pipeline.plan import Plan
from dormouse.pipeline.planner import make_plan
from dormouse.records import ModelRef
from dormouse.store import Store
from dormouse.studies.file import parse_design

COSTLY = {"accuracy", "relearning", "return", "credit", "merged"}


def plan(study_text: str, tmp_path: Path, measure: str) -> Plan:
    text = study_text.replace("measure: {", f"measure: {{{measure}")
    design = parse_design(text)
    return make_plan(design, design.models[0], ModelRef((Path("tiny"),), "tiny"), Store(tmp_path))


def taken(plan: Plan) -> set[str]:
    return {r.stage.name.split(" of ")[0] for r in plan.readings if r.stage.kind == "measure"}


def test_what_costs_much_is_taken_only_where_it_is_asked_for(study_text, tmp_path):
    unasked = taken(plan(study_text, tmp_path, ""))
    assert not unasked & COSTLY
    assert {"defection", "perplexity"} <= unasked
    assert taken(plan(study_text, tmp_path, "also: [relearning, credit], ")) == unasked | {"relearning", "credit"}
    assert taken(plan(study_text, tmp_path, "only: [defection], also: [merged], ")) == {"defection", "merged"}


def test_asking_for_more_measures_nothing_again(study_text, tmp_path):
    less, more = (plan(study_text, tmp_path, asked) for asked in ("", "also: [relearning], "))
    assert {r.stage.key for r in less.readings} < {r.stage.key for r in more.readings}


def test_an_unknown_name_is_named_with_its_line(study_text, tmp_path):
    with pytest.raises(UserError, match=r"line 10: measure\.also: there is no measurement called 'relearnig'; did you"):
        plan(study_text, tmp_path, "also: [relearnig], ")
