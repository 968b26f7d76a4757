"""Claims about numbers that are only bounds in some seeds: tested with these where they speak against the claim.

A seed whose dose to one half lies beyond the doses has an exponent of so much or more, and one that did not relearn
within the budget such a ratio. To count it as that much would be wrong, to leave the claim open for one such seed of
many too strict.
"""

from __future__ import annotations

from dataclasses import replace

from dormouse.claims.claim_evidence import ClaimEvidence
from dormouse.claims.numbers import OWN_BOUNDS


def settled(asked: ClaimEvidence) -> ClaimEvidence:
    """The same evidence; where what may be a bound is held against a number, tested with every seed that may lie on the
    other side of the margin as far beyond it as the mean is on this side (as `effects.p_value` has one more seed).

    What would turn then is left as it was, for its bounds to leave it open. The effect that is shown is that of the
    numbers as they are, with an open end.
    """
    claim, found, test = asked.claim, asked.effect, asked.test
    if claim.compare not in OWN_BOUNDS or claim.direction == "different":
        return asked
    if asked.constant is None or not (found and test):
        return asked
    boundary = -claim.margin if claim.direction == "less" else claim.margin
    below = found.value < boundary
    far, worse = asked.constant + 2 * boundary - found.value, max if below else min
    values, bounds = dict(asked.numbers.values), asked.numbers.lower if below else asked.numbers.upper
    for key, known in asked.numbers.values.items():
        if key[4] == claim.compare and (seeds := bounds.get(key, set()) & known.keys()):  # a bound may have no value
            values[key] = {**known, **{s: (known[s][0], (worse(far, known[s][1][0]),)) for s in seeds}}
    worst = ClaimEvidence(asked.design, asked.pairing, replace(asked.numbers, values=values)).test
    if worst and worst.verdict == test.verdict:
        asked.test, asked.settled = worst, True
    return asked
