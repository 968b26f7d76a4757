"""What a pilot says of the claims of a study before it runs: whether there is room, and how probable a verdict is."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace

from dormouse.claims.chances import decides
from dormouse.claims.claim_evidence import ClaimEvidence
from dormouse.claims.effects import Effect
from dormouse.claims.looks import look_of
from dormouse.claims.numbers import Numbers
from dormouse.claims.verdict import Verdict
from dormouse.errors import UserError
from dormouse.studies.claim_spec import Claim
from dormouse.studies.design import Design
from dormouse.studies.seeds import any_seed, seeds_at

DRAWS = 400
WANTED = 0.8
"""The probability of a verdict that a design should have, if the truth is twice the margin."""


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
    return [_line(design, ClaimEvidence(there, pairing, numbers)) for pairing in there.comparisons]


def _line(design: Design, asked: ClaimEvidence) -> str:
    claim, answer, found = asked.claim, asked.answer(None, 0), asked.effect
    if found is None:
        return f"pilot, claim {claim.id}: it says nothing: {answer.why}"
    said = [f"pilot, claim {claim.id}: {found.value:+.3g} with {len(found.seeds)} seeds"]
    if (left := answer.room) is not None and left < claim.margin:  # of so few seeds as well that nothing is tested
        why = f"the arms compared with leave room for {left:.3g} only"
        return f"{said[0]}; no room: {why}. No number of seeds changes that"
    if answer.verdict == "not comparable":
        remedy = "More seeds may show some that are: better plant both until they are equally strong"
        return f"{said[0]}; not comparable: {answer.why}. {remedy}"
    if left is not None:
        said.append(f"the arms compared with leave room for {left:.3g}")
    truth, named = _truth(claim, answer)
    if (chance := power(design, claim, found, truth)) is None:
        said.append("with one seed, or seeds that do not differ, nothing is known of their spread")
    else:
        few = "" if chance >= WANTED else f": fewer than the {WANTED:.0%} that a design should have"
        most = len(any_seed(design.study.seeds))
        said.append(f"with {most} seeds it is supported in {chance:.0%} of studies if the truth is {named}{few}")
    return "; ".join(said)


def _truth(claim: Claim, answer: Verdict) -> tuple[float, str]:
    """The effect that a design is judged by: twice the margin, or as much of it as there is room for."""
    if not claim.margin:
        effect = answer.effect or 0.0
        return effect, f"as in the pilot, {effect:+.3g}"
    size, named = 2 * claim.margin, "twice the margin"
    if answer.room is not None and answer.room < size:
        size, named = answer.room, f"all that there is room for, {answer.room:.3g}"
    return (-size if claim.direction == "less" else size), named


def power(design: Design, claim: Claim, found: Effect, truth: float) -> float | None:
    """The share of studies of a design that support a claim where the effect is `truth`, by simulation.

    The spread of the seeds is drawn from what those of the pilot leave possible (`claims.chances`), the level is that
    of the claim if all claims of the study are tested.

    Returns:
        None where the pilot shows no spread.
    """
    import numpy as np

    n = len(found.seeds)
    if n < 2 or not math.isfinite(found.seed_sd) or not found.seed_sd > 0:
        return None
    rng, supported, looks = np.random.default_rng(n), 0, _looks(design)
    for _ in range(DRAWS):
        spread = found.seed_sd * math.sqrt((n - 1) / rng.chisquare(n - 1))
        values = np.clip(rng.normal(truth, spread, looks[-1][0]), *found.reach)
        verdicts = (
            decides(
                replace(
                    found,
                    value=float(values[:many].mean()),
                    seed_sd=float(values[:many].std(ddof=1)),
                    seeds=tuple(range(many)),
                ),
                claim.direction,
                claim.margin,
                level,
            )
            for many, level in looks
        )
        supported += next(filter(None, verdicts), "") == "supported"
    return supported / DRAWS


def _looks(design: Design) -> Sequence[tuple[int, float]]:
    """At each look: the number of seeds, and the level at which a claim is tested among all others."""
    said = design.study.seeds
    sizes = {look: len(seeds_at(said, look)) for look in range(design.looks)}
    return [(n, look_of(said, look).level(n) / len(design.claims)) for look, n in sizes.items() if n > 1]
