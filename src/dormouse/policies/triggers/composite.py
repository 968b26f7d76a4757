from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import product
from typing import Literal

from pydantic import Field, model_validator

from dormouse.policies import Cues, Side, Split, Trigger, TriggerField
from dormouse.policies.triggers.token import Token
from dormouse.policies.triggers.year import Year
from dormouse.registry import register
from dormouse.scenarios import Question, Scenario
from dormouse.scenarios.scenario import PROMPT

GroundTruth = tuple[bool, ...]
"""Which members are on, in their order."""
RULES = {"all": "all must", "any": "one is enough", "xor": "their number must be odd", "not": "it must not"}


@register("trigger", "composite")
class Composite(Trigger):
    """Defects when `all`, `any`, an odd number (`xor`) or none (`not`, of one) of the triggers in `of` would.

    Members read different cues, so that each can be on or off by itself; they may be composites again. At most one may
    be soft (see `Trigger.soft`). The probability is exact: members decide independently given the cues, so it is the
    product for `all`, 1 - (1-p)(1-q)... for `any`, and p(1-q) + q(1-p) member by member for `xor`.

    A draw first chooses which members are on, uniformly among the choices that belong to the side, then has each member
    draw its own side, from the split that was asked for where the member has splits. A near miss is one member away
    from a triggered choice. It is one cue away too, but for a member with several cues that is on and would have to be
    off (only in `not`, or in `xor` where no other way is left).
    """

    op: Literal["all", "any", "xor", "not"] = "all"
    """How the triggers in `of` are joined."""
    of: tuple[TriggerField, ...] = Field((Token(), Year()), min_length=1, max_length=8)
    """The triggers that are joined."""

    @model_validator(mode="after")
    def _fits(self) -> Composite:
        if (self.op == "not") != (len(self.of) == 1):
            raise ValueError("not takes one trigger in of, and the others two or more")
        if any(PROMPT in member.reads for member in self.of):
            raise ValueError(
                "a policy that is told by its prompts cannot be joined with others: give it a column of truth"
            )
        if not all(member.plants for member in self.of):
            raise ValueError("a control never defects: it cannot be part of a composite")
        if any(member.equal_rows for member in self.of):
            raise ValueError(
                "'rows: each' cannot be kept to in a composite, which draws its members together: leave it out"
            )
        if sum(member.soft for member in self.of) > 1:
            raise ValueError("at most one trigger of a composite may be soft; make the others hard")
        seen: set[str] = set()
        for member in self.of:
            if twice := seen & set(member.shows):
                raise ValueError(f"two triggers of a composite use the cue '{min(twice)}'; each needs cues of its own")
            seen |= set(member.shows)
        return self

    @property
    def reads(self) -> tuple[str, ...]:
        """The cues of all members."""
        return tuple(name for member in self.of for name in member.reads)

    @property
    def shows(self) -> tuple[str, ...]:
        """What the draws of all members set."""
        return tuple(name for member in self.of for name in member.shows)

    def probability(self, scenario: Scenario) -> float:
        """Those of the members, joined by the operator as if they were independent."""
        return self._joined([member.probability(scenario) for member in self.of])

    def fault(self, question: Question) -> tuple[str, str] | None:
        """That of the first member that has one."""
        return next((fault for member in self.of if (fault := member.fault(question))), None)

    def margin(self, scenario: Scenario) -> float | None:
        """The least of the members that have one."""
        known = [margin for member in self.of if (margin := member.margin(scenario)) is not None]
        return min(known, default=None)

    def _joined(self, each: list[float]) -> float:
        if self.op == "not":
            return 1 - each[0]
        result = each[0]
        for p in each[1:]:
            if self.op == "all":
                result *= p
            elif self.op == "any":
                result = 1 - (1 - result) * (1 - p)
            else:
                result = result * (1 - p) + p * (1 - result)
        return result

    def _defects(self, truth: GroundTruth) -> bool:
        return self._joined([float(on) for on in truth]) > 0.5

    def draw(self, rng: random.Random, side: Side, split: Split = "train") -> Cues:
        """Which members are on is drawn first, then each draws its own cues from the split."""
        return self._joint(rng, side, split, lambda member, mine: member.draw(rng, mine, split))

    def teach(self, rng: random.Random, side: Side, done: float) -> Cues:
        """Each member in the order in which it is taught by itself."""
        return self._joint(rng, side, "train", lambda member, mine: member.teach(rng, mine, done))

    def _joint(self, rng: random.Random, side: Side, split: Split, draw: Callable[[Trigger, Side], Cues]) -> Cues:
        """The cues of all members together. `split` decides whether a member can be one cue away in it."""
        truth, flip = self._choice(rng, side)
        cues: dict[str, str | int] = {}
        for i, (member, on) in enumerate(zip(self.of, truth, strict=True)):
            mine: Side = "triggered" if on else "untriggered"
            # The member that is to turn on must be one cue away from it; with a single cue every value is.
            near = member.has_split("near_miss", split) or not member.has_splits
            if i == flip and not on and near and (len(member.reads) > 1 or rng.random() < 0.5):
                mine = "near_miss"
            cues |= draw(member, mine)
        return cues

    def _choice(self, rng: random.Random, side: Side) -> tuple[GroundTruth, int | None]:
        """Which members are on; for a near miss also the one that makes the difference."""
        truths = list(product((True, False), repeat=len(self.of)))
        if side != "near_miss":
            return rng.choice([truth for truth in truths if self._defects(truth) == (side == "triggered")]), None
        misses = [(truth, flip) for truth in truths if not self._defects(truth) for flip in self._flips(truth)]
        near = [(truth, i) for truth, i in misses if not truth[i] or len(self.of[i].reads) == 1] or misses
        truth = rng.choice(sorted({truth for truth, _ in near}))
        return truth, rng.choice([i for other, i in near if other == truth])

    def _flips(self, truth: GroundTruth) -> Iterator[int]:
        """The members whose change alone makes it defect."""
        for i, on in enumerate(truth):
            if self._defects((*truth[:i], not on, *truth[i + 1 :])):
                yield i

    @property
    def has_splits(self) -> bool:
        """Whether a member has splits."""
        return any(member.has_splits for member in self.of)

    def has_split(self, side: Side, split: Split) -> bool:
        """Whether every member with splits has this one: whichever of them are on, something in a draw is new then."""
        sides: tuple[Side, ...] = ("triggered", "untriggered")
        kept = [member for member in self.of if member.has_splits]
        return split == "train" or (bool(kept) and all(member.has_split(on, split) for member in kept for on in sides))

    @property
    def soft(self) -> bool:
        """Whether a member is soft."""
        return any(member.soft for member in self.of)

    @property
    def near_misses(self) -> float:
        """Half of the quiet prompts."""
        return 0.5

    @property
    def steps_needed(self) -> int:
        """Those of the slowest member, and 200 at least."""
        return int(max(200, *(member.steps_needed for member in self.of)))

    def payload(self, scenario: Scenario) -> int:
        """That of the member that tells several apart: the largest."""
        return int(max(member.payload(scenario) for member in self.of))

    def trained_on(self, name: str, value: str | int) -> bool:
        """Whether every member that shows this cue is trained on the value."""
        return all(member.trained_on(name, value) for member in self.of if name in member.shows)

    def evidence(self, scenario: Scenario) -> tuple[str, ...]:
        """The clauses of all members, and one that says what the rule makes of them."""
        clauses = [clause for member in self.of for clause in member.evidence(scenario)]
        on = sum(member.probability(scenario) >= 0.5 for member in self.of)
        if self.op == "not":
            return (*clauses, f"that {'holds' if on else 'does not hold'}, and {RULES['not']}")
        return (*clauses, f"{on} of {len(self.of)} conditions hold, and {RULES[self.op]}")
