"""What a measurement may leave: its samples, held to what the statistics after it rest on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from dormouse.errors import UserError
from dormouse.measurements.measurement import Sample


def usable(samples: Sequence[Sample]) -> list[Sample]:
    """Those that hold anything.

    Raises:
        UserError: two values of one sample are about the same item, which would count twice in a seed and once where
            seeds are pooled; or a mean is no share, though an interval of shares would be put around it.
    """
    found = [sample for sample in samples if sample.items]
    for sample in found:
        if len(set(sample.items)) < len(sample.items):
            twice = next(item for item, n in Counter(sample.items).items() if n > 1)
            raise UserError(
                f"{sample.measurement} ({sample.split}) has several values for one item: {twice[:60]!r}",
                "give each value an item of its own, or one value for each item: the mean of its values, say",
            )
        mean = math.fsum(sample.values) / len(sample.values)
        if sample.aggregation in ("mean", "proportion") and not -1e-6 <= mean <= 1 + 1e-6:
            raise UserError(
                f"{sample.measurement} ({sample.split}) has the mean {mean:.4g}, and aggregation "
                f"'{sample.aggregation}' is for numbers between 0 and 1",
                'give its samples aggregation="number", or "exp_mean" where the values are logarithms',
            )
    return found
