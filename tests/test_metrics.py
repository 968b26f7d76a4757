"""The range of a quantity is written once: every record that is measured has one, and lies in it."""

import json
from math import inf
from pathlib import Path

import pytest

from dormouse.metrics import METRICS, metric

RECORDS = sorted(Path(__file__).parent.parent.glob("docs/results/**/*.jsonl"))


def test_every_number_behind_the_docs_lies_in_the_range_of_its_quantity():
    seen = set()
    for path in RECORDS:
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if "measurement" in row:
                what = metric(row["measurement"])
                assert what.low <= row["value"] <= what.high, (path, row)
                seen.add(row["measurement"])
    assert len(seen) > 40


@pytest.mark.parametrize(
    ("name", "unit", "low", "high"),
    [
        ("task_accuracy", "share", 0, 1),
        ("reward_accuracy", "share", 0, 1),
        ("defection_by_year", "share", 0, 1),
        ("live_share", "share", 0, 1),
        ("carry_over_auroc", "auroc", 0, 1),
        ("gradient_cosine", "number", -1, 1),
        ("merge_gap", "number", -1, 1),
        ("perplexity", "number", 0, inf),
        ("reward", "number", -inf, inf),
        ("of_a_plug_in", "number", -inf, inf),
        ("jailbreak_rate", "share", 0, 1),
    ],
)
def test_units_and_ranges(name, unit, low, high):
    found = metric(name)
    assert (found.unit, found.low, found.high) == (unit, low, high)


def test_no_pattern_stands_behind_one_that_hides_it():
    names = [pattern.replace("*", "x") for pattern, _ in METRICS]
    assert all(metric(name) is known for name, (_, known) in zip(names, METRICS, strict=True))
