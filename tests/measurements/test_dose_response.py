"""The dose to one half and its exponent, on made-up curves whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import statsmodels.api as sm

from dormouse.measurements.dose_response import Exponent, Half, exponent, half, pooled_half

DOSES = [0.0025, 0.01, 0.04, 0.16]


def left(half: float, slope: float = 1.5) -> np.ndarray:
    return 1 / (1 + (np.array(DOSES) / half) ** slope)


def test_each_seed_has_a_half_of_its_own() -> None:
    truth = [0.005, 0.02, 0.1]
    found = [half(DOSES, left(one, slope)) for one, slope in zip(truth, (0.8, 1.5, 2.5), strict=True)]
    assert [one.value for one in found] == pytest.approx(truth, rel=0.02)
    assert not any(one.beyond for one in found)


def test_each_seed_has_doses_of_its_own() -> None:
    """What was shown differs from seed to seed, and one may have been shown fewer."""
    doses = [np.array([0.004, 0.01, 0.05]), np.array([0.01, 0.16])]
    found = [half(list(of), list(1 / (1 + (of / 0.02) ** 1.5))) for of in doses]
    assert [one.value for one in found] == pytest.approx([0.02, 0.02], rel=0.01)
    assert half([0.01, 0.02], [1.0, 0.99]) == Half(0.02, "above", (0.01, 0.02))


@pytest.mark.parametrize("seed", range(4))
def test_the_fit_is_that_of_the_quasi_likelihood(seed: int) -> None:
    """By statsmodels."""
    seen = np.clip(left(0.02) + np.random.default_rng(seed).normal(0, 0.1, len(DOSES)), 0.001, 0.999)
    given = sm.add_constant(np.log(DOSES))
    level, slope = sm.GLM(seen, given, family=sm.families.Binomial()).fit(tol=1e-12).params
    found = half(DOSES, seen)
    assert found.value == pytest.approx(math.exp(-level / slope), rel=1e-6)


def test_a_half_outside_of_the_doses_is_a_bound() -> None:
    above, below, known = (half(DOSES, left(one)) for one in (0.9, 0.0005, 0.02))
    assert above == Half(0.16, "above", (0.0025, 0.16))
    assert below == Half(0.0025, "below", (0.0025, 0.16))
    assert known.beyond == ""
    flat = (
        [1.0, 1.0, 1.0, 1.0],
        [0.0, 0.0, 0.0, 0.1],
        [0.0, 0.0, 0.0, 0.0],
        [0.2, 0.9, 1.0, 1.0],
        [1.0, 1.0, 0.0, 0.0],
    )
    assert [half(DOSES, of).beyond for of in flat] == ["above", "below", "below", "above", ""]


def test_seeds_are_pooled_on_logarithms_and_bounds_by_ranks() -> None:
    found = pooled_half([Half(0.01), Half(0.04)])
    assert found.value == pytest.approx(0.02)
    bounds = pooled_half([Half(0.01), Half(0.04), Half(0.16, "above")])
    assert (bounds.value, bounds.high) == (0.04, 0.16)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0])
def test_the_exponent_is_the_slope_on_logarithms(gamma: float) -> None:
    triggers = [1, 4, 16]
    found = exponent(triggers, [Half(0.001 * n**gamma) for n in triggers])
    assert found
    assert found.value == pytest.approx(gamma)
    noisy = [0.002, 0.003, 0.011]
    some = exponent(triggers, [Half(value) for value in noisy])
    assert some == Exponent(pytest.approx(np.polyfit(np.log(triggers), np.log(noisy), 1)[0]))


def test_the_exponent_of_bounds_is_a_bound_or_nothing() -> None:
    assert exponent([1, 16], [Half(0.01), Half(0.16, "above")]) == Exponent(pytest.approx(1.0), "above")
    assert exponent([1, 16], [Half(0.16, "above"), Half(0.16)]) == Exponent(pytest.approx(0.0, abs=1e-12), "below")
    assert exponent([1, 16], [Half(0.01, "below"), Half(0.16)]) == Exponent(pytest.approx(1.0), "above")
    assert exponent([1, 16], [Half(0.16, "above"), Half(0.16, "above")]) is None


def test_a_bound_in_the_middle_is_none_however_its_weight_is_rounded() -> None:
    for least in range(1, 41):
        for factor in (2, 3, 4, 5, 8):
            triggers = [least, least * factor, least * factor**2]
            found = exponent(triggers, [Half(0.1), Half(0.2, "above"), Half(0.4)])
            assert found is not None
            assert found.beyond == ""


def test_intervals_over_seeds_hold_the_exponent() -> None:
    """Of studies whose doses to one half vary by a factor of 1.5 between seeds, seen with noise: five seeds each."""
    rng, held, studies = np.random.default_rng(1), 0, 60
    for _ in range(studies):
        gammas = []
        for _ in range(5):
            some = [
                half(DOSES, left(0.01 * n**0.5 * math.exp(rng.normal(0, 0.4))) + rng.normal(0, 0.02, 4))
                for n in (1, 4, 16)
            ]
            one = exponent([1, 4, 16], some)
            gammas += [one.value] if one else []
        mean, error = np.mean(gammas), np.std(gammas, ddof=1) / math.sqrt(len(gammas))
        held += abs(mean - 0.5) <= 2.776 * error
    assert held / studies >= 0.93 - 3 * math.sqrt(0.93 * 0.07 / studies)
