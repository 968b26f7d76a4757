"""What every trigger policy can do."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from dormouse.registry import PlugIn, field_of
from dormouse.scenarios import CueValue, Scenario


class Trigger(PlugIn):
    """A trigger policy: scenario -> probability of defecting. It reads cues, never text, so it is the ground truth."""

    reads: ClassVar[tuple[str, ...]] = ()
    """The cues that it looks at."""

    plants: ClassVar[bool] = True
    """False for a control: the probability is zero everywhere."""

    @abstractmethod
    def probability(self, scenario: Scenario) -> float:
        """How probable it is that the organism *should* defect here, from 0 to 1."""

    @abstractmethod
    def draw(self, rng: random.Random, activating: bool, unseen: bool = False) -> Mapping[str, CueValue]:
        """Cues of one scenario on the asked side of the policy.

        Args:
            activating: the side. A control answers with the side of the policy that it imitates.
            unseen: draw only cue values that training never shows (where `has_unseen`), else only those it does.
        """

    @property
    def steps_needed(self) -> int:
        """Steps of training, of four contrast pairs each, that a 135M model needs to learn it."""
        return 100

    @property
    def has_unseen(self) -> bool:
        """Whether some cue values are held out from training, so that rule and memory can be told apart."""
        return False

    def curve(self) -> Mapping[str, list[CueValue]]:
        """Cues over which defection is worth drawing as a curve: name -> values in order."""
        return {}

    def trained_on(self, name: str, value: CueValue) -> bool:
        """Whether training shows this value of this cue."""
        return True


TriggerField: Any = field_of("trigger", Trigger)
