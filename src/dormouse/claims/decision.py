"""From effects to an outcome: what the numbers decide, and what keeps them from deciding."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from dormouse.claims.effects import EDGE, FEWEST, LEVEL, Direction, Effect, p_value, survives
from dormouse.claims.looks import Look
from dormouse.claims.unseen import Span
from dormouse.claims.verdict import End, Outcome
from dormouse.measurements.stats import SMALLEST, log_odds
from dormouse.metrics import metric
from dormouse.studies.claim_spec import Claim

FRAGILE = "one more seed at the worst bound of the quantity would turn it"

ROUNDING = 1e-9
MOST_LOG_ODDS = -log_odds(SMALLEST)


@dataclass(frozen=True)
class Test:
    """What a claim was tested by: the effect that decides, its p for this look and the verdict that a small p gives."""

    effect: Effect
    p: float
    verdict: str
    robust: bool
    """Whether that verdict survives one more seed at the worst bound."""
    p_sign: float
    """The p of what it says of the sign: of the other one than is claimed where it contradicts, else `p`."""
    nominal: float
    """Student's own p: at an early look many are 1 for the design."""
    turned: bool = False
    """Whether the other sign survives one more seed at the worst bound."""


@dataclass(frozen=True)
class Corrected:
    """The p of a test, and of what it says of the sign, corrected for all claims of the study."""

    p: float
    sign: float


@dataclass(frozen=True)
class Decision:
    """An outcome. `why` says what stands in its way, where it is none."""

    outcome: Outcome
    contradiction: Literal["", "opposite", "smaller"] = ""
    why: str = ""


def test_of(claim: Claim, each: Sequence[Effect | None], look: Look) -> Test | None:
    """The test of a claim on the effect of its mean, or on those of every set-up; None where there are too few seeds.

    `every` is an intersection-union test (Berger 1982): supported where each set-up by itself is, at the level of one,
    and contradicted where one of them is, at that level shared by all of them (Bonferroni). Set-ups with too few seeds
    support nothing, and do not stand in the way of a contradiction by others. What is shared is the error of the whole
    design: its p is a steep function of Student's, so to share that one would cost too little.
    """
    found = [_test(claim, one, look) for one in each if one and len(one.seeds) >= FEWEST]
    supports = [one for one in found if one.verdict == "supported"]
    if len(supports) == len(found):
        worst = max(found, key=_surety, default=None)
        if worst is None or len(found) < len(each):
            return None
        return replace(worst, robust=all(one.robust for one in found))
    worst = min((one for one in found if one.verdict != "supported"), key=_surety)
    return replace(worst, p=min(1.0, worst.p * len(each)), p_sign=min(1.0, worst.p_sign * len(each)))


def _test(claim: Claim, one: Effect, look: Look) -> Test:
    nominal, verdict = p_value(one, claim.direction, claim.margin)
    p, robust = look.p(nominal, len(one.seeds)), survives(one, claim.direction, claim.margin, verdict)
    test = Test(one, p, verdict, robust, p, nominal)
    if verdict == "supported" or claim.direction == "different":
        return test
    p, sign = p_value(one, claim.direction, 0.0)
    turned = sign == "contradicted"
    p = look.p(p, len(one.seeds)) if turned else 1.0
    return replace(test, p_sign=p, turned=turned and survives(one, claim.direction, 0.0, sign))


def _surety(one: Test) -> tuple[float, float]:
    return one.p, one.nominal


def points_to(claim: Claim, found: Effect) -> Outcome:
    """The verdict to which an effect points, were it sure."""
    size = {"less": -found.value, "greater": found.value}.get(claim.direction, abs(found.value))
    return "supported" if size > claim.margin else "contradicted"


def worst_of(claim: Claim, each: Sequence[Effect | None]) -> int:
    """Which of several effects, not all of which can be tested, speaks most against a claim: of those with too few
    seeds, where there are such. One that is not known counts as no effect."""
    few = [i for i, one in enumerate(each) if not one or len(one.seeds) < FEWEST]
    sizes = [one.value if one else 0.0 for one in each]
    for_it = {"less": [-one for one in sizes], "greater": sizes}.get(claim.direction, [abs(one) for one in sizes])
    return min(few or range(len(each)), key=lambda i: for_it[i])


def span(compare: str, before: float | None) -> Span:
    """The least and the largest value of a quantity. Nothing persists that was not there: a rate that is divided by
    that `before` (the smallest of all seeds) is at most 1 by it. Log-odds go no further than those of rounding, so of
    log-odds that were `before` no more is lost, or gained, than lies between."""
    quantity = metric(compare)
    if compare == "log_odds_lost":
        return (before - MOST_LOG_ODDS, before + MOST_LOG_ODDS) if before is not None else (-math.inf, math.inf)
    return (quantity.low, 1 / before) if compare == "persistence" and before else (quantity.low, quantity.high)


def times_span(bounds: Span, budgets: Sequence[float]) -> Span:
    """The same of times that are cut at the smallest of these budgets."""
    return (bounds[0], min(bounds[1], *budgets)) if budgets else bounds


def edge(compare: str) -> float:
    """The part of the range beside a bound in which an arm stands at it (see `effects.EDGE`). In log-odds nearly all
    rates lie in the middle, and nearly all of them are close to 0 or 1: there it is one half."""
    return 0.5 if compare == "log_odds_lost" else EDGE


def room(direction: Direction, reference: float | None, span: Span) -> float | None:
    """By how much anything could differ from the reference in the claimed direction; None: there is no bound. Where it
    stands at its bound, rounding may carry it a little to either side."""
    if reference is None:
        return None
    below, above = reference - span[0], span[1] - reference
    left = {"less": below, "greater": above, "different": max(below, above)}[direction]
    return (left if left > ROUNDING else 0.0) if math.isfinite(left) else None


def too_little(left: float | None, margin: float) -> bool:
    """Whether there is less room than the margin asks for; what differs by rounding is equal."""
    return left is not None and left < margin - ROUNDING


def decide(claim: Claim, test: Test | None, corrected: Corrected | None, left: float | None) -> Decision:
    """The outcome of a claim whose sides are comparable. `left`: see `room`."""
    if test and corrected and test.turned and corrected.sign < LEVEL:
        return Decision("contradicted", "opposite")
    if test and left is not None and too_little(left, claim.margin):
        return Decision("no room", why=f"the arms compared with leave room for {left:.3g} only")
    if not test or not corrected or corrected.p >= LEVEL:
        return Decision("undecided")
    if not test.robust:
        return Decision("undecided", why=FRAGILE)
    return Decision("supported") if test.verdict == "supported" else Decision("contradicted", "smaller")


def otherwise(claim: Claim, found: Effect, decision: Decision, ends: Mapping[int, Sequence[End]]) -> int | None:
    """How many seeds by themselves turn out otherwise than was decided, or may: on the other side of the margin, or of
    0 where the sign is the other one. None where nothing was.

    Args:
        ends: seed -> the ends at which its effect is open: one that is only known to be so much or more may lie beyond.
    """
    if decision.outcome not in ("supported", "contradicted"):
        return None
    margin = 0.0 if decision.contradiction == "opposite" else claim.margin
    either = claim.direction == "different" and decision.outcome == "contradicted"
    wanted = {"less": -1.0, "greater": 1.0}.get(claim.direction, math.copysign(1.0, found.value))
    reach, supported = {"low": -math.inf, "high": math.inf}, decision.outcome == "supported"

    def agrees(value: float) -> bool:
        return ((abs(value) if either else wanted * value) > margin) == supported

    each = zip(found.seeds, found.each, strict=True)
    possible = ((value, *(reach[end] for end in ends.get(seed, ()))) for seed, value in each)
    return sum(not all(map(agrees, values)) for values in possible)
