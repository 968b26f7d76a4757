"""From effects to an outcome: what the numbers decide, and what keeps them from deciding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dormouse.claims.effects import FEWEST, LEVEL, Direction, Effect, Span, p_value, survives
from dormouse.claims.looks import ONCE, Look
from dormouse.claims.verdict import Outcome
from dormouse.metrics import metric
from dormouse.studies.claim_spec import Claim

FRAGILE = "one more seed at the worst bound of the quantity would turn it"


@dataclass(frozen=True)
class Test:
    """What a claim was tested by: the effect that decides, its p and the verdict that a small p gives."""

    effect: Effect
    p: float
    verdict: str
    robust: bool
    """Whether that verdict survives one more seed at the worst bound."""


@dataclass(frozen=True)
class Decision:
    """An outcome. `why` says what stands in its way, where it is none."""

    outcome: Outcome
    contradiction: Literal["", "opposite", "smaller"] = ""
    why: str = ""


def test_of(claim: Claim, each: Sequence[Effect]) -> Test | None:
    """The test of a claim on the effect of its mean, or on those of every set-up; None where there are too few seeds.

    `every` is an intersection-union test (Berger 1982): supported where each set-up by itself is, at the level of one,
    and contradicted where one of them is, at that level shared by all of them (Bonferroni).
    """
    if not each or any(len(one.seeds) < FEWEST for one in each):
        return None
    found = [_test(claim, one) for one in each]
    supports = [one for one in found if one.verdict == "supported"]
    if len(supports) == len(found):
        worst = max(found, key=lambda one: one.p)
        return Test(worst.effect, worst.p, "supported", all(one.robust for one in found))
    worst = min((one for one in found if one.verdict != "supported"), key=lambda one: one.p)
    return Test(worst.effect, min(1.0, worst.p * len(found)), "contradicted", worst.robust)


def _test(claim: Claim, one: Effect) -> Test:
    p, verdict = p_value(one, claim.direction, claim.margin)
    return Test(one, p, verdict, survives(one, claim.direction, claim.margin, verdict))


def span(compare: str, before: float | None) -> Span:
    """The least and the largest value of a quantity. Nothing persists that was not there: a rate that is divided by
    that `before` is at most 1 by it."""
    quantity = metric(compare)
    return (quantity.low, 1 / before) if compare == "persistence" and before else (quantity.low, quantity.high)


def room(direction: Direction, reference: float | None, span: Span) -> float | None:
    """By how much anything could differ from the reference in the claimed direction; None: there is no bound."""
    if reference is None:
        return None
    below, above = reference - span[0], span[1] - reference
    left = {"less": below, "greater": above, "different": max(below, above)}[direction]
    return left if math.isfinite(left) else None


def decide(claim: Claim, test: Test | None, corrected: float | None, left: float | None, look: Look = ONCE) -> Decision:
    """The outcome of a claim whose sides are comparable.

    Args:
        corrected: its p, corrected for all claims of the study.
        left: see `room`.
        look: how a single test decides.
    """
    decided = test is not None and corrected is not None and corrected < LEVEL
    if test and decided and test.verdict == "contradicted" and _opposite(claim, test.effect, look):
        return Decision("contradicted", "opposite") if test.robust else Decision("undecided", why=FRAGILE)
    if test and left is not None and left < claim.margin:
        return Decision("no room", why=f"the arms compared with leave room for {left:.3g} only")
    if not test or not decided:
        return Decision("undecided")
    if not test.robust:
        return Decision("undecided", why=FRAGILE)
    return Decision("supported") if test.verdict == "supported" else Decision("contradicted", "smaller")


def _opposite(claim: Claim, found: Effect, look: Look) -> bool:
    """Whether the effect surely has the other sign than the claimed one."""
    if claim.direction == "different":
        return False
    p, verdict = p_value(found, claim.direction, 0.0)
    return verdict == "contradicted" and look.p(p, len(found.seeds)) < LEVEL
