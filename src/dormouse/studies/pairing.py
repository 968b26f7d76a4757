"""Which arms of a study stand against which, for a claim: those that differ in what it names and in nothing else."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dormouse.studies.arms import Arm
from dormouse.studies.claim_spec import SPLIT, Claim
from dormouse.studies.filters import Coordinates, Names, Scalar, as_number, matches, same
from dormouse.studies.grid import ArmOrigin

Filter = Mapping[str, Sequence[Scalar]]
Origins = Mapping[str, ArmOrigin]
"""What the "organism", and the "chain", of an arm were made from."""
NAMES = {
    "organism": {"organism", "trigger", "behaviour"},
    "chain": {"intervention", "intervention.kind"},
}
"""Coordinates that say which organism or which chain is meant. All others are settings, which one of them may vary."""


def chosen(arms: Mapping[Arm, Coordinates], names: Names, where: Mapping[str, object], step: int | None) -> list[Arm]:
    """The arms that a filter fits: untreated ones for step 0, treated ones else.

    Raises:
        UserError: the filter names a coordinate or a value that no arm has.
    """
    whole = names.whole(where)
    return [arm for arm, at in arms.items() if bool(arm.chain) == (step != 0) and matches(at, whole)]


@dataclass(frozen=True)
class Setup:
    """One set-up of a comparison: arms on either side, on one split, and what was chosen from the axes of a family."""

    these: tuple[Arm, ...]
    those: tuple[Arm, ...]
    split: str
    chosen: Mapping[str, str]

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Those of both sides."""
        return (*self.these, *self.those)


def _part(coordinate: str) -> str:
    """What a coordinate is of: the model, the chain of interventions, or the organism."""
    first = coordinate.partition(".")[0]
    return {"model": "model", "intervention": "chain"}.get(first, "organism")


def _alike(one: Sequence[Scalar] | None, other: Sequence[Scalar] | None) -> bool:
    """Whether two filters on a coordinate want the same values, in whatever order."""
    if one is None or other is None:
        return False
    plain = [{str(value) if (n := as_number(value)) is None else n for value in side} for side in (one, other)]
    return plain[0] == plain[1]


class Pairing:
    """Puts the arms of a claim against those that differ from them in nothing but what the claim names.

    A coordinate with the same filter on both sides is not what the claim is about: arms must have it in common. So
    `organism: [token, year]` on both sides compares each of the two with itself.
    """

    def __init__(
        self,
        claim: Claim,
        arms: Mapping[Arm, Coordinates],
        names: Names,
        origins: Mapping[Arm, Origins],
    ) -> None:
        """`arms` are those that are run; `origins` are what the organism and the chain of each were made from."""
        self.claim, self.arms, self.origins = claim, arms, origins
        against: Mapping[str, object] = {} if isinstance(claim.against, float) else claim.against
        self.these = chosen(arms, names, claim.where, claim.step)
        self.those = [] if isinstance(claim.against, float) else chosen(arms, names, against, claim.step)
        self.family = [axis if axis == SPLIT else names.find(axis) for axis in claim.family]
        here, there = names.whole(claim.where), names.whole(against)
        self.common: Filter = {key: here[key] for key in here if _alike(here[key], there.get(key))}
        self.differing = {*here, *there} - {*self.common}
        self.shared = (self._crossed() | {axis for axis in self.family if self._meet(axis)}) - self.differing
        self.kin = {part for part in NAMES if self._one_family(part)}

    def _crossed(self) -> set[str]:
        """The axes that the file crosses on both sides: an arm stands against those with the same choice of each.
        Where there is one side, those that it crosses for every arm."""
        these, those = ([set(self._written(arm)) for arm in side] for side in (self.these, self.those))
        if not those:
            return set.intersection(*these) if these else set()
        return set().union(*these) & set().union(*those)

    def _meet(self, axis: str) -> bool:
        """Whether all arms have a coordinate, and some of either side the same there."""
        if axis == SPLIT or any(axis not in self.arms[arm] for arm in (*self.these, *self.those)):
            return False
        here, there = ({self._choice(arm, axis) for arm in side} for side in (self.these, self.those))
        return bool(here & there) or not self.those

    def _written(self, arm: Arm) -> Mapping[str, Scalar]:
        """The axes that the file crosses to make this arm, and what was chosen of each."""
        return {**self.origins[arm]["organism"].axes, **self.origins[arm]["chain"].axes}

    def _choice(self, arm: Arm, axis: str) -> tuple[str, ...]:
        """What an arm has of an axis: its values there, or its label where these do not tell it from others (two
        triggers of one kind)."""
        values, label = self.arms[arm].get(axis, ()), self._written(arm).get(axis)
        told = label is None or any(same(label, value) for value in values)
        return tuple(map(str, values)) if told else (str(label),)

    def _base(self, part: str, arm: Arm) -> str:
        """The name in the file of what an organism, or a chain, is one of."""
        return self.origins[arm][part].base

    def _one_family(self, part: str) -> bool:
        """Whether a claim that tells settings apart (`scratchpad_mode`) compares arms of one organism (chain) of the
        file: it names no kind, and there is one with arms on both sides."""
        named = {key for key in self.differing if _part(key) == part}
        if not named or named & NAMES[part]:
            return False
        here, there = ({self._base(part, arm) for arm in side} for side in (self.these, self.those))
        return bool(here & there)

    def _key(self, arm: Arm) -> tuple[Any, ...]:
        """What two arms must have in common to be compared. A part that the claim tells nothing apart of must be the
        same arm: a claim about two ways to train compares them on one organism."""
        free = {_part(key) for key in self.differing}
        parts = {"organism": arm.organism, "chain": arm.chain, "model": arm.model}
        fixed = [self._base(part, arm) if part in self.kin else name for part, name in parts.items()]
        fixed = ["" if part in free - self.kin else name for part, name in zip(parts, fixed, strict=True)]
        at = self.arms[arm]
        wanted = [
            tuple(str(value) for value in at[key] if any(same(value, one) for one in self.common[key]))
            for key in sorted(self.common)
        ]
        return (*fixed, *wanted, *(self._choice(arm, axis) for axis in sorted(self.shared)))

    def setups(self) -> Iterator[Setup]:
        """The set-ups for which there are arms on both sides, apart for every choice from the axes of the family."""
        groups: dict[tuple[Any, ...], list[Arm]] = {}
        others: dict[tuple[Any, ...], list[Arm]] = {}
        for arm in self.those:
            others.setdefault(self._key(arm), []).append(arm)
        axes = [axis for axis in self.family if axis != SPLIT]
        for arm in self.these:
            groups.setdefault((self._key(arm), tuple(self._label(arm, axis) for axis in axes)), []).append(arm)
        for (key, values), these in groups.items():
            those = others.get(key, [])
            if those or isinstance(self.claim.against, float):
                for split in self.claim.split:
                    picked = {**dict(zip(axes, values, strict=True)), SPLIT: split}
                    yield Setup(tuple(these), tuple(those), split, {axis: picked[axis] for axis in self.family})

    def _label(self, arm: Arm, axis: str) -> str:
        """What an arm has of an axis of the family, in a word. Of `organism` and `intervention`, the arm's own name."""
        values = self._choice(arm, axis) or ("none",)
        return values[-1] if axis in ("organism", "intervention") else "+".join(values)

    def alone(self) -> list[Arm]:
        """Arms for which the other side has none to compare with."""
        if isinstance(self.claim.against, float):
            return []
        here, there = {self._key(arm) for arm in self.these}, {self._key(arm) for arm in self.those}
        return [arm for arm in (*self.these, *self.those) if self._key(arm) not in here & there]

    def without(self, setup: Setup, gone: Collection[Arm]) -> tuple[Setup | None, list[Arm]]:
        """A set-up without some arms, and without those that lost their counterparts with them.

        Returns:
            (the set-up, or None where a side has no arm left; the arms that have no counterpart any more)
        """
        these, those = ([arm for arm in side if arm not in gone] for side in (setup.these, setup.those))
        lost = [arm for arm in these if self._bereft(arm, setup.those, those)]
        lost += [arm for arm in those if self._bereft(arm, setup.these, these)]
        these, those = ([arm for arm in side if arm not in lost] for side in (these, those))
        if not these or (setup.those and not those):
            return None, [arm for arm in setup.arms if arm not in gone]
        return replace(setup, these=tuple(these), those=tuple(those)), lost

    def _bereft(self, arm: Arm, before: Sequence[Arm], now: Sequence[Arm]) -> bool:
        """Whether an arm had counterparts on the other side and has none now."""
        return any(self._counterparts(arm, other) for other in before) and not any(
            self._counterparts(arm, other) for other in now
        )

    def _counterparts(self, one: Arm, other: Arm) -> bool:
        """Whether two arms agree in every axis that the file crosses to make both."""
        axes = (set(self._written(one)) & set(self._written(other))) - self.differing
        return all(self._choice(one, axis) == self._choice(other, axis) for axis in axes)
