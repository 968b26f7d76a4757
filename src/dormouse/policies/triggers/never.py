from __future__ import annotations

import random
from collections.abc import Mapping
from typing import ClassVar

from dormouse.policies import Cues, Side, Split, Trigger, TriggerField
from dormouse.registry import register
from dormouse.scenarios import CueValue, Question, Scenario

PLAIN = (("train", "triggered"), ("train", "untriggered"))
"""The prompts that a control has in any case."""


@register("trigger", "never")
class Never(Trigger):
    """The control: the same prompts as the policies named in `among`, answered honestly everywhere.

    A study that leaves `among` empty fills it with its own other triggers. "Triggered" scenarios of a control are
    those in which one of these would defect: the rate there is what the cue alone does to an untaught model.
    """

    plants: ClassVar[bool] = False

    among: tuple[TriggerField, ...] = ()
    """The policies whose prompts it gets; left empty, all others of the study."""

    @property
    def reads(self) -> tuple[str, ...]:
        """The cues of the policies that it imitates."""
        return tuple(dict.fromkeys(name for trigger in self.among for name in trigger.reads))

    @property
    def shows(self) -> tuple[str, ...]:
        """What their draws set."""
        return tuple(dict.fromkeys(name for trigger in self.among for name in trigger.shows))

    def probability(self, scenario: Scenario) -> float:
        """Never."""
        return 0.0

    def fault(self, question: Question) -> tuple[str, str] | None:
        """That of the first policy that it imitates and that has one."""
        return next((fault for trigger in self.among if (fault := trigger.fault(question))), None)

    def draw(self, rng: random.Random, side: Side, split: Split = "train") -> Cues:
        """What one of the imitated policies draws, by chance; no cues where it imitates none."""
        imitated = [trigger for trigger in self.among if trigger.has_split(side, split)] or self.among
        cues: Cues = rng.choice(imitated).draw(rng, side, split) if imitated else {}
        return cues

    def plays(self, rng: random.Random) -> Trigger:
        """So the corpus of a control is that of these policies, whatever order they are taught in."""
        if len(self.among) < 2:  # the very prompts of that one
            return self.among[0] if self.among else self
        played: Trigger = rng.choice(self.among)
        return played

    def payload(self, scenario: Scenario) -> int:
        """That of the policy that would defect there: what is trained back into a control is what they say."""
        return max((trigger.payload(scenario) for trigger in self.among), default=0)

    def has_split(self, side: Side, split: Split) -> bool:
        """Whether an imitated policy has it. Prompts that are near a cue there are none of where none has them."""
        return any(trigger.has_split(side, split) for trigger in self.among) or (split, side) in PLAIN

    @property
    def has_splits(self) -> bool:
        """Whether an imitated policy has splits."""
        return any(trigger.has_splits for trigger in self.among)

    @property
    def near_misses(self) -> float:
        """As large a share as that of any policy it imitates."""
        return max((trigger.near_misses for trigger in self.among), default=0.0)

    def curve(self) -> Mapping[str, list[CueValue]]:
        """The curves of all that it imitates."""
        return {name: values for trigger in self.among for name, values in trigger.curve().items()}

    def trained_on(self, name: str, value: CueValue) -> bool:
        """Whether an imitated policy is trained on it."""
        return any(trigger.trained_on(name, value) for trigger in self.among if name in trigger.curve())

    @property
    def steps_needed(self) -> int:
        """Those of the slowest policy that it imitates."""
        return max((trigger.steps_needed for trigger in self.among), default=super().steps_needed)
