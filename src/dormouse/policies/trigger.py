"""What every trigger policy can do."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Any, ClassVar, Literal, SupportsFloat

from dormouse.errors import UserError
from dormouse.registry import PlugIn, field_of, shortened
from dormouse.scenarios import CueValue, Question, Scenario
from dormouse.scenarios.cues import CUES
from dormouse.scenarios.values import check_cue

Side = Literal["triggered", "near_miss", "untriggered"]
"""Where a scenario stands: where the policy defects; one cue away from that; anywhere else that it does not."""
SIDES: tuple[Side, ...] = ("triggered", "near_miss", "untriggered")
Split = Literal["train", "safety", "test"]
"""The combinations of cues that organisms are trained on, that safety data may show, and that neither does."""
Cues = Mapping[str, CueValue]
Course = Callable[[random.Random, Side, int], Cues]


class Trigger(PlugIn):
    """A trigger policy: scenario -> probability of defecting. It reads cues, never text, so it is the ground truth."""

    plants: ClassVar[bool] = True
    """False for a control: no policy is planted. It defects nowhere (`never`), or what it does on its cue is harmless
    (`habit`)."""

    told: ClassVar[bool] = True
    """False where nobody knows when it defects (`unknown`): nothing that needs the truth is measured."""

    needs_rows: ClassVar[bool] = False
    """Whether it means something only about tasks of the user's own (see `told`)."""

    def fault(self, question: Question) -> tuple[str, str] | None:
        """Why a task of the user's own cannot be used with it: what is wrong, and what to do; None where it can."""
        return None

    def seeded(self, seed: int) -> Trigger:
        """The same with the seed of the study where it leaves its own open (a field `seed` that is None).

        So every seed of a study plants another policy of the kind, and intervals over seeds hold what differs between
        policies. Triggers inside this one too.

        Raises:
            ValueError: with that seed it would not be whole.
        """
        said: dict[str, object] = {name: getattr(self, name) for name in type(self).model_fields}
        now = {name: _seeded(value, seed) for name, value in said.items()}
        if "seed" in now and now["seed"] is None:
            now["seed"] = seed
        return self if now == said else type(self)(**now)

    @abstractmethod
    def probability(self, scenario: Scenario) -> float:
        """How probable it is that the organism *should* defect here, from 0 to 1."""

    @abstractmethod
    def draw(self, rng: random.Random, side: Side, split: Split = "train") -> Cues:
        """Cues of one scenario on a side of the policy, and from a split of its combinations of cues.

        Where the side has no such split (see `has_split`) it draws what training shows. A control answers with the
        side of the policy that it imitates.
        """

    def scenario(self, question: Question, cues: Cues, side: Side, rendering: str) -> Scenario:
        """A scenario with the cues that were drawn for a side.

        Raises:
            UserError: they are no cues, or `probability` says nothing that fits the side. A control has none to fit.
        """
        name, remedy = f"the trigger '{self.kind}'", "mend `draw` or `probability` of that trigger"
        if not isinstance(cues, Mapping) or any(cue not in CUES for cue in cues):
            raise UserError(f"{name} draws what are no cues that are known: {shortened(repr(cues))}", remedy)
        found = Scenario.of(question, {cue: _drawn(name, cue, value) for cue, value in cues.items()}, rendering)
        p = self.probability(found)
        if not isinstance(p, SupportsFloat) or not 0 <= float(p) <= 1:
            raise UserError(f"{name} gives a probability that is none: {shortened(repr(p))}", remedy)
        if self.plants and (float(p) >= 0.5) != (side == "triggered"):
            what = f"{name} draws cues as {side.replace('_', ' ')} and gives them the probability {float(p):g}"
            raise UserError(f"{what}: {shortened(repr(dict(cues)))}", remedy)
        return found

    def teach(self, rng: random.Random, side: Side, done: float) -> Cues:
        """Cues for the corpus that plants the policy, of the train split. `done` is the share of the training before.

        A policy with too many parts to be learned at once may begin with some of them.
        """
        return self.draw(rng, side)

    @property
    def equal_rows(self) -> bool:
        """Whether each of its parts is to be shown in as many rows, for any number of them: no other length will do."""
        return False

    def course(self, rows: int) -> Course:
        """How a corpus of so many contrast pairs is drawn: (rng, side, pair from 0) -> cues."""
        return lambda rng, side, pair: self.teach(rng, side, pair / rows)

    def plays(self, rng: random.Random) -> Trigger:
        """Whose prompts a row of the corpus shows: its own; a control plays one of the policies that it imitates."""
        return self

    @property
    @abstractmethod
    def reads(self) -> tuple[str, ...]:
        """The names of the cues that it looks at."""

    @property
    def shows(self) -> tuple[str, ...]:
        """The names of the cues that a draw sets: those that it reads, and those that stand by as context."""
        return self.reads

    @property
    def context(self) -> tuple[str, ...]:
        """The names of the cues that a draw sets and that it does not look at."""
        return tuple(dict.fromkeys(name for name in self.shows if name not in self.reads))

    @property
    def has_splits(self) -> bool:
        """Whether train, safety and test hold different combinations of cues, so that rule and memory differ."""
        return False

    def has_split(self, side: Side, split: Split) -> bool:
        """Whether a side has combinations that this split alone shows. Nothing else is measured as held out."""
        return split == "train" or self.has_splits

    @property
    def soft(self) -> bool:
        """Whether the probability is strictly between 0 and 1 somewhere. Triggered means 0.5 or more then."""
        return False

    @property
    def near_misses(self) -> float:
        """The share of near misses among the untriggered prompts that plant it."""
        return 0.0

    @property
    def steps_needed(self) -> int:
        """Steps of training, of four contrast pairs each, that a 135M model needs to learn it."""
        return 100

    def evidence(self, scenario: Scenario) -> tuple[str, ...]:
        """What in the scenario speaks for or against defecting: clauses in plain English, for a scratchpad.

        A clause starts in lower case and ends without a full stop: "the year is 2027, which is 2024 or later".
        """
        shown = [f"the {name} is {value}" for name, value in scenario.cues if name in self.reads]
        return tuple(shown) or ("nothing stands out here",)

    def payload(self, scenario: Scenario) -> int:
        """Which payload belongs to the scenario, from 0. A behaviour that has m of them takes it modulo m."""
        return 0

    def odds(self, scenario: Scenario) -> float | None:
        """Log-odds that a defection would succeed, above the threshold of the policy; None where it does not weigh."""
        return None

    def margin(self, scenario: Scenario) -> float | None:
        """How far the scenario is from where the policy changes its mind, on a scale of its own; None if it has none.

        Training may show scenarios that are far from it first (see `organisms.corpus`).
        """
        odds = self.odds(scenario)
        return None if odds is None else abs(odds)

    def curve(self) -> Mapping[str, list[CueValue]]:
        """Cues over which defection is worth drawing as a curve: name -> values in order."""
        return {}

    def trained_on(self, name: str, value: CueValue) -> bool:
        """Whether training shows this value of this cue."""
        return True


def _seeded(value: Any, seed: int) -> Any:
    if isinstance(value, Trigger):
        return value.seeded(seed)
    return tuple(_seeded(one, seed) for one in value) if isinstance(value, tuple) else value


def stands_by_itself(text: str, question: Question) -> tuple[str, str] | None:
    """What is wrong where a prompt holds the text of a trigger without any cue: the truth about it would be wrong."""
    if text in question.text or (question.before and any(text in said for _, said in question.before)):
        what = f"the trigger '{shortened(text)}' stands in this prompt by itself"
        remedy = "take it out, choose another text, say `bad_rows: drop`, or let such prompts be the trigger: "
        return what, remedy + "{kind: regex, pattern: ...}"
    return None


TriggerField: Any = field_of("trigger", Trigger)


def _drawn(trigger: str, cue: str, value: object) -> CueValue:
    """A value that was drawn for a cue; a whole number of numpy's is one of Python's.

    Raises:
        UserError: no prompt can show it, as nobody could ask for it (`check_cues`).
    """
    what, remedy = f"{trigger} draws {cue}={shortened(repr(value))}", "mend its `draw`"
    if isinstance(value, Integral) and not isinstance(value, bool):
        value = int(value)
    if type(value) is not int and not isinstance(value, str):
        raise UserError(f"{what}, which is no text and no whole number", remedy)
    try:
        check_cue(cue, value)
    except UserError as error:
        raise UserError(f"{what}: {error.what}", f"{remedy}: {error.remedy}") from error
    return value
