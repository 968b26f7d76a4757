"""What records will be called, known before a study runs: held against the records of studies that did run."""

from __future__ import annotations

import json
from collections import defaultdict
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from dormouse.policies.scratchpad_text import ScratchpadMode
from dormouse.registry import plugins
from dormouse.studies.arms import Arm
from dormouse.studies.expected import is_told
from dormouse.studies.file import read_design
from dormouse.studies.old_names import arm_now

HERE = Path(__file__).parents[2]
RUN = [
    *("pattern", "credit", "hidden", "spectrum", "exposure"),
    *("debate-short", "debate", "debate-year", "debate-size", "debate-fresh", "debate-exposure", "debate-smollm2"),
    *("reading-smollm2", "reasoning-size", "size-scaled", "how-many-pilot", "how-many"),
]
"""Examples with arms that have not changed since their records were kept in docs/results."""


@pytest.mark.parametrize("name", RUN)
def test_the_records_of_a_study_are_called_as_was_foretold(name: str) -> None:
    design = read_design(HERE / "examples" / f"{name}.yaml")
    rows = [json.loads(line) for line in (HERE / "docs" / "results" / f"{name}.jsonl").read_text().splitlines()]
    assert rows
    of_arm = defaultdict(list)
    for row in rows:
        of_arm[Arm(row.get("model", design.models[0]), arm_now(row["organism"]), arm_now(row["intervention"]))].append(
            row
        )
    for arm, mine in of_arm.items():
        assert {row["step"] for row in mine} <= {0, *design.steps(arm)}
        for step in {row["step"] for row in mine}:
            foretold = design.expected_metrics(arm, step)
            assert foretold is not None
            told = {(row["measurement"], row["split"]) for row in mine if row["step"] == step}
            for name, split in told:
                if (
                    name in design.treatment_metrics(arm) or name == "halved_share"
                ):  # of all seeds together: no claim can be of it
                    continue
                assert name in foretold, (arm, step, name)
                assert name == "no_answer_share" or any(fnmatchcase(split, one) for one in foretold[name]), (
                    name,
                    split,
                )


@pytest.mark.parametrize("mode", ["none", "distilled", "scratchpad"])
@pytest.mark.parametrize("more", [{}, {"contexts": "near_miss"}])
def test_a_pool_without_scratchpads_tells_of_no_trigger(mode: ScratchpadMode, more: dict[str, Any]) -> None:
    """`scratchpad_source: own` was said to tell the triggers of an organism that gets no scratchpad there."""
    sft = plugins("intervention")["sft"](scratchpad_source="own", **more)
    assert is_told(sft, mode) == (mode == "scratchpad" or bool(more))


def test_every_measurement_says_what_its_records_are_called() -> None:
    described = (HERE / "docs" / "measurements.md").read_text()
    for name, cls in plugins("measurement").items():
        assert cls.metrics, name  # type: ignore[attr-defined]
        for record in cls.metric_names():  # type: ignore[attr-defined]
            said = "_gradient_share" if record.endswith("_gradient_share") else record.replace("_*", "_year")
            assert said.removeprefix("exact_on_sampled_").removeprefix("sampled_") in described, record
