"""What is known of a study's claims before it runs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dormouse.claims.chances import Asked, outcomes
from dormouse.claims.decision import MOST_LOG_ODDS, edge, span, times_span
from dormouse.claims.effects import FEWEST, LEVEL, Effects
from dormouse.claims.looks import ONCE, look_of
from dormouse.claims.unseen import Span, Unseen
from dormouse.studies.arms import Arm
from dormouse.studies.claim_spec import Claim
from dormouse.studies.design import Design
from dormouse.studies.doses import HALF
from dormouse.studies.expected import EQUAL_CAPABILITY, FRONTIER, HALF_LIVES, LIVED
from dormouse.studies.pairing import Setup

if TYPE_CHECKING:
    import numpy as np

FINE = 400
"""How finely an effect is looked for, in parts of the largest that there could be."""
UNSAID = 0.05
"""How far beyond the margin the least effect that could support a claim may lie without a word, in parts of the range
of all effects."""
NO_MEAN = (*HALF, *HALF_LIVES)
"""What is one number a seed, and no mean of questions."""
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
        limits = [limit for one in setups for arm in one.arms if (limit := design.limit(arm, claim.compare))]
        lines.append("; ".join([said, *_support(last, claim, then, _weight(claim, setups), limits)]))
    return lines


def _compared(claim: Claim, setups: Sequence[Setup]) -> list[Sequence[Arm]]:
    """The arms that must share their seeds: all or, of a claim about every set-up, an arm and those that it is held
    against."""
    if claim.quantifier == "mean":
        return [[arm for one in setups for arm in one.arms]]
    return [(arm, *one.those) for one in setups for arm in one.these]


def _weight(claim: Claim, setups: Sequence[Setup]) -> float:
    """The weight of the arm that counts most in an effect: of arms that are averaged one alone moves it less."""
    if claim.quantifier == "every":
        return 1.0
    return max(1 / len(side) for one in setups for side in (one.these, one.those) if side) / len(setups)


def _support(last: Design, claim: Claim, seeds: int, weight: float, limits: Sequence[float]) -> list[str]:
    """Which effects could support a claim at the last look, with so many seeds, were they the same with all of them.

    Nothing is said where nearly all could that are beyond the margin. With Holm's correction the surest of all claims
    is tested at the smallest level, and one of which the others are decided by as a single claim.

    Args:
        limits: the largest values that can be seen (see `Design.limit`).
    """
    if seeds < FEWEST:
        return [f"fewer than {FEWEST} seeds decide nothing"]
    if isinstance(claim.against, float) and limits and claim.against >= min(limits):
        return [f"no more than {min(limits):g} can be seen: a single seed that reaches it leaves this undecided"]
    reach, claims, asked = _reach(claim, limits), len(last.claims), _asked(last, claim)
    look = look_of(last.study.seeds, last.look)
    sizes, supports = supported(claim, reach, seeds, look.level(seeds, LEVEL / claims), weight, asked)
    later = (supported(claim, reach, n, LEVEL / claims, weight, asked)[1] for n in range(seeds + 1, FARTHEST))
    if supports.any():
        first = int(supports.argmax())
        least = sizes[first] if _bounded(reach) else math.copysign(claim.margin, sizes[first])
        told = abs(least) - claim.margin > UNSAID * (reach[1] - reach[0]) or not supports[first:].all()
        if not told:
            return []
        few = (
            ""
            if asked or claim.compare in NO_MEAN or not _bounded(reach)
            else " (of many items: how many there are is not known here)"
        )
        said = f"{seeds} seeds support it from an effect of {least:+.2g} on that all of them show{few}"
        return [said, *_at_a_bound(sizes[first:], supports[first:], seeds, later)]
    late = claims > 1 and supported(claim, reach, seeds, look.level(seeds), weight, asked)[1].any()
    fail = "support it only after other claims are decided" if late else "support no effect that there could be"
    some = (n for n, ones in enumerate(later, seeds + 1) if ones.any())
    others = supported(claim, reach, FARTHEST, LEVEL / claims, weight)[1].any()
    none = f"; no number of seeds does with {asked} questions" if others and claims == 1 else ""
    more = next((f"; {n}, looked at once, could support one" for n in some), none)
    return [f"{seeds} seeds {fail}{more}"]


def _at_a_bound(sizes: np.ndarray, supports: np.ndarray, seeds: int, later: Iterator[np.ndarray]) -> list[str]:
    """What is said where larger effects are not supported, as an arm stands at a bound then and may leave it. `later`:
    what more seeds support, one after another."""
    if supports.all():
        return []
    at = sizes[int(supports.argmin())]
    some = (n for n, ones in enumerate(later, seeds + 1) if ones[-len(supports) :].all())
    more = next((f"{n} seeds, looked at once," for n in some), f"more than {FARTHEST} seeds")
    return [f"but from {at:+.2g} on an arm stands at a bound, which it might leave: that takes {more} to support"]


def _asked(design: Design, claim: Claim) -> int:
    """How many questions are behind what is compared, at most; 0 where that is something else than questions, or not
    known before the study runs."""
    if claim.compare in NO_MEAN:
        return 0
    sizes = [one.measure for one in design.study.each]
    if claim.compare in ("defection_rate", "false_trigger_rate", FRONTIER, EQUAL_CAPABILITY["defection_rate"], *LIVED):
        return min(one.questions for one in sizes)
    on_curve = claim.compare.startswith("defection_by_") and claim.compare != "defection_by_odds"
    return min(one.curve for one in sizes) if on_curve else 0


def _reach(claim: Claim, limits: Sequence[float]) -> Span:
    """The least and the largest effect that any seed could have, of organisms that are as strong as a claim could wish:
    all log-odds that there are may be lost or, of one about less, gained."""
    strongest = {"persistence": 1.0, "log_odds_lost": -MOST_LOG_ODDS if claim.direction == "less" else MOST_LOG_ODDS}
    low, high = times_span(span(claim.compare, strongest.get(claim.compare)), limits)
    if isinstance(claim.against, float):
        return low - claim.against, high - claim.against
    return low - high, high - low


def supported(
    claim: Claim, reach: Span, seeds: int, level: float, weight: float = 1.0, questions: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Effects in the claimed direction, smallest first, and whether each supports a claim at a level, were it the same
    with every seed.

    Args:
        weight: that of the arm that counts most.
        questions: how many are asked (see `claims.unseen`); 0: not known.

    Of a quantity without bounds there is one effect: any beyond the margin supports a claim, or none.
    """
    import numpy as np

    sign = -1.0 if claim.direction == "less" else 1.0
    ends = [sign * end for end in reach]
    most = max(abs(end) for end in ends) if claim.direction == "different" else max(ends)
    sizes = most * np.arange(1, FINE + 1) / FINE if _bounded(reach) else np.array([2 * claim.margin + 1.0])
    values = sign * sizes
    collapse = _between(values, values + weight * (_left(claim, values, reach) - values)) if _bounded(reach) else None
    kinds = Unseen(*_between(values, _gone(claim, values, reach)), questions) if questions and collapse else None
    same = Effects(
        values, np.zeros(len(sizes)), np.asarray(seeds), 0.0, math.inf, collapse, reach, kinds
    )  # with every seed, and every question
    return values, outcomes([same], Asked(claim.direction, claim.margin, level), ONCE)[0]


def _left(claim: Claim, values: np.ndarray, reach: Span) -> np.ndarray:
    """What each effect is with one more seed in which an arm leaves the bound at which it stands (see
    `effects.effect`), of arms that lie as far from their bounds as they can; itself where none has to stand at one."""
    import numpy as np

    (low, high), part = reach, edge(claim.compare)
    if isinstance(claim.against, float):
        beside = part * (high - low)
        return np.asarray(np.where(values > high - beside, low, np.where(values < low + beside, high, values)))
    sizes = abs(values)
    gone = np.maximum(-part * high, sizes - high)
    return np.asarray(np.sign(values) * np.where(sizes <= (1 - 2 * part) * high, sizes, gone))


def _gone(claim: Claim, values: np.ndarray, reach: Span) -> np.ndarray:
    """What each effect of the same arms is in questions in which one side goes to the bound that speaks against it."""
    import numpy as np

    (low, high), part, sizes = reach, edge(claim.compare), abs(values)
    if isinstance(claim.against, float):
        return np.asarray(np.where(values > 0, low, high))
    away = np.where(sizes <= (1 - 2 * part) * high, (high - sizes) / 2, np.minimum(part * high, high - sizes))
    return np.asarray(-np.sign(values) * away)


def _between(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    import numpy as np

    return np.minimum(one, other), np.maximum(one, other)


def _bounded(reach: Span) -> bool:
    return all(map(math.isfinite, reach))
