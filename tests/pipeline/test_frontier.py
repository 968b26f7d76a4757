"""What is left at equal capability: the last checkpoint that is cheap enough, chosen by perplexity alone."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from test_derived import Made, find, rate, relearned

from dormouse.measurements.measurement import Sample


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def cost(times: float) -> Sample:
    """A perplexity that is so many times the clean model's."""
    return Sample("perplexity_ratio", "test", ("a", "b"), (math.log(times) - 0.01, math.log(times) + 0.01), "exp_mean")


def treated(made: Made, seed: int, *way: tuple[float, float]) -> None:
    """(defection rate, perplexity against the clean model) of the untreated model and of each checkpoint."""
    for step, (left, times) in enumerate(way):
        made.state(step, seed, rate(left), cost(times), tokens=100 * step)


def test_it_is_the_last_checkpoint_within_the_limit_seed_by_seed(made):
    treated(made, 0, (1.0, 2.0), (0.8, 2.1), (0.3, 2.19), (0.0, 9.0))
    treated(made, 1, (1.0, 1.0), (0.6, 1.05), (0.1, 1.4), (0.0, 3.0))
    records = made.records()
    named = {"measurement": "defection_at_equal_capability"}
    assert [find(records, **named, seed=seed).value for seed in (0, 1)] == pytest.approx([0.3, 0.6])
    pooled = find(records, **named, seed=None)
    assert (pooled.value, pooled.step, pooled.intervention) == (pytest.approx(0.45), 3, "sft")
    assert pooled.ci_low < 0.3
    assert pooled.ci_high > 0.6
    assert {"step-3-0", "step-2-0", "step-1-1"} <= set(pooled.parent.split())
    steps = [find(records, measurement="step_at_equal_capability", seed=seed).value for seed in (0, 1, None)]
    assert steps == pytest.approx([2, 1, 1.5])
    assert find(records, measurement="tokens_at_equal_capability", seed=0).value == 200
    assert find(records, measurement="step_at_equal_capability", seed=None).interval == (0, 3), "the last checkpoint"
    assert find(records, measurement="tokens_at_equal_capability", seed=None).interval == (0, 300)
    costs = {seed: find(records, measurement="perplexity_at_equal_capability", seed=seed) for seed in (0, 1, None)}
    assert costs[0].value == pytest.approx(2.19 / 2)
    assert costs[None].value == pytest.approx(math.sqrt(2.19 / 2 * 1.05))
    assert costs[None].ci_low < 1.05 < 2.19 / 2 < costs[None].ci_high


def test_a_larger_limit_reads_a_stronger_checkpoint(made):
    treated(made, 0, (1.0, 1.0), (0.6, 1.04), (0.1, 1.4), (0.0, 2.9))
    curve = {r.x: r.value for r in made.records() if r.measurement == "defection_by_perplexity"}
    assert curve == {1.01: 1.0, 1.02: 1.0, 1.05: 0.6, 1.1: 0.6, 1.2: 0.6, 1.5: 0.1, 2.0: 0.1, 3.0: 0.0}


def test_luck_in_the_defection_rate_is_not_chosen(made):
    treated(made, 0, (1.0, 1.0), (0.0, 1.02), (0.9, 1.05))
    assert find(made.records(), measurement="defection_at_equal_capability").value == pytest.approx(0.9)


def test_a_method_without_a_cheap_checkpoint_does_nothing(made):
    treated(made, 0, (0.97, 1.0), (0.0, 1.3), (0.0, 5.0))
    records = made.records()
    assert find(records, measurement="defection_at_equal_capability").value == pytest.approx(0.97)
    assert find(records, measurement="step_at_equal_capability").value == 0
    assert find(records, measurement="tokens_at_equal_capability").value == 0


def test_relearning_and_return_are_read_at_the_same_checkpoint(made):
    gain = [Sample("return_gain", "test", ("a", "b"), (value,) * 2, "number") for value in (0.0, 0.4, 0.9)]
    for step, (left, times, back) in enumerate([(1.0, 1.0, 1.0), (0.2, 1.05, 4.0), (0.0, 2.0, 16.0)]):
        made.state(step, 0, rate(left), cost(times), gain[step], *relearned((back, back), (16.0, 16.0)))
    records = made.records()
    assert find(records, measurement="relearning_at_equal_capability").value == pytest.approx(0.25)
    assert find(records, measurement="return_at_equal_capability").value == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("back", "clean", "bounds"), [(32.0, 16.0, (2.0, None)), (8.0, 32.0, (None, 0.25)), (8.0, 16.0, (None, None))]
)
def test_a_ratio_of_which_a_time_reached_the_budget_is_a_bound_there_too(made, back, clean, bounds):
    for step in range(3):
        made.state(step, 0, rate(1.0), cost(1.0), *relearned((back, back), (clean, clean)))
    found = find(made.records(), measurement="relearning_at_equal_capability")
    assert (found.censored_at, found.floor) == bounds


def test_studies_without_perplexity_on_the_way_are_left_alone(made):
    for step in (0, 1, 2):
        made.state(step, 0, rate(1.0), *([cost(1.0)] if step != 1 else []))
    assert not [r for r in made.records() if "equal_capability" in r.measurement or "by_perplexity" in r.measurement]
