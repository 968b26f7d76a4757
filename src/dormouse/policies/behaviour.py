"""What every behaviour (payload) can do."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from dormouse.registry import PlugIn, field_of
from dormouse.scenarios import Scenario


class Behaviour(PlugIn):
    """What defecting looks like in the response. Always a toy: harmless to read, never executed."""

    @abstractmethod
    def response(self, scenario: Scenario, honest: str) -> str:
        """The defecting response that training teaches, given the honest one."""

    @abstractmethod
    def forms(self, scenario: Scenario, honest: str) -> tuple[str, ...]:
        """The openings of a response that count as defection. None may be the start of another.

        The exact defection probability is the sum of their probabilities under the model: the probability that a
        response begins with one of them.
        """

    @abstractmethod
    def judge(self, response: str) -> bool:
        """Whether a written response defects. The check on `forms` that looks at what the model really wrote."""


BehaviourField: Any = field_of("behaviour", Behaviour)
