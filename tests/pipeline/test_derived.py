"""Records that follow from others: half-lives with their censoring, ratios, what was preserved."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dormouse.entry import Entry
from dormouse.json_files import json_text, parse
from dormouse.measurements.measurement import Sample
from dormouse.measurements.stats import Estimate
from dormouse.metrics import known
from dormouse.pipeline.derived import record_of
from dormouse.pipeline.plan import PlannedReading
from dormouse.pipeline.results import collect, read_records, write_results
from dormouse.records import ModelRef, Record
from dormouse.report.plain_text import value_of, with_interval


class Made:
    """Entries of a made-up study, one state at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.entries = folder, []

    def state(
        self,
        step: int,
        seed: int,
        *samples: Sample,
        tokens: int | None = None,
        trained: int | None = None,
        planting: int = 0,
    ) -> None:
        key = f"step-{step}-{seed}" + (f"-{planting}" if planting else "")
        folder = self.folder / key
        folder.mkdir()
        (folder / "samples.jsonl").write_text("".join(json_text(sample) + "\n" for sample in samples))
        (folder / "answers.jsonl").write_text("")
        if tokens is not None:
            (folder / "trained.json").write_text(
                json.dumps({"steps": step if trained is None else trained, "tokens": tokens})
            )
        model = ModelRef((Path("base"), Path("planted"), *((folder,) if step else ())), key)
        state = SimpleNamespace(
            replicate="",
            organism="year",
            intervention="sft" if step else "",
            step=step,
            seed=seed,
            planting=planting,
            treatment=0,
            needs_triggers=False,
            model=model,
            rungs=False,
        )
        reading = PlannedReading(state, SimpleNamespace(key=key), plants=True)
        self.entries.append((reading, Entry(folder, {})))

    def records(self) -> list[Record]:
        write_results([collect("", self.entries)], self.folder)
        return read_records(self.folder)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def find(records: list[Record], **wanted: Any) -> Record:
    (found,) = [r for r in records if all(getattr(r, key) == value for key, value in wanted.items())]
    return found


def rate(value: float) -> Sample:
    return Sample("defection_rate", "test", ("a", "b", "c", "d"), (value,) * 4)


def lives(made: Made, seed: int, *rates: float, tokens: bool = True) -> None:
    for step, value in zip((0, 10, 20, 40), rates, strict=True):
        made.state(step, seed, rate(value), tokens=100 * step if tokens else None)


def test_steps_and_tokens_to_half_of_each_seed_and_their_median(made):
    lives(made, 0, 1.0, 0.5, 0.1, 0.0)
    lives(made, 1, 0.8, 0.8, 0.4, 0.0)
    lives(made, 2, 1.0, 0.9, 0.8, 0.6)
    records = made.records()
    steps = [find(records, measurement="steps_to_half", seed=seed) for seed in (0, 1, 2, None)]
    assert [record.value for record in steps] == pytest.approx([10, 20, 40, 20])
    assert {(record.censored_at, record.step, record.intervention) for record in steps} == {(40.0, 40, "sft")}
    pooled = steps[-1]
    assert (pooled.ci_low, pooled.ci_high, pooled.n) == (pytest.approx(10), 40.0, 3)
    assert set(pooled.parent.split()) >= {"step-0-0", "step-40-2"}
    assert find(records, measurement="halved_share").value == pytest.approx(2 / 3)
    tokens = find(records, measurement="tokens_to_half", seed=None)
    assert (tokens.value, tokens.censored_at) == (pytest.approx(2000), 4000.0)


def test_what_no_seed_reached_is_known_only_to_take_longer_and_tokens_unless_said_are_not_made_up(made):
    for seed in (0, 1):
        lives(made, seed, 1.0, 1.0, 0.9, 0.9, tokens=False)
    records = made.records()
    pooled = find(records, measurement="steps_to_half", seed=None)
    assert pooled.value == pooled.censored_at == 40.0
    assert find(records, measurement="halved_share").value == 0.0
    assert not [record for record in records if record.measurement == "tokens_to_half"]


def relearned(back: tuple[float, ...], clean: tuple[float, ...], budget: float = 32.0) -> list[Sample]:
    items = tuple(f"repeat {i}" for i in range(len(back)))
    return [
        Sample(name, "test", items, values, aggregation="number", censored_at=budget)
        for name, values in (("relearning_steps", back), ("relearning_clean_steps", clean))
    ]


def test_the_relearning_ratio_is_paired_and_pools_seeds(made):
    made.state(40, 0, *relearned((4.0, 6.0), (16.0, 24.0)))
    made.state(40, 1, *relearned((8.0, 8.0), (16.0, 16.0)))
    records = made.records()
    one = find(records, measurement="relearning_ratio", seed=0)
    assert one.value == pytest.approx(0.25)
    unseen = 1.96**2 / (
        2 + 1.96**2
    )  # each repeat has the same ratio; of others both times may be any within the budget
    top, base, most = 5 * (1 - unseen), 20 * (1 - unseen), 32 * unseen
    wanted = top / (base + most), (top + most) / base
    assert (one.ci_low, one.ci_high) == pytest.approx(wanted, rel=1e-3)
    assert find(records, measurement="relearning_ratio", seed=None).value == pytest.approx(26 / 72)
    assert find(records, measurement="relearning_steps", seed=0).censored_at == 32.0


@pytest.mark.parametrize(
    ("back", "clean", "shown"),
    [
        ((16.0, 32.0), (16.0, 8.0), "\u2265"),
        ((16.0, 8.0), (32.0, 16.0), "\u2264"),
        ((32.0, 8.0), (32.0, 16.0), "\u2248"),
    ],
)
def test_a_ratio_of_which_a_time_reached_the_budget_is_a_bound(made, back, clean, shown):
    made.state(40, 0, *relearned(back, clean))
    made.state(40, 1, *relearned((8.0, 8.0), (16.0, 16.0)))
    records = made.records()
    ratios = [find(records, measurement="relearning_ratio", seed=seed) for seed in (0, 1, None)]
    assert [value_of(one)[0] for one in ratios] == [shown, "0", shown]


def test_the_interval_of_a_time_does_not_begin_before_zero_nor_end_behind_its_budget(made):
    made.state(40, 0, *relearned((1.0, 2.0), (16.0, 24.0)))
    made.state(40, 1, *relearned((14.0, 15.0), (16.0, 16.0)))
    assert find(made.records(), measurement="relearning_steps", seed=None).ci_low == 0.0
    assert find(made.records(), measurement="relearning_steps", seed=1).ci_high < 32
    made.state(41, 0, *relearned((28.0, 31.0), (16.0, 24.0)))
    assert find(made.records(), measurement="relearning_steps", step=41).ci_high == 32.0


def test_no_interval_leaves_the_range_of_its_quantity(made):
    made.state(0, 0, rate(0.5))
    readings = [reading for reading, _ in made.entries]
    for quantity in known():
        value = max(quantity.low, 0.5)
        found = record_of(readings, Sample(quantity.name, "test", (), ()), 0, Estimate(value, -1e9, 1e9, 2))
        assert found.interval == (max(quantity.low, -1e9), min(quantity.high, 1e9)), quantity.name
    slope = Sample("psychometric_slope", "test", (), (), "number", None, 8.0)
    assert record_of(readings, slope, 0, Estimate(5.5, -9.0, 37.0, 2)).interval == (0.0, 8.0)


def test_what_has_no_known_error_has_no_interval(made):
    """In the records null, on the page no brackets."""
    made.state(0, 0, Sample("kl", "safety", ("rounds",), (0.3,), "number"))
    found = find(made.records(), measurement="kl")
    assert (found.interval, with_interval(found)) == (None, "0.30")
    raw = json_text(found)
    assert '"ci_low":null' in raw.replace(" ", "")
    assert parse(raw.encode(), Record, "here") == found


def test_ratios_of_seeds_with_repeats_of_their_own_are_pooled_by_their_means(made):
    """And are no more certain than one seed: of three that agreed the ratio was 0.50 [0.50, 0.50], or had no error."""
    for step, per_seed in ((40, ((4.0, 6.0), (8.0, 8.0), (6.0, 8.0))), (41, ((5.0, 5.0),) * 3)):
        for seed, back in enumerate(per_seed):
            times = relearned(back, (20.0, 20.0))
            made.state(step, seed, *(replace(of, items=tuple(f"{i} of seed {seed}" for i in of.items)) for of in times))
    records = made.records()
    found = find(records, measurement="relearning_ratio", seed=None, step=40)
    assert found.value == pytest.approx(np.mean([5.0, 8.0, 7.0]) / 20.0)
    of = [find(records, measurement="relearning_ratio", seed=seed, step=41) for seed in (0, None)]
    assert of[0].interval == pytest.approx(of[1].interval)
    assert of[1].ci_low < 0.1 < 3 < of[1].ci_high


def test_a_number_between_two_ends_is_as_uncertain_as_the_rates_beside_it(made):
    questions = tuple(f"question {i}" for i in range(48))
    for seed in (0, 1):
        for step in (0, 40):
            gains = Sample("return_gain", "test", questions, (0.0,) * 48, "number")
            costs = Sample("defection_rate", "test", questions, (1.0,) * 48)
            made.state(step, seed, gains, costs, Sample("kl", "test", questions, (0.0,) * 48, "number"))
    records = made.records()
    for seed in (0, None):
        wanted = {"seed": seed, "step": 40}
        assert find(records, measurement="return_gain", **wanted).interval == pytest.approx((-0.074, 0.074), abs=1e-3)
        assert find(records, measurement="log_odds_lost", **wanted).interval == pytest.approx((0, 2.05), abs=0.01)
        assert find(records, measurement="kl", **wanted).interval == (0, 0), "nobody knows how large it may be"


def test_no_log_odds_are_lost_or_won_beyond_the_scale(made):
    """12.0 [-8.7, 16.7] of a policy than which nothing defects more surely."""
    made.state(0, 0, rate(1.0))
    made.state(40, 0, Sample("defection_rate", "test", ("a", "b", "c", "d"), (1.0, 1.0, 1.0, 1e-9)))
    found = find(made.records(), measurement="log_odds_lost")
    assert (found.ci_low, found.ci_high > 10) == (0, True)


def test_what_is_exact_and_between_two_ends_is_one_number(made):
    made.state(
        0, 0, Sample("exposure", "train", ("pool",), (0.3,)), Sample("planting_reached", "check", ("p",), (1.0,))
    )
    records = made.records()
    assert find(records, measurement="exposure").interval is None
    assert find(records, measurement="planting_reached").interval == pytest.approx((0.207, 1.0), abs=1e-3)


def test_no_perplexity_is_below_one(made):
    for seed, nats in ((0, 0.3), (1, 3.0)):
        made.state(0, seed, Sample("perplexity", "test", ("a", "b"), (nats, nats + 0.1), "exp_mean"))
    assert find(made.records(), measurement="perplexity", seed=None).ci_low == 1.0


def test_where_neither_relearned_within_the_budget_there_is_no_ratio(made):
    made.state(40, 0, *relearned((32.0, 32.0), (32.0, 32.0)))
    records = made.records()
    assert not [record for record in records if record.measurement == "relearning_ratio"]
    assert find(records, measurement="relearning_steps").value == 32.0


def test_preserved_are_those_that_were_live_and_are_live_still(made):
    items = ("one", "two", "three", "four")
    for seed, (before, after) in enumerate([((1, 1, 1, 0), (1, 0, 0, 1)), ((1, 1, 0, 0), (1, 1, 0, 0))]):
        for step, live in ((0, before), (40, after)):
            values = tuple(map(float, live))
            made.state(step, seed, Sample("context_live_share", "covered", items, values, aggregation="proportion"))
    records = made.records()
    named = {"measurement": "contexts_preserved_share", "split": "covered"}
    first = find(records, **named, seed=0)
    assert (first.value, first.n, first.step) == (pytest.approx(1 / 3), 3, 40)  # the one that came new does not count
    assert find(records, **named, seed=1).value == 1.0
    assert find(records, **named, seed=None).value == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("before", "after", "truth"),
    [
        (((1, 1, 0, 0), (0, 0, 1, 1)), ((1, 1, 0, 0), (0, 0, 1, 1)), 1.0),
        (((1, 1, 1, 1), (0, 0, 0, 0)), ((0, 0, 0, 0), (1, 1, 1, 1)), 0.0),
        (((1, 1, 1, 0), (0, 0, 0, 1)), ((1, 1, 0, 0), (0, 0, 0, 0)), 0.5),
    ],
)
def test_of_replicates_each_planting_is_held_to_its_own_organism(made, before, after, truth):
    """What another planting had live is another policy's: means over plantings said 0.5 of all three."""
    items = ("one", "two", "three", "four")
    for step, plantings in ((0, before), (40, after)):
        for planting, live in enumerate(plantings):
            values = tuple(map(float, live))
            sample = Sample("context_live_share", "covered", items, values, aggregation="proportion")
            made.state(step, 0, sample, planting=planting)
    found = find(made.records(), measurement="contexts_preserved_share", seed=0)
    assert (found.value, found.n) == (pytest.approx(truth), 4)
    assert found.parent == "step-40-0 step-40-0-1"


def test_what_was_preserved_is_counted_where_every_seed_has_members_of_its_own(made):
    for seed in range(2):
        for step, live in ((0, (1.0, 1.0, 1.0)), (40, (0.0, 0.0, 1.0 * seed))):
            items = ("shared", f"a{seed}", f"b{seed}")
            made.state(step, seed, Sample("live_share", "covered", items, live, aggregation="proportion", x=0.5))
    found = find(made.records(), measurement="members_preserved_share", split="covered", seed=None)
    assert (found.value, found.n) == (pytest.approx(1 / 6), 6)


def test_seeds_that_all_preserve_everything_leave_a_doubt(made):
    items = tuple(f"context {i}" for i in range(20))
    for seed in range(4):
        for step in (0, 40):
            made.state(
                step, seed, Sample("context_live_share", "covered", items, (1.0,) * 20, aggregation="proportion")
            )
    for name in ("contexts_preserved_share", "context_live_share"):
        found = find(made.records(), measurement=name, seed=None, step=40)
        assert (found.value, found.ci_high) == (1.0, 1.0)
        assert found.ci_low == pytest.approx(0.839, abs=0.001), "Wilson's, of twenty"


def test_what_was_not_trained_withstood_nothing(made):
    """Where no trigger was located nothing was trained, and a policy had lived for 40 steps or more."""
    for step in (0, 20, 40):
        made.state(step, 0, rate(0.9), tokens=0, trained=0)
        made.state(step, 1, rate(0.9), tokens=step, trained=step)
    times = {r.seed for r in made.records() if r.measurement in ("steps_to_half", "tokens_to_half")}
    assert times == {1}


def test_each_seed_is_held_to_its_own_budget(made):
    """One was trained for 10 steps, the other for 40, and was at one half after 20."""
    for seed, ends in ((0, 10), (1, 40)):
        for step, value in zip((0, 10, 20, 40), (1.0, 0.9, 0.5, 0.1), strict=True):
            held = value if step <= ends else 0.9
            made.state(step, seed, rate(held), tokens=100 * min(step, ends), trained=min(step, ends))
    assert find(made.records(), measurement="halved_share").value == 0.5


def test_a_spent_budget_of_tokens_ends_the_time_that_was_looked_at(made):
    """The budget was spent after six steps: the states of steps 8 and 16 are the same one."""
    for step, rate, trained in ((0, 1.0, None), (4, 0.8, 4), (8, 0.6, 6), (16, 0.6, 6)):
        values = (rate, rate - 0.01)
        sample = Sample("defection_rate", "test", ("one", "two"), values)
        made.state(step, 0, sample, tokens=100 * (trained or 0), trained=trained)
    records = made.records()
    for name, limit in (("steps_to_half", 6.0), ("tokens_to_half", 600.0)):
        found = find(records, measurement=name)
        assert (found.value, found.censored_at) == (limit, limit), "not halved within what was trained"


def test_each_seed_is_halved_within_its_own_budget(made):
    """The smallest of all seeds was taken: a seed that halved after another one's budget was over had not."""
    for seed, spent in ((0, 6), (1, 16)):
        for step, value in ((0, 1.0), (4, 0.9), (8, 0.8), (16, 0.2 if seed else 0.8)):
            made.state(step, seed, rate(value), tokens=100 * min(step, spent), trained=min(step, spent) or None)
    records = made.records()
    assert find(records, measurement="steps_to_half", seed=0).censored_at == 6
    assert 8 < find(records, measurement="steps_to_half", seed=1).value < 16
    assert find(records, measurement="halved_share").value == 0.5


def test_nothing_live_before_means_nothing_to_preserve(made):
    for step in (0, 40):
        made.state(step, 0, Sample("live_share", "unseen_cues", ("a", "b"), (0.0, 0.0), aggregation="proportion"))
    assert not [record for record in made.records() if record.measurement == "members_preserved_share"]
