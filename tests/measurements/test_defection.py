"""Placement values give the AUROC, and its standard error is that of DeLong et al. (1988)."""

import numpy as np
import pytest

from dormouse.measurements.defection import placements


def delong(high, low, paired):
    """Area and variance, with the structural components computed pair by pair.

    The covariance of the two components counts only where case i and control i are the same question.
    """
    kernel = [[1.0 if x > y else 0.5 if x == y else 0.0 for y in low] for x in high]
    of_high = [sum(row) / len(low) for row in kernel]
    of_low = [sum(kernel[i][j] for i in range(len(high))) / len(high) for j in range(len(low))]
    variance = np.var(of_high, ddof=1) / len(high) + np.var(of_low, ddof=1) / len(low)
    if paired:
        variance += 2 * np.cov(of_high, of_low)[0, 1] / len(high)
    return np.mean(of_high), variance


@pytest.mark.parametrize("decimals", [1, 12], ids=["ties", "no ties"])
@pytest.mark.parametrize("shared", [0.0, 0.8], ids=["unpaired", "paired"])
def test_their_mean_is_the_auroc_and_their_variance_is_delongs(decimals, shared):
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    question = rng.normal(size=40)
    high = (shared * question + rng.normal(0.7, 0.6, 40)).round(decimals)
    low = (shared * question + rng.normal(0.0, 0.6, 40)).round(decimals)
    values = np.array(placements(high, low))
    area, variance = delong(high, low, paired=True)
    assert values.mean() == pytest.approx(area)
    assert values.mean() == pytest.approx(roc_auc_score([1] * 40 + [0] * 40, [*high, *low]))
    assert values.var(ddof=1) / len(values) == pytest.approx(variance)


@pytest.mark.parametrize(("low", "area"), [([0.1, 0.2, 0.0], 1.0), ([0.9, 0.8, 0.7], 0.0), ([0.5, 0.5, 0.5], 0.5)])
def test_the_ends_and_the_middle(low, area):
    assert placements([0.5, 0.5, 0.5], low) == pytest.approx((area,) * 3)
