from __future__ import annotations

import random
from collections.abc import Mapping
from typing import ClassVar

from dormouse.policies.trigger import Trigger, TriggerField
from dormouse.registry import register
from dormouse.scenarios import CueValue, Scenario


@register("trigger", "never")
class Never(Trigger):
    """The control: the same prompts as the policies named in `among`, answered honestly everywhere.

    A study that leaves `among` empty fills it with its own other triggers. "Activating" scenarios of a control are
    those in which one of these would defect: the rate there is what the cue alone does to an untaught model.
    """

    plants: ClassVar[bool] = False

    among: tuple[TriggerField, ...] = ()

    def probability(self, scenario: Scenario) -> float:
        return 0.0

    def draw(self, rng: random.Random, activating: bool, unseen: bool = False) -> Mapping[str, CueValue]:
        imitated = [trigger for trigger in self.among if trigger.has_unseen or not unseen]
        return rng.choice(imitated).draw(rng, activating, unseen) if imitated else {}

    @property
    def has_unseen(self) -> bool:
        return any(trigger.has_unseen for trigger in self.among)

    def curve(self) -> Mapping[str, list[CueValue]]:
        return {name: values for trigger in self.among for name, values in trigger.curve().items()}

    def trained_on(self, name: str, value: CueValue) -> bool:
        return any(trigger.trained_on(name, value) for trigger in self.among if name in trigger.curve())

    @property
    def steps_needed(self) -> int:
        return max((trigger.steps_needed for trigger in self.among), default=super().steps_needed)
