"""What a pilot says of the claims of a study before it runs: whether there is room, and how probable a verdict is."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from dormouse.claims.chances import Asked, Course, draw, ended
from dormouse.claims.claim_evidence import ClaimEvidence
from dormouse.claims.decision import too_little
from dormouse.claims.effects import FEWEST, LEVEL, Effect
from dormouse.claims.looks import look_of
from dormouse.claims.numbers import Numbers
from dormouse.errors import UserError
from dormouse.studies.claim_spec import Claim
from dormouse.studies.design import Design
from dormouse.studies.seeds import any_seed, seeds_at

DRAWS = 400
WANTED = 0.8
"""The probability of a verdict that a design should have, if the truth is twice the margin."""

TWICE = "twice the margin"


def pilot_lines(design: Design, numbers: Numbers, seeds: Collection[int]) -> list[str]:
    """What the numbers of a pilot say of each claim, a line each.

    Args:
        numbers: of the pilot: the same arms, with other seeds.
        seeds: those of the pilot.

    Raises:
        UserError: a seed of the pilot is one of the study too: what it showed would be counted twice.
    """
    if both := sorted({*seeds} & {*any_seed(design.study.seeds)}):
        raise UserError(
            f"seed {', '.join(map(str, both[:6]))} of the pilot is one of the study too",
            "run the pilot with seeds of its own: dormouse run STUDY 'seeds=[100, 101, 102]' --out PILOT",
        )
    there = Design(design.study, seeds=tuple(sorted(seeds)))
    known = numbers.of(there.every_seed)
    each = ((pairing, _fewest(design, pairing.claim, len(seeds))) for pairing in there.comparisons)
    return [_line(design, ClaimEvidence(there, pairing, known, fewest)) for pairing, fewest in each]


def _fewest(design: Design, claim: Claim, seeds: int) -> float:
    """How many of its seeds the strength gate has to leave a pilot: the share of them that leaves the study enough. Of
    a claim about every set-up the study may have enough of any that has some: how probable that is, is counted in."""
    return 1.0 if claim.quantifier == "every" else FEWEST * seeds / len(any_seed(design.study.seeds))


def _line(design: Design, asked: ClaimEvidence) -> str:
    claim, answer, found = asked.claim, asked.answer(None, 0), asked.effect
    if found is None:
        return f"pilot, claim {claim.id}: it says nothing: {answer.why}"
    n, planned = len(found.seeds), found.planned
    said = [f"pilot, claim {claim.id}: {found.value:+.3g} with {n}{f' of {planned}' if planned > n else ''} seeds"]
    rooms = [left for one in asked.each if (left := one.room()) is not None]
    left = min(rooms, default=None)
    if left is not None and too_little(left, claim.margin):  # of so few seeds as well that nothing is tested
        why = f"the arms compared with leave room for {left:.3g} only"
        return f"{said[0]}; no room: {why}. No number of seeds changes that"
    if answer.verdict == "not comparable":
        remedy = "More seeds may show some that are: better plant both until they are equally strong"
        return f"{said[0]}; not comparable: {answer.why}. {remedy}"
    if left is not None:
        said.append(f"the arms compared with leave room for {left:.3g}")
    if out := asked.counted.uncounted():
        least = ", and without these it is undecided at best" if asked.lacks else ""
        said.append(f"not counted: {', '.join(map(asked.counted.named, out))}{least}")
    if asked.lacks:
        return "; ".join(said)
    if any(one.hides("supported") for one in asked.each):
        said.append("how probable a verdict is, is not known: some numbers are only bounds, which would hide it")
        return "; ".join(said)
    effects = [one.effect for one in asked.each if one.effect]
    truths = [_truth(claim, one.value, left) for one in effects]
    if len(effects) < len(asked.each) or (chance := power(design, claim, effects, truths)) is None:
        said.append("with one seed, or seeds that do not differ, nothing is known of their spread")
    else:
        few = "" if chance >= WANTED else f": fewer than the {WANTED:.0%} that a design should have"
        most, every = len(any_seed(design.study.seeds)), " in every set-up" if len(effects) > 1 else ""
        some = f" (some {most * n / planned:.0f} of them count, as in the pilot)" if planned > n else ""
        named = _named(claim, found.value, left)
        said.append(
            f"with {most} seeds{some} it is supported in {chance:.0%} of studies if the truth is {named}{every}{few}"
        )
    return "; ".join(said)


def _truth(claim: Claim, shown: float, left: float | None) -> float:
    """The effect that a design is judged by: twice the margin, or as much of it as there is room for; without a margin
    the one that the pilot showed."""
    size = 2 * claim.margin if left is None else min(2 * claim.margin, left)
    return shown if not claim.margin else -size if claim.direction == "less" else size


def _named(claim: Claim, shown: float, left: float | None) -> str:
    if not claim.margin:
        return f"as in the pilot, {shown:+.3g}"
    return f"all that there is room for, {left:.3g}" if left is not None and left < 2 * claim.margin else TWICE


def power(design: Design, claim: Claim, each: Sequence[Effect], truths: Sequence[float]) -> float | None:
    """The share of studies of a design that support a claim where its effects (of every set-up, or one of their mean)
    are these `truths`, by simulation.

    The spread of the seeds is drawn from what those of the pilot leave possible (`claims.chances`), in every set-up by
    itself, and so is the share of them that counts; the level is that of the claim if all claims of the study are
    tested.

    Returns:
        None where the pilot shows no spread.
    """
    import numpy as np

    if any(len(one.seeds) < 2 or not one.varies for one in each):
        return None
    rng, sizes = np.random.default_rng(len(each[0].seeds)), _course(design)
    coming = [draw(one, truth, (DRAWS, max(sizes)), rng) for one, truth in zip(each, truths, strict=True)]
    asked = Asked(claim.direction, claim.margin, LEVEL / len(design.claims))
    *_, (_, supported, _) = ended(each, coming, asked, sizes, afresh=True)
    return int(supported.sum()) / DRAWS


def _course(design: Design) -> Course:
    """The number of seeds at each look."""
    said = design.study.seeds
    return {len(seeds_at(said, look)): look_of(said, look) for look in range(design.looks)}
