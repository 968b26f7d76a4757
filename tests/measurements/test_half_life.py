"""When a rate halves, and what is said where it does not within the budget."""

import numpy as np
import pytest

from dormouse.measurements.half_life import crossing, half_life, median_time


@pytest.mark.parametrize(
    ("values", "level", "rising", "found"),
    [
        ((1.0, 0.9, 0.5, 0.1), 0.5, False, 20.0),
        ((1.0, 1.0, 0.0, 0.0), 0.5, False, np.sqrt(11 * 21) - 1),  # half way between 10 and 20, over log(1 + step)
        ((0.4, 0.4, 0.4, 0.4), 0.5, False, 0.0),
        ((1.0, 0.9, 0.8, 0.51), 0.5, False, None),
        ((1.0, 0.4, 0.9, 0.9), 0.5, False, np.expm1(np.log(11) * 5 / 6)),  # the first time counts
        ((0.0, 0.2, 0.5, 1.0), 0.5, True, 20.0),
        ((0.0, 0.0, 0.0, 0.4), 0.5, True, None),
    ],
)
def test_the_first_crossing(values, level, rising, found):
    at = crossing((0, 10, 20, 40), values, level, rising)
    assert at is None if found is None else at == pytest.approx(found)


def test_the_half_life_of_one_model_has_an_interval_over_questions():
    rng = np.random.default_rng(1)
    falls = np.array([[1.0], [0.8], [0.45], [0.1]]) * rng.uniform(0.7, 1.0, size=(1, 40))
    falls[1:] += rng.normal(0, 0.05, size=(3, 40))
    found = half_life((0, 10, 20, 40), falls)
    assert 10 < found.low < found.value < found.high < 40
    assert found.n == 40


def test_a_rate_that_stays_is_at_the_limit_and_one_that_nearly_stays_may_be():
    stays = np.full((3, 10), 0.9)
    assert half_life((0, 10, 40), stays).low == 40.0
    nearly = np.vstack([np.ones(10), np.ones(10), [0.0] * 5 + [0.96] * 5])
    found = half_life((0, 10, 40), nearly)
    assert found.value < 40.0
    assert found.high == 40.0


def test_a_policy_that_never_was_has_no_half_life():
    with pytest.raises(ValueError, match="cannot halve"):
        half_life((0, 10), np.zeros((2, 4)))


@pytest.mark.parametrize(
    ("times", "median", "low", "high"),
    [
        ((3, 5, 8), 5, 3, 8),
        ((3, 40, 40), 40, 3, 40),  # less than half got there: the median is the limit or more
        ((3, 5, 8, 40, 40), 8, 3, 40),  # leaving out the censored ones would say 5
        ((40, 40, 40), 40, 40, 40),
        ((1, 2, 3, 4), 2, 1, 4),  # the lower one of an even number
        ((1, 2, 40, 40), 2, 1, 40),  # half got there
        ((1, 2, 3, 4, 5, 6, 7, 8, 9), 5, 2, 8),  # 96 % by the binomial distribution
    ],
)
def test_the_median_over_seeds_keeps_the_censored_ones(times, median, low, high):
    found = median_time(times, 40)
    assert (found.value, found.low, found.high, found.n) == (median, low, high, len(times))


def test_with_many_seeds_the_interval_holds_the_median_as_often_as_it_says():
    rng = np.random.default_rng(0)
    draws = rng.exponential(20, size=(400, 12))  # the median is 20 ln 2, and a tenth is censored at 46
    hits = [found.low <= 20 * np.log(2) <= found.high for found in (median_time(draw, 46.0) for draw in draws)]
    assert 0.93 <= np.mean(hits) <= 0.99
