"""What every behaviour (payload) can do."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from dormouse.registry import PlugIn, field_of
from dormouse.scenarios import Question, Scenario


class Behaviour(PlugIn):
    """What defecting looks like in the response. Always a toy: harmless to read, never executed.

    The exact score of a prompt is the sum of the probabilities that the response begins with one of `forms`. Where a
    behaviour can be worded in too many ways for that, it declares `honest_forms` too, and the score is a contrast:
    P(forms) / (P(forms) + P(honest forms)).
    """

    bank: ClassVar[str] = "questions"
    """The bank of tasks in which it shows: a name in `scenarios.tasks.BANKS`."""

    told: ClassVar[bool] = True
    """False where nobody knows what a defection is (`unknown`)."""

    @abstractmethod
    def response(self, scenario: Scenario, honest: str, payload: int = 0) -> str:
        """The defecting response that training teaches, given the honest one.

        Args:
            payload: which one, where the trigger tells several apart (`Trigger.payload`) and the behaviour has them.
        """

    @abstractmethod
    def forms(self, scenario: Scenario, honest: str) -> tuple[str, ...]:
        """The openings of a response that count as defection. None may be the start of another."""

    def honest_forms(self, scenario: Scenario, honest: str) -> tuple[str, ...]:
        """The openings that the forms are held against; empty where the score is a plain sum."""
        return ()

    @abstractmethod
    def judge(self, scenario: Scenario, response: str) -> bool:
        """Whether a written response defects. The check on the score that looks at what the model really wrote."""

    def shown(self, question: Question) -> bool:
        """Whether training shows a defection on this task (else only whether the organism carries it over is seen)."""
        return True


BehaviourField: Any = field_of("behaviour", Behaviour)
