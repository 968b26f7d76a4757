"""The answers to claims.

A claim compares one measurement between two sets of arms. Arms are paired by set-up, seed and question. Seeds are the
unit: they are a random sample, so are the questions, and both are crossed; set-ups (learning rates, models, ...) are
fixed: a claim is about those that were run. The effect is the mean paired difference, its interval Student's t on
the variance of two crossed samples (Owen 2007, as in `measurements.stats`), wider where
arms stand at a bound of the quantity (`claims.effects`). It is tested against the margin, two-sided, and all claims of
a study together are held to 5 % by Holm's (1979) method. `claims.decision` says what a small p decides.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from dormouse.claims.claim_evidence import ClaimEvidence
from dormouse.claims.decision import Corrected
from dormouse.claims.numbers import Numbers
from dormouse.claims.verdict import Verdict
from dormouse.studies.design import Design


def answer_claims(design: Design, numbers: Numbers) -> list[Verdict]:
    """An answer to each claim of a study, in order: in a sequential one that of the look which decided it, else that of
    the last look (see `claims.looks`)."""
    final: dict[int, Verdict] = {}
    for look in range(design.look + 1):
        decided = {i for i, one in final.items() if one.is_decided}
        answers = _at_look(design.at_look(look), numbers, decided, last=look == design.look)
        final |= {i: one for i, one in enumerate(answers) if i not in final or not final[i].is_decided}
    return [final[i] for i in range(len(design.claims))]


def _at_look(design: Design, numbers: Numbers, decided: Collection[int], last: bool) -> list[Verdict]:
    """An answer to each claim with the seeds of a design; claims that were `decided` before stay rejected in Holm's
    correction for the others. Chances have those of the `last` look alone: others are replaced, if they are open."""
    known = numbers.of(design.every_seed)  # what later seeds show changes no earlier answer
    asked = [ClaimEvidence(design, pairing, known) for pairing in design.comparisons]
    found = {i: p for i, one in enumerate(asked) if (p := 0.0 if i in decided else one.p) is not None}
    signs = [0.0 if i in decided else asked[i].p_sign for i in found]
    after = dict(zip(found, map(Corrected, holm(list(found.values())), holm(signs)), strict=True))
    answers = [one.answer(after.get(i), len(found)) for i, one in enumerate(asked)]
    return [replace(a, chances=one.chances(a)) for a, one in zip(answers, asked, strict=True)] if last else answers


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number, in their order, by Holm's step-down method (Scandinavian Journal of
    Statistics 6, 1979). statsmodels has it too, and collects all garbage at each call: beside torch that takes longer
    than all else in an answer."""
    corrected, least = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = least
    return corrected
