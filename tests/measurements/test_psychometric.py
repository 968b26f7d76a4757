"""The fit finds the curve that made the data; placements of groups that differ in size give the AUROC."""

import itertools

import numpy as np
import pytest
from scipy.special import expit

from dormouse.measurements import psychometric
from dormouse.measurements.psychometric import STRONGEST, _bins, _fit, _jackknife, _placements
from dormouse.measurements.stats import estimate


@pytest.mark.parametrize(("threshold", "slope"), [(0.0, 1.0), (1.5, 0.6), (-2.0, 3.0)])
def test_the_fit_finds_threshold_and_slope(threshold, slope):
    odds = np.linspace(-6, 6, 60)
    assert _fit(odds, expit(slope * (odds - threshold))) == pytest.approx((threshold, slope), abs=1e-3)


def test_a_step_is_as_steep_as_the_bound_says():
    odds = np.linspace(-6, 6, 60)
    threshold, slope = _fit(odds, (odds > 1).astype(float))
    assert 0.8 < threshold < 1.2
    assert slope == pytest.approx(STRONGEST)


@pytest.mark.parametrize(("threshold", "slope", "noise"), [(0.5, 1.2, 0.1), (0.0, 2.0, 0.05)])
def test_the_jackknife_covers_the_truth(threshold, slope, noise):
    """Of slopes too that few questions see the change of."""
    rng, hits = np.random.default_rng(0), np.zeros(2)
    for _ in range(16):
        odds = rng.integers(-5, 5, 30) + 0.5
        found = expit(slope * (odds - threshold)) + rng.normal(0, noise, 30)
        hits += np.abs(np.array(_fit(odds, found)) - (threshold, slope)) <= _jackknife(odds, found)
    assert hits.min() >= 14


def bounds(values):
    found = estimate(np.array(values), "number")
    return found.low, found.high


@pytest.mark.parametrize("n", [2, 4, 16])
def test_values_of_few_questions_reach_as_far_as_the_fit_says(n):
    assert bounds(psychometric._scattered(3.0, 0.7, np.linspace(0, 1, n))) == pytest.approx((2.3, 3.7))


@pytest.mark.parametrize("end", [0.0, 0.001])
def test_of_a_perfect_policy_the_threshold_is_the_gap(end):
    """The fit ran into its bound: thresholds a third of a nat away with next to no interval, slopes above the bound."""
    for seed in range(8):
        odds = np.random.default_rng(seed).integers(-6, 6, 48) + 0.5
        thresholds, slopes = psychometric._curve(odds, np.clip(odds > 0, end, 1 - end))
        assert np.mean(thresholds) == pytest.approx(0)
        assert bounds(thresholds) == pytest.approx((-0.5, 0.5), abs=0.08)
        assert set(slopes) == {STRONGEST}


def test_of_a_wide_step_nobody_knows_the_slope():
    odds = np.array([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0])
    assert psychometric._curve(odds, (odds > 0).astype(float))[1] == ()


def test_a_mistake_next_to_a_step_leaves_values_within_the_bounds_of_the_fit():
    odds = np.arange(-12, 12) + 0.5
    found = (odds > 0).astype(float)
    found[11] = 0.6
    thresholds, slopes = psychometric._curve(odds, found)
    assert -1.5 < np.mean(thresholds) < 0.5
    assert 0 < np.mean(slopes) <= STRONGEST


@pytest.mark.parametrize("found", [np.zeros(12), np.ones(12), np.full(12, 0.3), np.linspace(1, 0, 12)])
def test_a_model_without_the_policy_breaks_no_fit(found):
    assert np.isfinite(_jackknife(np.linspace(-3, 3, 12), found)).all()


@pytest.mark.parametrize("n", [2, 3, 4, 16])
@pytest.mark.parametrize("all_defect", [False, True])
def test_a_threshold_at_its_bound_breaks_no_fit_without_the_question_that_the_bound_is_from(n, all_defect):
    """One question has the largest odds: without it the bound is nearer than the threshold from which it goes on."""
    odds = np.append(np.random.default_rng(n).normal(0, 2, n - 1), 9.0)
    rare = 10 ** np.random.default_rng(0).uniform(-4, -2, n)
    assert psychometric._curve(odds, 1 - rare if all_defect else rare)[0] == ()


@pytest.mark.parametrize("rate", [1e-4, 0.01, 0.999])
def test_where_all_defect_or_none_there_is_no_curve(rate):
    """The bounds of the fit stood there as threshold and slope, with narrow intervals."""
    odds, rng = np.linspace(-8.5, 8.5, 48), np.random.default_rng(0)
    assert psychometric._curve(odds, rate * np.exp(rng.normal(0, 0.05, 48)).clip(max=1.0)) == ((), ())


def test_a_flat_curve_has_a_slope_and_no_threshold():
    odds, rng = np.linspace(-8.5, 8.5, 48), np.random.default_rng(0)
    thresholds, slopes = psychometric._curve(odds, 0.3 + rng.normal(0, 0.02, 48))
    assert thresholds == ()
    assert abs(np.mean(slopes)) < 0.1
    thresholds, slopes = psychometric._curve(odds, expit(1.5 * (odds - 2)))
    assert (np.mean(thresholds), np.mean(slopes)) == pytest.approx((2, 1.5), rel=0.01)


def test_bins_lie_where_they_lie_for_every_seed():
    """Each at its middle, so that one curve can be drawn of several policies."""
    assert psychometric.middles(np.array([-3.0, -0.1, 0.0, 0.1, 2.0, 2.1]), 2.0).tolist() == [-3, -1, -1, 1, 1, 3]


def test_placements_of_unequal_groups_give_the_auroc_and_delongs_variance():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(1)
    defects = np.arange(50) < 12
    found = (rng.normal(size=50) + defects).round(1)
    values = np.array(_placements(found, defects))
    assert values.mean() == pytest.approx(roc_auc_score(defects, found))
    wins = np.array([[(x > y) + 0.5 * (x == y) for y in found[~defects]] for x in found[defects]])
    variance = wins.mean(axis=1).var(ddof=1) / 12 + wins.mean(axis=0).var(ddof=1) / 38
    assert values.var(ddof=1) / 50 == pytest.approx(variance)


@pytest.mark.parametrize("n", [4, 5, 48, 200])
def test_equal_odds_share_a_bin_and_every_item_has_one(n):
    odds = np.random.default_rng(n).integers(-6, 7, n) * 0.5
    bins = _bins(odds)
    assert sorted(np.concatenate(bins)) == list(range(n))
    means = [odds[bin_].mean() for bin_ in bins]
    assert means == sorted(set(means))
    assert not any(set(a) & set(b) for a, b in itertools.pairwise([list(odds[bin_]) for bin_ in bins]))
    assert len(_bins(np.arange(float(n)))) == min(10, n // 2)
