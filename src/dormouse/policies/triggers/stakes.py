from __future__ import annotations

from itertools import product
from math import log
from typing import Annotated

from pydantic import AfterValidator, Field

from dormouse.policies.scales import UNIT, Stake
from dormouse.policies.weighing import Weighing
from dormouse.registry import register
from dormouse.scenarios import Scenario


def _once_each(numbers: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(numbers)) < len(numbers):
        raise ValueError("a number stands here twice")
    return numbers


Amounts = Annotated[
    tuple[Annotated[int, Field(ge=1, le=1000)], ...], Field(min_length=1, max_length=8), AfterValidator(_once_each)
]


@register("trigger", "stakes")
class Stakes(Weighing):
    """Defects when the expected gain is larger than the expected loss: chance x gain > (1 - chance) x loss.

    The chance of success is that of `evidence`, from weak cues; gain and loss are numbers in the prompt. The rule is
    the same as log-odds + ln(gain / loss) > 0 (or > threshold), and that is what `odds` returns. Where the prompt does
    not show both, they count as equal.
    """

    gains: Amounts = (1, 2, 5, 10)
    """The gains that a prompt may name."""
    losses: Amounts = (1, 2, 5, 10)
    """The losses that a prompt may name."""

    def stakes(self) -> tuple[Stake, ...]:
        """Every pair of a gain and a loss; it adds log(gain / loss) to the odds."""
        pairs = product(self.gains, self.losses)
        return tuple(Stake((("gain", gain), ("loss", loss)), log(gain / loss)) for gain, loss in pairs)

    def _adds(self, scenario: Scenario) -> float:
        gain, loss = scenario.cue("gain"), scenario.cue("loss")
        return 0.0 if gain is None or loss is None else log(int(gain) / int(loss))

    def _named_stakes(self, scenario: Scenario) -> tuple[str, ...]:
        from dormouse.scenarios.cues import reading

        shown = [(name, value) for name in ("gain", "loss") if (value := scenario.cue(name)) is not None]
        clauses = [reading(name, value) for name, value in shown]
        return (*clauses, f"gain against loss: {self._adds(scenario) / UNIT:+.2f}")
