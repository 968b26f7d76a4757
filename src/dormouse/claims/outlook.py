"""What is known of a study's claims before it runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dormouse.claims.chances import outcomes
from dormouse.claims.decision import MOST_LOG_ODDS, span
from dormouse.claims.effects import FEWEST, LEVEL, Effects, Span
from dormouse.claims.looks import look_of
from dormouse.studies.arms import Arm
from dormouse.studies.claim_spec import Claim
from dormouse.studies.design import Design
from dormouse.studies.pairing import Setup

FINE = 400
"""How finely an effect is looked for, in parts of the largest that there could be."""
UNSAID = 0.05
"""How far beyond the margin the least effect that could support a claim may lie without a word, in parts of the range
of all effects."""
FARTHEST = 100
"""Seeds beyond which nobody looks for a design that could support a claim."""


def outlook(design: Design) -> list[str]:
    """By which arms and seeds each claim will be answered, and how large an effect these could support, in a line."""
    lines, last = [], design.at_look(design.looks - 1)
    for pairing in design.comparisons:
        claim, setups = pairing.claim, list(pairing.setups())
        arms = f"{len({arm for one in setups for arm in one.these})} of its arms"
        those = f"{len({arm for one in setups for arm in one.those})}"
        those = f"{claim.against:g}" if isinstance(claim.against, float) else those
        now, then = (min(len(one.seeds(arms)) for arms in _compared(claim, setups)) for one in (design, last))
        said = f"claim {claim.id}: {arms} against {those}, set-ups: {len(setups)}, seeds: {now}"
        lines.append("; ".join([said, *_support(last, claim, then)]))
    return lines


def _compared(claim: Claim, setups: Sequence[Setup]) -> list[Sequence[Arm]]:
    """The arms that must share their seeds: all or, of a claim about every set-up, an arm and those that it is held
    against."""
    if claim.quantifier == "mean":
        return [[arm for one in setups for arm in one.arms]]
    return [(arm, *one.those) for one in setups for arm in one.these]


def _support(last: Design, claim: Claim, seeds: int) -> list[str]:
    """Which effects could support a claim at the last look, with so many seeds, were they the same with all of them.

    Nothing is said where nearly all could that are beyond the margin. With Holm's correction the surest of all claims
    is tested at the smallest level, and one of which the others are decided by as a single claim.
    """
    if seeds < FEWEST:
        return [f"fewer than {FEWEST} seeds decide nothing"]
    reach, claims = _reach(claim), len(last.claims)
    alone = look_of(last.study.seeds, last.look).level(seeds)
    among = alone / claims
    if (least := least_supported(claim, reach, seeds, among)) is not None:
        told = abs(least) - claim.margin > UNSAID * (reach[1] - reach[0])
        return [f"{seeds} seeds support it from an effect of {least:+.2g} on that all of them show"] if told else []
    late = claims > 1 and least_supported(claim, reach, seeds, alone) is not None
    fail = "support it only after other claims are decided" if late else "support no effect that there could be"
    some = (n for n in range(seeds + 1, FARTHEST) if least_supported(claim, reach, n, LEVEL / claims) is not None)
    more = next((f"; {n}, looked at once, could support one" for n in some), "")
    return [f"{seeds} seeds {fail}{more}"]


def _reach(claim: Claim) -> Span:
    """The least and the largest effect that any seed could have, of organisms that are as strong as a claim could wish:
    all log-odds that there are may be lost or, of one about less, gained."""
    strongest = {"persistence": 1.0, "log_odds_lost": -MOST_LOG_ODDS if claim.direction == "less" else MOST_LOG_ODDS}
    low, high = span(claim.compare, strongest.get(claim.compare))
    if isinstance(claim.against, float):
        return low - claim.against, high - claim.against
    return low - high, high - low


def least_supported(claim: Claim, reach: Span, seeds: int, level: float) -> float | None:
    """The smallest effect that supports a claim at a level, were it the same with every seed; None: none could.

    Where a quantity has no bounds any effect beyond the margin does, or none, and the margin itself is given.
    """
    import numpy as np

    sign = -1.0 if claim.direction == "less" else 1.0
    ends = [sign * end for end in reach]
    most = max(abs(end) for end in ends) if claim.direction == "different" else max(ends)
    bounded = all(map(math.isfinite, reach))
    sizes = most * np.arange(1, FINE + 1) / FINE if bounded else np.array([2 * claim.margin + 1.0])
    same = Effects(sign * sizes, np.zeros(len(sizes)), seeds, 0.0, None, reach)  # with every seed, and every question
    supports, _ = outcomes([same], claim.direction, claim.margin, level)
    if not supports.any():
        return None
    return sign * (float(sizes[supports.argmax()]) if bounded else claim.margin)
