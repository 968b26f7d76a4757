"""What of the contexts, or the members, that were live before a treatment is live after it, one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from dormouse.measurements.stats import estimate, pooled, stack
from dormouse.pipeline.derived import ReadSample, record_of
from dormouse.pipeline.plan import PlannedReading
from dormouse.pipeline.replicated import Cells, merged
from dormouse.records import Record
from dormouse.studies.expected import PRESERVED


def preserved(cells: Cells) -> Iterator[Record]:
    """Of what was live before a treatment, the share that is live after it: member by member, context by context.

    What another planting of the seed had live is another policy's: each is held to its own organism. Of all seeds the
    interval is no narrower than it would be of a single one with as many live (see `stats.estimate`).
    """
    for (organism, intervention, _, measurement, split, x), after in cells.items():
        first, measured = next(iter(after.values()))[0]
        if measurement not in PRESERVED or not intervention or not first.plants:
            continue
        before = cells.get((organism, "", 0, measurement, split, x), {})
        sample = replace(measured, measurement=PRESERVED[str(measurement)], censored_at=None)
        kept: list[tuple[PlannedReading, np.ndarray]] = []
        for seed, found in after.items():
            values = _still_live(found, before.get(seed, ()))
            if values.size:
                kept.append((merged(found)[0], values))
                yield record_of([kept[-1][0]], sample, seed, estimate(values, "proportion"))
        if len(kept) > 1:  # the seed is the unit: which ones were live differs among them
            per_seed = [
                (tuple(f"{i} of {seed}" for i in range(len(of))), tuple(of)) for seed, (_, of) in enumerate(kept)
            ]
            yield record_of([reading for reading, _ in kept], sample, None, pooled(per_seed, "proportion"))


def _still_live(after: Sequence[ReadSample], before: Sequence[ReadSample]) -> np.ndarray:
    """How often what was live before is live after, of one seed: planting by planting, each in mean over its
    treatments."""
    found = []
    for reading, early in before:
        treated = [one for one in after if one[0].state.planting == reading.state.planting]
        if treated:
            late = merged(treated)[1]
            now, then = stack([(late.items, late.values), (early.items, early.values)])
            found.append(now[then > 0])
    return np.concatenate(found) if found else np.array([])
