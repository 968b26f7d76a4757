"""Claims about numbers that are only bounds in some seeds: tested with these where they speak against the claim.

A seed whose dose to one half lies beyond the doses has an exponent of so much or more, and one that did not relearn
within the budget such a ratio. To count it as that much would be wrong, to leave the claim open for one such seed of
many too strict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from dormouse.claims.decision import points_to
from dormouse.claims.effects import FEWEST, Effect, effect
from dormouse.claims.verdict import End
from dormouse.studies.claim_spec import Claim


def settled(
    claim: Claim, found: Effect, ends: Mapping[int, Sequence[End]], level: Callable[[int], float]
) -> Effect | None:
    """An effect with every seed that may lie on the other side of the margin as far beyond it as the mean is on this
    side (as `effects.p_value` has one more seed). None where that turns what it says: its bounds leave it open then.

    Args:
        ends: seed -> the ends at which its effect is open.
        level: that of the interval.
    """
    if len(found.seeds) < FEWEST:
        return None
    boundary = -claim.margin if claim.direction == "less" else claim.margin
    below, far = found.value < boundary, 2 * boundary - found.value
    end, worse = ("high", max) if below else ("low", min)
    if not any(end in of for of in ends.values()):
        return found
    each = zip(found.seeds, found.each, strict=True)
    placed = {seed: worse(far, value) if end in ends.get(seed, ()) else value for seed, value in each}
    worst = effect([(1.0, {seed: (("",), (value,)) for seed, value in placed.items()})], level=level)
    return worst if worst and points_to(claim, worst) == points_to(claim, found) else None
