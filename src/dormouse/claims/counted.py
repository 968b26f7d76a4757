"""Which arms and seeds a claim is answered by, and why the others do not count."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from dormouse.claims.censoring import Censoring
from dormouse.claims.damage import Damage
from dormouse.claims.effects import FEWEST, ValuesByItem
from dormouse.claims.numbers import Numbers
from dormouse.claims.strength import Gated, StrengthGate
from dormouse.claims.verdict import Damaged, DamagedSeed
from dormouse.registry import nearest
from dormouse.studies.arms import Arm
from dormouse.studies.design import Design
from dormouse.studies.pairing import Pairing, Setup

Found = Callable[[Arm, str], Mapping[int, ValuesByItem]]
"""What is found of an arm on a split, seed by seed."""


class Counted:
    """What is left of the set-ups of a claim: measured, no damage, and of organisms that were planted.

    Attributes:
        setups: those that are compared.
        measured: those and the ones for which the strength gate leaves too few seeds.
        alone: arms without a counterpart; likewise `missing` (not measured), `damaged` and `thin` (too few seeds).
        censoring: the budgets of what is compared.
    """

    def __init__(self, design: Design, pairing: Pairing, numbers: Numbers, fewest: float = FEWEST) -> None:
        """`fewest`: seeds that the gate has to leave."""
        self.design, self.pairing, self.claim, self.numbers = design, pairing, pairing.claim, numbers
        self.fewest = fewest
        self.strength = StrengthGate(design, numbers, self.claim.bounds)
        self.alone = dict.fromkeys(pairing.alone())
        self.damage, self.damaged = Damage(numbers, self.claim.most_damage), dict[Arm, None]()
        self.missing: dict[Arm, None] = {}
        seen = self._kept(list(pairing.setups()), self.seen, self.missing)
        self.measured = self._kept(seen, self._spared, self.damaged)
        self.setups = self._enough(self._kept(self.measured, self._passing, {}))
        self.censoring = Censoring(self._limits())
        self.thin = [arm for arm in arms_of(self.measured) if arm not in self.arms]

    @property
    def arms(self) -> dict[Arm, None]:
        """Those that are compared, each once."""
        return arms_of(self.setups)

    def key(self, arm: Arm, split: str) -> Any:
        """Where the number of an arm stands."""
        claim, step = self.claim, self.claim.step
        # what a part of a chain says, or its beginning
        if step is None and claim.compare in self.design.treatment_metrics(arm):
            step = self.numbers.last(arm, claim.compare)
        elif step is None:
            step = self.design.steps(arm)[-1]
        return (arm.model, arm.organism, arm.chain, step, claim.compare, split, claim.x)

    def seen(self, arm: Arm, split: str) -> Mapping[int, ValuesByItem]:
        """What was measured."""
        return self.numbers.values.get(self.key(arm, split), {})

    def found(self, arm: Arm, split: str) -> Mapping[int, ValuesByItem]:
        """What is compared: of organisms that pass the gate, times cut where all were followed."""
        return self.censoring.cut(self._passing(arm, split))

    def _passing(self, arm: Arm, split: str) -> Mapping[int, ValuesByItem]:
        """What was measured, of organisms that pass the gate."""
        seen, behind = self.seen(arm, split), self.behind(arm)
        return {seed: values for seed, values in seen.items() if self.strength.all_pass(behind, seed)}

    def _limits(self) -> Iterator[float | None]:
        """Where the times are cut off that are compared: those of seeds that do not count, for any reason, cut none."""
        together = [self.setups] if self.claim.quantifier == "mean" else [[one] for one in self.setups]
        for some in together:
            seeds = self.shared(some, self._passing)
            for arm, split in cells(some):
                limit = self.numbers.limit(self.key(arm, split), seeds)
                # records of older folders name the largest dose only where it was reached
                yield self.design.limit(arm, self.claim.compare) if limit is None else limit

    def _spared(self, arm: Arm, split: str) -> Mapping[int, ValuesByItem]:
        """What was measured, of arms whose treatment did not ruin the model."""
        return {} if self.ruined(arm) else self.seen(arm, split)

    def behind(self, arm: Arm) -> tuple[Arm, ...]:
        """The arms from which what is compared of an arm is made: of a dose to one half all doses."""
        return self.design.behind(arm, self.claim.compare)

    def ruined(self, arm: Arm) -> Damaged | None:
        """The first of the arms behind it whose treatment is damage."""
        found = (self.damage.damaged(one, step, self.named(one)) for one, step in self._costs([arm]))
        return next(filter(None, found), None)

    def damaged_seeds(self, seeds: Collection[int]) -> list[DamagedSeed]:
        """Those of these seeds that a treatment has damaged, of arms that are counted."""
        found = (one for arm, step in self._costs(self.arms) for one in self.damage.seeds(arm, step, self.named(arm)))
        return [one for one in found if one.seed in seeds]

    def damage_unknown(self) -> list[str]:
        """The arms that are counted without anybody knowing whether their treatment is damage."""
        at = "" if self.claim.step is None else f" at step {self.claim.step}"
        return [self.named(arm) + at for arm, step in self._costs(self.arms) if self.damage.unknown(arm, step)]

    def _costs(self, arms: Iterable[Arm]) -> dict[tuple[Arm, int], None]:
        """The arms behind some, each at the step at which its damage is looked at."""
        behind, said = (one for arm in arms for one in self.behind(arm)), self.claim.step
        return dict.fromkeys((one, self.design.steps(one)[-1] if said is None else said) for one in behind)

    def _kept(self, setups: Sequence[Setup], found: Found, gone: dict[Arm, None]) -> list[Setup]:
        """The set-ups without the arms of which nothing is found, nor those that have no counterpart without them."""
        kept = []
        for setup in setups:
            empty = [arm for arm in setup.arms if not found(arm, setup.split)]
            gone |= dict.fromkeys(empty)
            left, lost = self.pairing.without(setup, empty)
            self.alone |= dict.fromkeys(lost)
            kept += [left] if left else []
        return kept

    def shared(self, setups: Sequence[Setup], found: Found) -> set[int]:
        """The seeds of which something is found in every arm."""
        each = [set(found(*cell)) for cell in cells(setups)]
        return set.intersection(*each) if each else set()

    def planned(self, arm: Arm) -> set[int]:
        """The seeds with which the study runs an arm."""
        return set(self.design.seeds([arm]))

    def _strong(self, setups: Sequence[Setup]) -> set[int]:
        """The seeds with which every arm passes the gate, whatever was measured of it afterwards."""
        behind = {arm: self.behind(arm) for arm in arms_of(setups)}
        each = [{s for s in self.planned(arm) if self.strength.all_pass(some, s)} for arm, some in behind.items()]
        return set.intersection(*each) if each else set()

    def _enough(self, setups: list[Setup]) -> list[Setup]:
        """Without the set-ups for which the gate leaves too few seeds, as long as others have enough.

        A mean is one of seeds that all set-ups share. The one with the fewest seeds of its own goes first: while two
        are weak, to drop either gains nothing. Of a claim about every set-up, each has seeds of its own.
        """
        if self.claim.quantifier == "every":
            return [one for one in setups if len(self._strong([one])) >= self.fewest] or setups
        kept = list(setups)

        def strength(one: Setup) -> tuple[int, int]:
            """(Seeds that pass the gate in this set-up, minus those that all others share): the least goes first."""
            others = [other for other in kept if other is not one]
            return len(self._strong([one])), -len(self._strong(others))

        while kept and len(self._strong(kept)) < self.fewest:
            weakest = min(kept, key=strength)
            kept = [one for one in kept if one is not weakest]
        return kept or setups

    def uncounted(self) -> list[Arm]:
        """The arms of which something is claimed that are not counted, on some split at least."""
        return self._outside(self.setups)

    def lost(self) -> list[Arm]:
        """Those of them that more seeds do not bring back."""
        return self._outside(self.possible())

    def possible(self) -> list[Setup]:
        """What more seeds may leave of the set-ups: all but arms without a counterpart, and those that a treatment
        ruins with every seed."""
        ruins = {arm for arm in self.damaged if any(self.damage.always(*one) for one in self._costs([arm]))}
        return [left for one in self.pairing.setups() if (left := self.pairing.without(one, ruins)[0])]

    def _outside(self, setups: Sequence[Setup]) -> list[Arm]:
        kept = {(arm, one.split) for one in setups for arm in one.these}
        asked = ((arm, split) for arm in self.pairing.these for split in self.claim.split)
        return [*dict.fromkeys(arm for arm, split in asked if (arm, split) not in kept)]

    def holes(self) -> list[str]:
        """Arms that were not measured, and seeds of arms that were not."""
        found = [self.named(arm) for arm in self.missing]
        for arm, split in dict.fromkeys(cells(self.measured)):
            if lost := sorted(self.planned(arm) - set(self.seen(arm, split))):
                on = f" on {split}" if len(self.claim.split) > 1 else ""
                found.append(f"{self.named(arm)}{on}, seed {', '.join(map(str, lost))}")
        return found

    def nothing(self) -> str:
        """Why there are no two arms to compare."""
        measured = sorted({key[4] for key in self.numbers.values})
        if self.claim.compare not in measured:
            return f"'{self.claim.compare}' was not measured; {nearest(self.claim.compare, measured)}"
        where = "whose treatment is no damage" if self.damaged else "in which it was measured"
        where = "that pass the strength gate" if self.measured else where
        return f"there are no two arms to compare {where}"

    def gated(self) -> Gated:
        """What the gate did."""
        pairs = {
            (one.untreated, seed): None
            for arm, split in cells(self.measured)
            for one in self.behind(arm)
            for seed in sorted(self.seen(arm, split))
        }
        return self.strength.gated(pairs, {arm: self.named(arm) for arm, _ in pairs})

    def named(self, arm: Arm) -> str:
        """An arm, as a reader knows it."""
        model = f" on {arm.model}" if len(self.design.models) > 1 else ""
        return arm.organism + (f" + {arm.chain}" if arm.chain else "") + model


def cells(setups: Sequence[Setup]) -> Iterator[tuple[Arm, str]]:
    """Every arm of every set-up, with the split on which it is compared."""
    for setup in setups:
        yield from ((arm, setup.split) for arm in setup.arms)


def arms_of(setups: Sequence[Setup]) -> dict[Arm, None]:
    """The arms of set-ups, each once."""
    return dict.fromkeys(arm for arm, _ in cells(setups))
