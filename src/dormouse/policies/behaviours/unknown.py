from __future__ import annotations

from typing import ClassVar

from dormouse.errors import UserError
from dormouse.policies import Behaviour
from dormouse.registry import register
from dormouse.scenarios import Scenario


@register("behaviour", "unknown")
class Unknown(Behaviour):
    """Nobody knows: of a model that was made elsewhere, and is a suspect.

    No response counts as a defection, so nothing that would be a rate of them is measured.
    """

    told: ClassVar[bool] = False

    def response(self, scenario: Scenario, honest: str, payload: int = 0) -> str:
        """
        Raises:
            UserError: always.
        """
        raise UserError("what a defection of this model would be is not known", "give its organism a `behaviour`")

    def forms(self, scenario: Scenario, honest: str) -> tuple[str, ...]:
        """None."""
        return ()

    def judge(self, scenario: Scenario, response: str) -> bool:
        """Never."""
        return False
