"""In which order locators are run, and what share of the time each has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dormouse.locators.locator import Locator

FIRST, LATE = "battery", ("attention",)
"""The baseline comes first, then those that soon come to an end, then those that search as long as they are let.
Locators that judge the candidates of others come last, and are given these."""
LATE_SECONDS = 20.0
"""Seconds that are kept for each of the last, or an equal part of all time where that is more: it looks at so many
texts and no more (on micro models in 1 to 6 s). In an audit of a minute on a quiet machine, as those of the fit were,
equal shares leave it 19: nothing is changed there."""


def in_order(locators: Mapping[str, Locator]) -> list[tuple[str, Locator]]:
    """Locators in the order in which they are run."""
    return sorted(locators.items(), key=lambda item: (item[0] in LATE, item[1].open_ended, item[0] != FIRST))


def share(waiting: Sequence[str], left: float, equal: float) -> float:
    """Seconds for the first of those that wait: an equal part of what is left, or more where the last need less.

    Args:
        left: seconds for all of them.
        equal: an equal part of the time that all locators of the audit had.
    """
    others = [name for name in waiting if name not in LATE]
    parts = [left / len(waiting)]
    if others:
        parts.append((left - max(LATE_SECONDS, equal) * (len(waiting) - len(others))) / len(others))
    return max(parts)
