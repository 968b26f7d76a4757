"""One claim of a study, and what there is to answer it: see `claims.answer`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dormouse.claims.chances import Asked, chances
from dormouse.claims.comparison import Comparison
from dormouse.claims.counted import Counted, cells
from dormouse.claims.curve import curve
from dormouse.claims.decision import FRAGILE, Corrected, Decision, decide, otherwise, test_of, worst_of
from dormouse.claims.effects import FEWEST, LEVEL
from dormouse.claims.looks import later, look_of, look_taken
from dormouse.claims.numbers import Numbers
from dormouse.claims.verdict import Chance, CurvePoint, DamagePassed, Matching, Remedy, Verdict, others_possible
from dormouse.studies.arms import Arm
from dormouse.studies.design import Design
from dormouse.studies.pairing import Pairing

UNMATCHED = "before treatment the organisms of one side are stronger, by more than two standard deviations"
MAY_HIDE = "; numbers that are only bounds may hide it from more of them, too, so no chance of a verdict is given"
HIDDEN = "times that reached the budget, or doses beyond those given, hide whether the effect is as large as claimed"


class ClaimEvidence:
    """One claim, and what there is to answer it.

    Attributes:
        each: what is compared: all set-ups together or, of a claim about every set-up, each arm in every one.
        shown: the one of these that decides or, where nothing is tested, that speaks most against the claim.
        effect: the effect in that one.
    """

    def __init__(self, design: Design, pairing: Pairing, numbers: Numbers, fewest: float = FEWEST) -> None:
        """`numbers` are those of the seeds of the design; of set-ups with fewer that pass the gate none counts."""
        self.design, self.pairing, self.claim, self.numbers = design, pairing, pairing.claim, numbers
        self.look, self.counted = look_of(design.study.seeds, design.look), Counted(design, pairing, numbers, fewest)
        self.whole = Comparison(self.counted, self.counted.setups, self.look)
        self.constant, self.each = self.whole.constant, self._each() or [self.whole]
        effects = [one.settled or one.effect for one in self.each]
        self.test = test_of(self.claim, effects, self.look)
        decides = [i for i, one in enumerate(effects) if self.test and one is self.test.effect]
        self.shown = self.each[decides[0] if decides else worst_of(self.claim, effects)]
        self.effect = self.shown.effect

    def _each(self) -> list[Comparison]:
        if self.claim.quantifier == "mean":
            return [self.whole]
        parts = [replace(one, these=(arm,)) for one in self.counted.setups for arm in one.these]
        return [Comparison(self.counted, [one], self.look) for one in parts]

    @property
    def p(self) -> float | None:
        """That of the test; None where nothing is tested."""
        return self.test.p if self.test else None

    @property
    def p_sign(self) -> float:
        """Likewise what the test says of the sign."""
        return self.test.p_sign if self.test else 1.0

    @property
    def _judged(self) -> Sequence[Comparison]:
        """Those on which a verdict rests: on each, where each has to support the claim; else on the shown one."""
        return self.each if self.test and self.test.verdict == "supported" else [self.shown]

    def _matched(self) -> Matching | None:
        """How strong the sides are before treatment: where they are not alike, if that is anywhere."""
        found = (one.matching for one in self._judged)
        return next((one for one in found if one and not one.overlap), self.shown.matching)

    @property
    def lacks(self) -> list[Arm]:
        """The arms that a claim about every set-up speaks of and that are not counted: without them nothing supports
        it."""
        return self.counted.uncounted() if self.claim.quantifier == "every" else []

    def _remedy(self, decision: Decision) -> Remedy:
        """Whether more seeds may change an outcome. They do not where what hides it, or keeps it from being supported,
        stays; as long as the numbers speak against it, it may still be contradicted."""
        if decision.outcome not in ("undecided", "not comparable"):
            return "none"
        lost = self.counted.lost() if self.lacks else []
        hidden = [one.stays_hidden() for one in self.each]
        bounded = bool(lost) or any(hidden)
        for_it = self.test is not None and self.test.verdict == "supported"
        if (bounded and for_it) or all(hidden) or not self.counted.possible():
            return "none"
        unknown = bounded or self.lacks or not self.counted.setups or decision.why in (HIDDEN, UNMATCHED)
        return "perhaps seeds" if unknown or self._will_hide else "seeds"

    @property
    def _will_hide(self) -> bool:
        """Whether bounds may hide with more seeds, too, what the numbers point to: then no chance is known."""
        return any(one.will_hide() for one in self.each)

    def _decision(self, corrected: Corrected | None, matched: Matching | None, left: float | None) -> Decision:
        if self.effect and matched and not matched.overlap:
            return Decision("not comparable", why=UNMATCHED)
        decision = decide(self.claim, self.test, corrected, left)
        would = self.test.verdict if self.test and decision.why == FRAGILE else decision.outcome
        if any(not one.settled and one.hides(would) for one in self._judged):  # see `bounded`
            return Decision("undecided", why=HIDDEN)
        if decision.outcome == "undecided" and not decision.why:
            decision = replace(decision, why=self._why() + (MAY_HIDE if self._will_hide else ""))
        if decision.outcome not in ("supported", "undecided") or not self.counted.setups or not (out := self.lacks):
            return decision
        named = ", ".join(map(self.counted.named, out))
        holds = f"it holds in every set-up that counts, but of these does not: {named}"
        return Decision("undecided", why=f"{decision.why}; not counted: {named}" if decision.why else holds)

    def answer(self, corrected: Corrected | None, comparisons: int) -> Verdict:
        """The verdict by p-values that were `corrected` for so many `comparisons` (None: no test); no `chances`."""
        claim, found, counted, shown, ends = self.claim, self.effect, self.counted, self.shown, self.shown.open_ends()
        left, matched, budgets = shown.room(), self._matched(), counted.censoring.budgets
        decision, gated = self._decision(corrected, matched, left), counted.gated()
        turned = otherwise(claim, found, decision, shown.ends_by_seed()) if found else None
        return Verdict(
            id=claim.id,
            says=claim.says,
            compare=claim.compare,
            where=claim.where,
            against=claim.against,
            direction=claim.direction,
            margin=claim.margin,
            split=claim.split,
            x=claim.x,
            step=claim.step,
            family=tuple(self.pairing.family),
            quantifier=claim.quantifier,
            verdict=decision.outcome,
            contradiction=decision.contradiction,
            why=decision.why,
            remedy=self._remedy(decision),
            effect=found.value if found else None,
            low=found.low if found else None,
            high=found.high if found else None,
            open_ends=ends,
            standardised=found.value / found.seed_sd if found and found.varies and not ends else None,
            seeds=shown.seeds,
            items=found.items if found else 0,
            paired=found.paired if found else "",
            test="t" if self.test else None,
            p=self.p,
            p_corrected=corrected.p if corrected else None,
            comparisons=comparisons,
            look=look_taken(self.design),
            chances=(),
            otherwise=turned,
            others_possible=others_possible(turned, len(found.seeds)) if found and turned is not None else None,
            room=left,
            arms=tuple(sorted(map(counted.named, counted.arms))),
            setups=len(counted.setups),
            alone=tuple(map(counted.named, counted.alone)),
            missing=tuple(counted.holes()),
            gate=gated.gate,
            gate_pairs=gated.pairs,
            left_out=gated.left_out,
            weak=gated.weak,
            thin=tuple(map(counted.named, counted.thin)),
            before=shown.before(),
            matching=matched,
            adjusted=shown.adjusted(),
            censored=budgets[0] if budgets else None,
            budgets=tuple(budgets),
            at_budget=shown.at_budget(),
            damage=counted.damage.bound,
            damaged=tuple(one for arm in counted.damaged if (one := counted.ruined(arm))),
            damage_passed=self._passed(),
            curve=tuple(self._curve()),
        )

    def _curve(self) -> list[CurvePoint]:
        whole = self.whole
        return curve(self.claim.direction, self.pairing.family, whole.setups, whole.effect_of, whole.ends_of)

    def _passed(self) -> DamagePassed:
        """What the damage gate lets pass."""
        hurt = self.counted.damaged_seeds(self.shown.seeds)
        without = self.shown.without({one.seed for one in hurt})
        return DamagePassed(tuple(hurt), without, tuple(self.counted.damage_unknown()))

    def chances(self, answer: Verdict) -> tuple[Chance, ...]:
        """Of a verdict with more seeds, where it is seeds that are missing."""
        effects = [one.effect for one in self.each if one.effect]
        if answer.remedy != "seeds" or len(effects) < len(self.each):
            return ()
        # with more seeds, claims will be tested that were not
        asked = Asked(self.claim.direction, self.claim.margin, LEVEL / len(self.design.claims))
        return chances(effects, asked, later(self.design))

    def _why(self) -> str:
        """What stands in the way of an answer."""
        counted, setups = self.counted, self.shown.setups
        if not setups:
            return counted.nothing()
        gated = counted.shared(setups, counted.seen) != counted.shared(setups, counted.found)
        if not self.effect:
            return "the arms share no seed" + (" that passes the strength gate" if gated else "")
        if len(self.effect.seeds) < FEWEST:
            few = f"{len(self.effect.seeds)} of the {FEWEST} seeds that it takes at least"
            whole = [counted.planned(arm) == set(counted.seen(arm, split)) for arm, split in cells(setups)]
            few += "" if all(whole) else ": not all were measured"
            return f"the strength gate leaves {few}" if gated else few
        return "the effect is too close to the margin for so few seeds"
