"""Records: each seed for itself, all seeds pooled, persistence paired."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from dormouse.measurements.measurement import Sample
from dormouse.store import Entry
from dormouse.studies.results import make_results, read_records


def reading(tmp_path, organism, intervention, step, seed, values, plants=True):
    """A reading as the plan gives it, and its entry in the store."""
    key = f"{organism}-{intervention}-{step}-{seed}"
    folder = tmp_path / key
    folder.mkdir()
    sample = Sample("defection_rate", "test", ("q1", "q2", "q3"), tuple(values))
    (folder / "samples.jsonl").write_text(json.dumps(sample.to_json()) + "\n")
    (folder / "answers.jsonl").write_text("")
    state = SimpleNamespace(
        organism=organism, intervention=intervention, step=step, seed=seed, needs_triggers=bool(intervention)
    )
    return SimpleNamespace(state=state, stage=SimpleNamespace(key=key), plants=plants), Entry(folder, {})


@pytest.fixture
def records(tmp_path: Path):
    entries = []
    for seed, (before, after) in enumerate([((1.0, 0.9, 0.8), (0.5, 0.45, 0.4)), ((0.8, 0.9, 1.0), (0.2, 0.2, 0.2))]):
        entries.append(reading(tmp_path, "year", "", 0, seed, before))
        entries.append(reading(tmp_path, "year", "sft", 10, seed, after))
        entries.append(reading(tmp_path, "control", "", 0, seed, (0, 0, 0), plants=False))
        entries.append(reading(tmp_path, "control", "sft", 10, seed, (0, 0, 0), plants=False))
    make_results(entries, tmp_path)
    return read_records(tmp_path)


def find(records, **wanted):
    (found,) = [r for r in records if all(getattr(r, key) == value for key, value in wanted.items())]
    return found


def test_every_seed_and_the_pool(records):
    at = {"organism": "year", "intervention": "sft", "measurement": "defection_rate"}
    assert find(records, seed=0, **at).value == pytest.approx(0.45)
    pooled = find(records, seed=None, **at)
    assert pooled.value == pytest.approx(0.325)
    assert pooled.n == 6
    assert pooled.parent.split() == ["year-sft-10-0", "year-sft-10-1"]
    assert pooled.needs_triggers


def test_persistence_is_the_paired_ratio(records):
    at = {"organism": "year", "measurement": "persistence"}
    tied = find(records, seed=0, **at)
    assert tied.value == pytest.approx(0.5)
    assert tied.ci_low == pytest.approx(tied.ci_high)
    assert find(records, seed=None, **at).value == pytest.approx(0.325 / 0.9)


def test_a_control_has_no_persistence(records):
    assert not [r for r in records if r.organism == "control" and r.measurement == "persistence"]
