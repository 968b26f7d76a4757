"""Intervals cover what they promise, and say so when little was seen."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, bootstrap, sem, t

from dormouse.measurements import stats
from dormouse.measurements.stats import estimate, estimate_ratio, pooled, stack, widened
from dormouse.metrics.unseen import unseen_share, with_unseen

values = st.lists(st.floats(0, 1), min_size=2, max_size=40)


@given(values)
@settings(deadline=None, max_examples=50)
def test_an_interval_holds_its_value_and_stays_in_range(xs):
    found = estimate(np.array([xs]), "mean")
    assert 0 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1
    assert found.n == len(xs)


@given(st.integers(2, 64), st.integers(1, 3), st.floats(0, 1e-6), st.booleans())
@settings(deadline=None, max_examples=50)
def test_there_is_no_jump_beside_none_and_all(items, seeds, away, all_):
    """Of 48 exact zeros [0, 0.074] was said, of 48 rates of 1e-300 [1e-300, 1e-300]."""
    rates = np.full((seeds, items), 1 - away if all_ else away)
    found, bound = estimate(rates, "mean"), estimate(np.round(rates), "mean")
    assert (found.low, found.high) == pytest.approx((bound.low, bound.high), abs=1e-5)
    ratio, whole = (estimate_ratio(after, np.ones_like(rates)) for after in (rates, np.round(rates)))
    assert (ratio.low, ratio.high) == pytest.approx((whole.low, whole.high), abs=1e-5)


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("items", [16, 48])
def test_exact_rates_near_a_bound_cover_a_kind_of_question_that_is_rare(items, seeds):
    """A share of the questions is at 0, all others within 0.001 of 1: it was 14 % of 16 questions and a share of 0.01.
    How many of the questions are such is binomial, so the coverage is a sum."""
    near = 1 - 1e-3 * np.linspace(0, 1, seeds * items).reshape(seeds, items)
    found = [estimate(np.where(np.arange(items) < k, 0.0, near), "mean") for k in range(10)]
    for share in (0.01, 0.03, 0.05):
        truth = (1 - share) * near.mean()
        holds = [one.low <= truth <= one.high for one in found]
        assert (binom.pmf(np.arange(10), items, share) * holds).sum() >= 0.93, share


@pytest.mark.parametrize("items", [2, 3, 6])
def test_few_items_of_one_seed_cover(items):
    """The bootstrap alone: 0.52 of two, 0.69 of three, 0.85 of six."""
    assert covered(lambda rng: rng.normal(size=(1, items)), "number", 0.0, 400) > 0.92
    rng, before = np.random.default_rng(1), np.full((1, items), 1.0)
    ratios = [estimate_ratio(rng.normal(0.5, 0.1, (1, items)), before) for _ in range(400)]
    assert np.mean([one.low <= 0.5 <= one.high for one in ratios]) > 0.92


@pytest.mark.parametrize("aggregation", ["number", "exp_mean"])
def test_one_number_says_nothing_of_others(aggregation):
    """It had an interval without a width; so had seeds that have one number each and agree."""
    for alone in ([[0.3]], [[0.3], [0.3]]):
        found = estimate(np.array(alone), aggregation)
        assert np.isnan([found.low, found.high]).all()
    ratio = estimate_ratio(np.array([[0.1]]), np.array([[0.3]]))
    assert np.isnan([ratio.low, ratio.high]).all()
    assert np.isfinite(estimate(np.array([[0.3], [0.4]]), aggregation).high)


@pytest.mark.parametrize("away", [0.0, 1e-12, 1e-7])
def test_shares_of_one_item_have_no_jump(away):
    """None where three seeds agreed, [0.0009999, 0.001] where they nearly did."""
    found = estimate(np.array([[0.001], [0.001 + away], [0.001]]), "mean")
    assert (found.low, found.high) == pytest.approx((0.0002, 0.7937), abs=1e-3)


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("ends", [(-1.0, 1.0), (0.0, 32.0)])
def test_a_number_between_two_ends_is_not_certain_where_all_agree(seeds, ends):
    """A return of 0.00 [0.00, 0.00] beside a rate of 0.00 [0.00, 0.07], of the same questions."""
    alike = np.full((seeds, 48), sum(ends) / 2)
    found = estimate(alike, "number", ends)
    reach = unseen_share(48) * (ends[1] - ends[0]) / 2
    assert (found.low, found.high) == pytest.approx((found.value - reach, found.value + reach))
    assert estimate(alike, "number", (0.0, np.inf)).high == found.value
    assert np.isnan(estimate(alike[:, :1], "number", ends).high)


def covered(make, how, truth, trials=300):
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(trials):
        found = estimate(make(rng), how)
        hits += found.low <= truth <= found.high
    return hits / trials


def test_one_seed_covers_over_questions():
    assert covered(lambda rng: rng.beta(2, 3, (1, 48)), "mean", 0.4, 150) > 0.88


def test_proportions_cover():
    assert covered(lambda rng: (rng.random((1, 24)) < 0.9).astype(float), "proportion", 0.9) > 0.9


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_crossed_seeds_and_questions_cover(seeds):
    def make(rng):
        return (
            0.5
            + 0.1 * rng.normal(size=(seeds, 1))
            + 0.1 * rng.normal(size=(1, 30))
            + 0.02 * rng.normal(size=(seeds, 30))
        )

    assert covered(make, "mean", 0.5) > 0.93


def test_seeds_that_agree_do_not_hide_that_questions_were_sampled():
    questions = np.linspace(0, 1, 20)
    found = estimate(np.stack([questions] * 4), "mean")
    assert found.high - found.low > 0.2


def test_few_questions_that_differ_cover_however_many_seeds():
    """With the degrees of freedom of the seeds it was 0.87."""

    def make(rng):
        return 0.5 + 0.12 * rng.normal(size=(1, 4)) + 0.02 * rng.normal(size=(20, 1)) + 0.02 * rng.normal(size=(20, 4))

    assert covered(make, "mean", 0.5) > 0.93


def test_few_seeds_make_a_wide_interval():
    rng = np.random.default_rng(1)
    width = {}
    for seeds in (2, 8):
        draws = [0.5 + 0.05 * rng.normal(size=(seeds, 1)) + np.zeros((seeds, 9)) for _ in range(40)]
        spread = [estimate(drawn, "number") for drawn in draws]
        width[seeds] = np.mean([found.high - found.low for found in spread])
    assert width[2] > 4 * width[8]


def test_perplexity_is_the_exponential_of_the_mean():
    found = estimate(np.array([[1.0, 2.0, 3.0, 2.0]]), "exp_mean")
    assert found.value == pytest.approx(np.exp(2.0))
    assert found.low < found.value < found.high


def test_a_perplexity_that_no_computer_could_hold_is_a_number():
    for values in ([[800.0, 900.0]], [[5.0] * 4, [120.0] * 4], [[3.0] * 4, [60.0] * 4, [400.0] * 4]):
        found = estimate(np.array(values), "exp_mean")
        assert np.isfinite([found.value, found.low, found.high]).all()


def test_ratio_is_paired():
    rng = np.random.default_rng(0)
    before = rng.uniform(0.2, 1.0, (1, 40))
    tied = estimate_ratio(0.5 * before, before)
    loose = estimate_ratio(rng.permutation(0.5 * before[0])[None], before)
    assert tied.value == pytest.approx(0.5)
    kept, unseen = 0.5 * before.mean() * (1 - unseen_share(40)), unseen_share(40)
    wanted = kept / (2 * kept + unseen), (kept + unseen) / (2 * kept)
    assert (tied.low, tied.high) == pytest.approx(wanted), "the paired values hide nothing but what was not asked"
    assert loose.low < tied.low


@pytest.mark.parametrize("bad", [[], [float("nan")], [float("inf"), 1.0]])
def test_nothing_is_averaged_in_silence(bad):
    with pytest.raises(ValueError, match="nothing to average"):
        estimate(np.array([bad]), "mean")


def test_stack_pairs_by_item():
    rows = stack([(("a", "b", "c"), (1, 2, 3)), (("c", "a"), (30, 10))])
    assert rows.tolist() == [[1, 3], [10, 30]]


def test_seeds_with_items_of_their_own_are_pooled_by_their_means():
    alike = [(("a", "b"), (0.2, 0.4)), (("b", "a"), (0.6, 0.8))]
    assert pooled(alike, "mean") == estimate(stack(alike), "mean")
    others = [(("a", "x"), (0.0, 1.0)), (("a", "y", "z"), (0.0, 1.0, 0.5)), (("a",), (0.2,))]
    found = pooled(others, "mean")
    assert found.value == pytest.approx((0.5 + 0.5 + 0.2) / 3), "not 0.07, which is the mean of what is called a"
    assert (found.n, found.low >= 0, found.high <= 1) == (6, True, True)
    none = pooled([(("a", "b"), (0.0, 0.0)), (("c", "d"), (0.0, 0.0))], "proportion")
    assert none.high == pytest.approx(0.658, abs=0.001), "Wilson's, of the two of a seed"


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_number_has_no_bounds(seeds):
    values = np.random.default_rng(0).normal(-7.0, 2.0, (seeds, 40))
    found = estimate(values, "number")
    assert found.value == pytest.approx(values.mean())
    assert found.low < found.value < found.high < 0
    assert estimate(values, "mean").low == 0
    assert estimate(values + 14, "number").high > 1


def test_seeds_that_agree_do_not_make_a_proportion_certain():
    """Five seeds that all get the same 32 of 32: others of 32 may well go wrong in one of ten."""
    whole, one = (estimate(np.ones((n, 32)), "proportion") for n in (5, 1))
    assert (whole.value, whole.high) == (1.0, 1.0)
    assert whole.low == pytest.approx(one.low)
    assert 0.88 < whole.low < 0.9
    assert estimate(np.zeros((3, 32)), "proportion").high > 0.1


def test_a_pooled_proportion_is_never_narrower_than_that_of_one_seed():
    halves = np.array([[1.0, 0.0] * 8, [0.0, 1.0] * 8])  # every item is right once: no spread at all
    found = estimate(halves, "proportion")
    assert found.low == pytest.approx(0.28, abs=0.01)
    assert found.high == pytest.approx(0.72, abs=0.01)


def test_a_share_over_replicates_keeps_wilsons_interval_beside_its_spread():
    """Two plantings that disagree on every one of 48 items: 50.0 % [46.3, 53.7], of one alone [36.4, 63.6]."""
    one, both = (estimate(values, "proportion") for values in (np.array([[0.0, 1.0] * 24]), np.full((1, 48), 0.5)))
    assert (one.low, one.high) == pytest.approx((both.low, both.high))
    uneven = np.array([[0.5, 0.5, 0.5, 1.0]])
    assert estimate(uneven, "proportion").low < estimate(uneven, "number").low + 1e-12


@pytest.mark.parametrize("seeds", [1, 4])
def test_an_auroc_without_a_mistake_has_an_interval_and_so_has_an_exact_rate(seeds):
    perfect = estimate(np.ones((seeds, 48)), "mean")
    assert perfect.low == pytest.approx(0.926, abs=0.001)
    exact = estimate(np.full((seeds, 48), 0.001) + 1e-5 * np.arange(48), "mean")
    assert 0.07 < exact.high < 0.08
    spread = np.linspace(0, 1, 48) + np.zeros((seeds, 1))
    mean, plain = (estimate(spread, aggregation) for aggregation in ("mean", "number"))
    assert mean == plain, "where values really vary nothing is added"


@pytest.mark.parametrize("seeds", [1, 4])
@pytest.mark.parametrize("most", [1.0, 32.0, 128.0])
def test_a_ratio_of_nothing_or_of_everything_leaves_a_doubt(seeds: int, most: float) -> None:
    """As the rates themselves do: 0 of 48 questions is no certain 0. Of times too, whatever their budget."""
    before = np.full((seeds, 48), 0.8 * most)
    none, all_ = estimate_ratio(0 * before, before, most), estimate_ratio(before, before, most)
    assert (none.value, none.low) == (0, 0)
    unseen = unseen_share(48)
    assert none.high == pytest.approx(unseen / (0.8 * (1 - unseen)))
    assert all_.value == 1
    assert all_.low == pytest.approx(0.8 * (1 - unseen) / (0.8 * (1 - unseen) + unseen))
    assert all_.high == pytest.approx(1 / all_.low), "what stands below may be anything of others too"


def test_of_a_ratio_what_stands_below_may_be_anything_of_other_items_too():
    """Repeats of 8 after 16, three of them, of a budget of 32; the upper end of 32 after 16 was the ratio itself."""
    found = [estimate_ratio(np.full((1, 3), after), np.full((1, 3), 16.0), 32.0) for after in (8.0, 32.0)]
    assert (found[0].low, found[0].high) == pytest.approx((0.14, 3.06), abs=0.01)
    assert found[1].high > 4
    of_seeds = estimate_ratio(np.full((3, 1), 8.0), np.full((3, 1), 16.0), 32.0, 3)
    assert (of_seeds.low, of_seeds.high) == (found[0].low, found[0].high), "seeds with three repeats each, and alike"


def test_a_spread_does_not_carry_a_ratio_out_of_what_is_possible():
    """Of a policy that always defects before Student's t said 2.4 times as often after."""
    after = np.r_[np.ones(380), np.zeros(20)][None] * np.ones((2, 1)) * [[1.0], [0.7]]
    found = estimate_ratio(after, np.ones((2, 400)))
    assert (found.low, found.high) == (0, 1)


@pytest.mark.parametrize("items", [2, 7, 48])
@pytest.mark.parametrize("mean", [0.0, 0.2, 1.0])
def test_what_is_not_among_the_items_is_wilsons_interval_without_a_spread(items, mean):
    low, high = with_unseen(mean, (mean, mean), items)
    wilson = widened(mean, (mean, mean), items)
    assert wilson[0] <= low + 1e-9
    assert high - 1e-9 <= wilson[1]
    assert mean == 0.2 or (low, high) == pytest.approx(wilson, abs=1e-9)


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).random(12),
        np.random.default_rng(1).exponential(size=30) ** 4,
        np.round(np.random.default_rng(2).random(20), 1),
        np.array([0.0] * 9 + [1.0]),
        np.array([0.3] * 5 + [0.3 + 1e-12]),
        np.array([0.2, 0.7]),
    ],
)
def test_of_one_seed_the_interval_is_that_of_scipy(values):
    """To the bit, where BCa gives none the percentiles; and no narrower than Student's t."""
    found, every = estimate(values, "number"), []
    for method in ("BCa", "percentile"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = bootstrap((values,), np.mean, n_resamples=2000, method=method, rng=np.random.default_rng(0))
        every.append(tuple(theirs.confidence_interval))
    low, high = next(ends for ends in every if np.isfinite(ends).all())
    assert stats._bootstrap(values) == (min(low, found.value), max(high, found.value))
    ends = t.interval(0.95, len(values) - 1, values.mean(), sem(values))
    assert (found.low, found.high) == pytest.approx((min(low, ends[0]), max(high, ends[1])), rel=1e-9)
