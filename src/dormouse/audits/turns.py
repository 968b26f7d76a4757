"""In which order locators are run, and what share of the time each has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dormouse.locators.locator import Locator

FIRST = "battery"
LATE = {"attention": 12.0, "sentence": 8.0}
"""The baseline comes first, then those that soon come to an end, then those that search as long as they are let.
Locators that judge what others found come last, and are given that. For each so many seconds are kept, or an equal part
of all time where that is more. `attention` looks at so much and no more (on micro models in 1 to 6 s), `sentence` takes
2 to 5 s for scores and then searches as long as it is let."""


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
        late = sum(max(LATE[name], equal) for name in waiting if name in LATE)
        parts.append((left - late) / len(others))
    return max(parts)
