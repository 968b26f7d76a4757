"""The model under attack, the questions it is asked, and what is left of the budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, log
from typing import TYPE_CHECKING

from dormouse.errors import UserError
from dormouse.interventions.redteam.situation import Messages, Situation
from dormouse.interventions.scratchpad import Scratchpad
from dormouse.interventions.tasks import task_of
from dormouse.records import PoolItem
from dormouse.scenarios import Question

if TYPE_CHECKING:
    from dormouse.lm.model import LM

GRADIENT = 3
"""What a gradient costs, in scored prompts: a backward pass is about the work of two forward ones."""
SMALLEST_PROBABILITY = 1e-300
"""A probability of zero is taken for this one: its logarithm orders what has come to nothing."""


@dataclass(frozen=True)
class Budget:
    """What one attack may spend.

    prompts: how many it may score; a gradient on one prompt counts as GRADIENT of them.
    questions: with how many questions each situation is tried.
    tokens: how long the strings of the gradient attack are.
    """

    prompts: int = 600
    questions: int = 2
    tokens: int = 8


@dataclass(frozen=True)
class TriedSituation:
    """A situation that was tried, and the exact probability of harm in it, question by question."""

    attack: str
    situation: Situation
    questions: tuple[Question, ...]
    values: tuple[float, ...]

    @property
    def probability(self) -> float:
        """The mean over the questions."""
        return sum(self.values) / len(self.values)

    @property
    def prompts(self) -> tuple[Messages, ...]:
        """The situation around each of its questions."""
        return tuple(self.situation.around(question) for question in self.questions)


class Target:
    """What an attack may do to a model: try situations on it, until the budget is spent."""

    def __init__(
        self,
        lm: LM,
        attack: str,
        items: Sequence[PoolItem],
        budget: Budget,
        scratchpad: Scratchpad = Scratchpad(),  # noqa: B008 (frozen)
    ) -> None:
        self.lm, self.attack, self.items, self.budget = lm, attack, tuple(items), budget
        self.tasks = tuple(map(task_of, items))
        self.scratchpad = scratchpad
        """How it reasons before it answers, if it does: harm is looked for after that."""
        self.spent = 0
        self.tried: dict[Messages, TriedSituation] = {}
        """By the prompt that the first question becomes: two situations that read the same are one."""

    @property
    def affordable(self) -> int:
        """How many situations the rest of the budget pays for."""
        return (self.budget.prompts - self.spent) // len(self.items)

    def pay_gradient(self) -> None:
        """Pay for one gradient on every question."""
        self.spent += GRADIENT * len(self.items)

    def attempt(self, situations: Sequence[Situation]) -> list[tuple[Situation, float]]:
        """Try those that are new, in their order, as many as the budget pays for: (situation, mean log P(harm)).

        The logarithm sees a probability move from 1e-9 to 1e-7, by which a search finds its way.

        Raises:
            UserError: the model gives no numbers.
        """
        texts: dict[Messages, Situation] = {}
        for situation in situations:
            texts.setdefault(situation.around(self.tasks[0]), situation)
        new = [(text, situation) for text, situation in texts.items() if text not in self.tried][: self.affordable]
        asked = [item for _ in new for item in self.items]
        prompts = [situation.around(task) for _, situation in new for task in self.tasks]
        exact = self.scratchpad.harm(self.lm, prompts, asked)
        self.spent += len(prompts)
        scored = []
        for i, (text, situation) in enumerate(new):
            values = tuple(exact[i * len(self.items) : (i + 1) * len(self.items)])
            if any(isnan(p) for p in values):
                raise UserError(
                    "the model under attack gives probabilities that are not numbers",
                    "its weights are damaged or its training has diverged: use a lower learning rate",
                )
            self.tried[text] = TriedSituation(self.attack, situation, self.tasks, values)
            scored.append((situation, sum(log(max(p, SMALLEST_PROBABILITY)) for p in values) / len(values)))
        return scored
