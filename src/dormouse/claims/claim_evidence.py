"""One claim of a study, and what there is to answer it: see `claims.answer`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dormouse.claims.censoring import Censoring, open_ends
from dormouse.claims.chances import chances
from dormouse.claims.curve import curve
from dormouse.claims.damage import Damage
from dormouse.claims.decision import Decision, decide, room, span, test_of
from dormouse.claims.effects import FEWEST, Effect, Span, ValuesByItem, effect
from dormouse.claims.looks import later, look_of, look_taken
from dormouse.claims.matching import Side, adjusted, grown, matching
from dormouse.claims.numbers import Numbers, mean
from dormouse.claims.strength import Gated, StrengthGate
from dormouse.claims.verdict import Chance, Damaged, End, Matching, Sides, Verdict
from dormouse.registry import nearest
from dormouse.studies.arms import Arm
from dormouse.studies.design import Design
from dormouse.studies.doses import EXPONENT
from dormouse.studies.pairing import Pairing, Setup

UNMATCHED = "before treatment no organism of one side is as strong as any of the other"
HIDDEN = "times that reached the budget, or doses beyond those given, hide whether the effect is as large as claimed"


class ClaimEvidence:
    """One claim, and what there is to answer it."""

    def __init__(self, design: Design, pairing: Pairing, numbers: Numbers) -> None:
        self.design, self.pairing, self.claim, self.numbers = design, pairing, pairing.claim, numbers
        claim = self.claim
        self.look, self.only = look_of(design.study.seeds, design.look), {*design.every_seed}
        self.constant = claim.against if isinstance(claim.against, float) else None
        self.strength = StrengthGate(design, numbers, claim.bounds)
        self.alone, self.family = dict.fromkeys(pairing.alone()), pairing.family
        self.damage, self.damaged = Damage(numbers, claim.most_damage), dict[Arm, None]()
        self.missing: dict[Arm, None] = {}
        seen = self._kept(list(pairing.setups()), self._seen, self.missing)
        self.measured = self._kept(seen, self._spared, self.damaged)
        self.censoring = Censoring(numbers.limits.get(self._key(*one)) for one in _cells(self.measured))
        strong = self._kept(self.measured, self._found, {})
        self.setups = self._enough(strong)
        self.thin = [arm for arm in _arms(self.measured) if arm not in _arms(self.setups)]
        self.span = self._span()
        each = self._each()
        self.test, self.settled = test_of(claim, each), False
        self.effect = self.test.effect if self.test else each[0] if each else None

    def _key(self, arm: Arm, split: str) -> Any:
        claim, step = self.claim, self.claim.step
        # what a part of a chain says, or its beginning
        if step is None and claim.compare in self.design.treatment_metrics(arm):
            step = self.numbers.last(arm, claim.compare)
        elif step is None:
            step = self.design.steps(arm)[-1]
        return (arm.model, arm.organism, arm.chain, step, claim.compare, split, claim.x)

    def _seen(self, arm: Arm, split: str) -> Mapping[int, ValuesByItem]:
        found = self.numbers.values.get(self._key(arm, split), {})
        return {seed: values for seed, values in found.items() if seed in self.only}

    def _spared(self, arm: Arm, split: str) -> Mapping[int, ValuesByItem]:
        """What was measured, of arms whose treatment did not ruin the model."""
        return {} if self._ruined(arm) else self._seen(arm, split)

    def _behind(self, arm: Arm) -> tuple[Arm, ...]:
        """The arms from which what is compared of an arm is made: of a dose to one half all doses."""
        return self.design.behind(arm, self.claim.compare)

    def _ruined(self, arm: Arm) -> Damaged | None:
        """The first of the arms behind it whose treatment is damage."""
        said = self.claim.step
        steps = ((one, self.design.steps(one)[-1] if said is None else said) for one in self._behind(arm))
        found = (self.damage.damaged(one, step, self._named(one)) for one, step in steps)
        return next(filter(None, found), None)

    def _found(self, arm: Arm, split: str) -> Mapping[int, ValuesByItem]:
        """What is compared: of organisms that pass the gate, times cut where all were followed."""
        seen, behind = self._seen(arm, split), self._behind(arm)
        strong = {seed: values for seed, values in seen.items() if self.strength.all_pass(behind, seed)}
        return self.censoring.cut(strong)

    def _kept(
        self, setups: Sequence[Setup], found: Callable[[Arm, str], Mapping[int, ValuesByItem]], gone: dict[Arm, None]
    ) -> list[Setup]:
        """The set-ups without the arms of which nothing is found, nor those that have no counterpart without them."""
        kept = []
        for setup in setups:
            empty = [arm for arm in setup.arms if not found(arm, setup.split)]
            gone |= dict.fromkeys(empty)
            left, lost = self.pairing.without(setup, empty)
            self.alone |= dict.fromkeys(lost)
            kept += [left] if left else []
        return kept

    def _seeds(self, setups: Sequence[Setup], found: Callable[[Arm, str], Mapping[int, ValuesByItem]]) -> set[int]:
        each = [set(found(*cell)) for cell in _cells(setups)]
        return set.intersection(*each) if each else set()

    def _planned(self, arm: Arm) -> set[int]:
        """The seeds with which the study runs an arm."""
        return set(self.design.seeds([arm]))

    def _strong(self, setups: Sequence[Setup]) -> set[int]:
        """The seeds with which every arm passes the gate, whatever was measured of it afterwards."""
        behind = {arm: self._behind(arm) for arm in _arms(setups)}
        each = [{s for s in self._planned(arm) if self.strength.all_pass(some, s)} for arm, some in behind.items()]
        return set.intersection(*each) if each else set()

    def _enough(self, setups: list[Setup]) -> list[Setup]:
        """Without the set-ups for which the gate leaves too few seeds, as long as others have enough in common.

        The one with the fewest seeds of its own goes first: while two are weak, to drop either gains nothing.
        """
        kept = list(setups)

        def strength(one: Setup) -> tuple[int, int]:
            """(Seeds that pass the gate in this set-up, minus those that all others share): the least goes first."""
            others = [other for other in kept if other is not one]
            return len(self._strong([one])), -len(self._strong(others))

        while kept and len(self._strong(kept)) < FEWEST:
            weakest = min(kept, key=strength)
            kept = [one for one in kept if one is not weakest]
        return kept or setups

    def _holes(self) -> list[str]:
        """Arms that were not measured, and seeds of arms that were not."""
        found = [self._named(arm) for arm in self.missing]
        for arm, split in dict.fromkeys(_cells(self.measured)):
            if lost := sorted(self._planned(arm) - set(self._seen(arm, split))):
                on = f" on {split}" if len(self.claim.split) > 1 else ""
                found.append(f"{self._named(arm)}{on}, seed {', '.join(map(str, lost))}")
        return found

    @property
    def p(self) -> float | None:
        """That of the test, for this look; None where nothing is tested."""
        return self.look.p(self.test.p, len(self.test.effect.seeds)) if self.test else None

    def _span(self) -> Span:
        """The least and the largest value of what is compared."""
        before = self.strength.mean(
            [arm for one in self.setups for arm in one.these], self._seeds(self.setups, self._found)
        )
        return span(self.claim.compare, before)

    def _each(self) -> list[Effect]:
        """The effects that decide: one of the mean or, of a claim about every set-up, one of each arm in it."""
        if self.claim.quantifier == "mean":
            found = [self._effect(self.setups)]
        else:
            found = [self._effect([replace(one, these=(arm,))]) for one in self.setups for arm in one.these]
        return [one for one in found if one]

    def _effect(self, setups: Sequence[Setup]) -> Effect | None:
        weighted = []
        for setup in setups:
            for side, sign in ((setup.these, 1.0), (setup.those, -1.0)):
                share = sign / len(side) / len(setups) if side else 0.0
                weighted += [(share, self._found(arm, setup.split)) for arm in side]
        return effect(weighted, self.constant or 0.0, self.span, self.look.level) if weighted else None

    def _side(self, these: bool) -> Side:
        """The arms of a side in every set-up, and what is compared of them."""
        return [(arm, self._found(arm, split)) for arm, split in self._cells_of(these)]

    def _cells_of(self, these: bool) -> list[tuple[Arm, str]]:
        return [(arm, one.split) for one in self.setups for arm in (one.these if these else one.those)]

    def _room(self) -> float | None:
        """By how much anything could differ from the arms compared with, in the claimed direction."""
        seeds = self.effect.seeds if self.effect else ()
        rates = [mean(found[seed][1]) for _, found in self._side(False) for seed in seeds]
        reference = self.constant if self.constant is not None else mean(rates) if rates else None
        return room(self.claim.direction, reference, self.span)

    def _decision(self, corrected: float | None, matched: Matching | None, left: float | None) -> Decision:
        if self.effect and matched and not matched.overlap:
            return Decision("not comparable", why=UNMATCHED)
        decision = decide(self.claim, self.test, corrected, left, self.look)
        may_hide = decision.outcome in ("supported", "contradicted") and not self.settled  # see `bounded`
        if may_hide and self.effect and self._hidden(decision.outcome, self.effect, *self._at_budget()):
            return Decision("undecided", why=HIDDEN)
        if decision.outcome == "undecided" and not decision.why:
            return replace(decision, why=self._why())
        return decision

    def answer(self, corrected: float | None, comparisons: int) -> Verdict:
        """The verdict by a p-value that was `corrected` for so many `comparisons` (None: nothing was tested)."""
        claim, found, left = self.claim, self.effect, self._room()
        seeds = found.seeds if found else ()
        sides = (self._side(True), self._side(False)) if found and self._before() else ((), ())
        matched = self._matched(*sides)
        decision = self._decision(corrected, matched, left)
        gated, budgets = self._gated(), self.censoring.budgets
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
            family=tuple(self.family),
            quantifier=claim.quantifier,
            verdict=decision.outcome,
            contradiction=decision.contradiction,
            why=decision.why,
            effect=found.value if found else None,
            low=found.low if found else None,
            high=found.high if found else None,
            open_ends=self._open(),
            standardised=found.value / found.seed_sd if found and found.error > 0 and found.seed_sd > 0 else None,
            seeds=seeds,
            items=found.items if found else 0,
            paired=found.paired if found else "",
            test="t" if self.test else None,
            p=self.p,
            p_corrected=corrected,
            comparisons=comparisons,
            look=look_taken(self.design),
            chances=self._chances(decision),
            others_possible=found.others_possible if found else None,
            room=left,
            arms=tuple(sorted(map(self._named, _arms(self.setups)))),
            setups=len(self.setups),
            alone=tuple(map(self._named, self.alone)),
            missing=tuple(self._holes()),
            gate=gated.gate,
            gate_pairs=gated.pairs,
            left_out=gated.left_out,
            weak=gated.weak,
            thin=tuple(map(self._named, self.thin)),
            before=self._before(),
            matching=matched,
            adjusted=adjusted(self.strength, *sides, seeds) if matched and all(sides) else None,
            censored=budgets[0] if budgets else None,
            budgets=tuple(budgets),
            at_budget=Sides(*self._at_budget()),
            damage=self.damage.bound,
            damaged=tuple(one for arm in self.damaged if (one := self._ruined(arm))),
            curve=tuple(curve(self.claim.direction, self.family, self.setups, self._effect)),
        )

    def _matched(self, where: Side, against: Side) -> Matching | None:
        """How strong the sides are before treatment: of an exponent against a number, most triggers and fewest."""
        seeds = self.effect.seeds if self.effect else ()
        if self.claim.compare == EXPONENT and where and not against:
            return grown(self.strength, map(self._behind, _arms(self.setups)), seeds)
        return matching(self.strength, where, against, seeds) if where and against else None

    def _chances(self, decision: Decision) -> tuple[Chance, ...]:
        """Of a verdict with more seeds, where it is seeds that are missing."""
        if decision.outcome != "undecided" or decision.why == HIDDEN or not self.effect:
            return ()
        # with more seeds, claims will be tested that were not
        more = {n: level / len(self.design.claims) for n, level in later(self.design).items()}
        return chances(self.effect, self.claim.direction, self.claim.margin, more)

    def _hidden(self, verdict: str, found: Effect, where: float | None, against: float | None) -> bool:
        """Whether times that were followed no further than to their budgets may hide that the verdict is wrong."""
        if self.censoring.beyond(self.constant) and where:
            return True
        at_most = [end in self._open() for end in ("low", "high")]
        if verdict == "supported":  # by values of the side that is claimed to be more, which may be less
            return any({"greater": at_most[:1], "less": at_most[1:]}.get(self.claim.direction, at_most))
        return verdict == "contradicted" and self.censoring.hides(self.claim.direction, found, where, against, *at_most)

    def _open(self) -> tuple[End, ...]:
        where, against = ([self._key(*cell) for cell in self._cells_of(side)] for side in (True, False))
        return open_ends(self.numbers, where, against, {*self.effect.seeds} if self.effect else set())

    def _why(self) -> str:
        """What stands in the way of an answer."""
        if not self.setups:
            return self._nothing()
        gated = self._seeds(self.setups, self._seen) != self._seeds(self.setups, self._found)
        if not self.effect:
            return "the arms share no seed" + (" that passes the strength gate" if gated else "")
        if len(self.effect.seeds) < FEWEST:
            few = f"{len(self.effect.seeds)} of the {FEWEST} seeds that it takes at least"
            whole = [self._planned(arm) == set(self._seen(arm, split)) for arm, split in _cells(self.setups)]
            few += "" if all(whole) else ": not all were measured"
            return f"the strength gate leaves {few}" if gated else few
        return "the effect is too close to the margin for so few seeds"

    def _nothing(self) -> str:
        """Why there are no two arms to compare."""
        measured = sorted({key[4] for key in self.numbers.values})
        if self.claim.compare not in measured:
            return f"'{self.claim.compare}' was not measured; {nearest(self.claim.compare, measured)}"
        where = "whose treatment is no damage" if self.damaged else "in which it was measured"
        where = "that pass the strength gate" if self.measured else where
        return f"there are no two arms to compare {where}"

    def _named(self, arm: Arm) -> str:
        model = f" on {arm.model}" if len(self.design.models) > 1 else ""
        return arm.organism + (f" + {arm.chain}" if arm.chain else "") + model

    def _gated(self) -> Gated:
        """What the gate did."""
        pairs = {
            (one.untreated, seed): None
            for arm, split in _cells(self.measured)
            for one in self._behind(arm)
            for seed in sorted(self._seen(arm, split))
        }
        return self.strength.gated(pairs, {arm: self._named(arm) for arm, _ in pairs})

    def _before(self) -> Sides | None:
        """How far the two sides are matched before treatment."""
        if self.claim.step == 0:
            return None
        seeds = self.effect.seeds if self.effect else ()
        return Sides(
            where=self.strength.mean([arm for setup in self.setups for arm in setup.these], seeds),
            against=self.strength.mean([arm for setup in self.setups for arm in setup.those], seeds),
        )

    def _at_budget(self) -> list[float | None]:
        """The share of times that reached the budget, on either side."""
        shares = []
        for these in (True, False):
            seeds = self.effect.seeds if self.effect else ()
            found = (self._found(*cell)[seed][1] for cell in self._cells_of(these) for seed in seeds)
            shares.append(self.censoring.share(value for values in found for value in values))
        return shares


def _cells(setups: Sequence[Setup]) -> Iterator[tuple[Arm, str]]:
    """Every arm of every set-up, with the split on which it is compared."""
    for setup in setups:
        yield from ((arm, setup.split) for arm in setup.arms)


def _arms(setups: Sequence[Setup]) -> dict[Arm, None]:
    return dict.fromkeys(arm for arm, _ in _cells(setups))
