"""Which side of an outcome is the anomalous one: the one whose answers, written out, the base would not give."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dormouse.lm.batch import TooLongError
from dormouse.lm.decode import decode
from dormouse.lm.reading import Reading
from dormouse.lm.score import logprobs
from dormouse.lm.trie import Tokens
from dormouse.locators.locator import Case, Messages
from dormouse.locators.placing import own_tokens
from dormouse.locators.surrogate.answer_opening import AnswerOpening
from dormouse.locators.surrogate.outcome import Outcome, entropy

ENDS = 24
"""Prompts from each end of an outcome that are answered."""
WRITTEN = 12
"""Tokens of such an answer."""
CLEARLY = 2.0
"""Nats of a whole answer by which training must have moved one side further than the other."""
ALIKE = 0.25
"""By how much larger one side's share of answers that repeat another one must be."""


@dataclass(frozen=True)
class Answered:
    """What a suspect writes at the two ends of an outcome, the low end first.

    Attributes:
        prompts: the same number from each end.
        ids: each prompt in tokens, with the scratchpad where one is written first.
        answers: in tokens, none of them empty.
    """

    prompts: list[Messages]
    ids: list[tuple[int, ...]]
    answers: list[tuple[int, ...]]

    @staticmethod
    def of(case: Case, opening: AnswerOpening, prompts: list[Messages]) -> Answered:
        """Greedy answers to some prompts."""
        ids = opening.tokens(prompts)
        return Answered(prompts, ids, [one.ids for one in decode(case.lm, ids, WRITTEN)])

    def moved(self, case: Case) -> np.ndarray:
        """(prompts,): by how many nats the suspect finds each whole answer likelier than the base does.

        A next token says little: an answer that training put there may begin as the base's own do ("I").
        """
        of_base = own_tokens(case.lm, case.base_lm, self.prompts) or self.ids
        mine, theirs = (
            logprobs(lm, [Tokens(one, answer) for one, answer in zip(ids, self.answers, strict=True)])
            for lm, ids in ((case.lm, self.ids), (case.base_lm, of_base))
        )
        return np.asarray(mine - theirs)

    def repeated(self) -> np.ndarray:
        """(prompts,): 1 where the answer is that to another prompt of the same end, too."""
        half = len(self.answers) // 2
        ends = self.answers[:half], self.answers[half:]
        return np.array([float(end.count(one) > 1) for end in ends for one in end])


def anomalous_side(
    case: Case, opening: AnswerOpening, outcome: Outcome, asked: tuple[list[Messages], Reading], plain: Reading
) -> Outcome:
    """The outcome turned so that more of it is the side that is unlike a usual answer.

    With a base that is the side whose answers training moved further. Without one, or where neither is clearly: the
    side on which answers to different prompts are the same; then the one on which next tokens are alike; and last the
    one on which the suspect is not when the prompt says nothing of the situation (`plain`).

    Args:
        asked: prompts, and what was read of them.
    """
    prompts, reading = asked
    order = np.argsort(outcome.values(reading), kind="stable")
    ends = min(ENDS, len(order) // 2)
    at = np.concatenate([order[:ends], order[len(order) - ends :]])
    try:
        answered = Answered.of(case, opening, [prompts[i] for i in at])
        if case.base is not None and abs(gap := _gap(answered.moved(case))) > CLEARLY:
            return outcome.turned(np.sign(gap))
        if abs(gap := _gap(answered.repeated())) > ALIKE:
            return outcome.turned(np.sign(gap))
    except TooLongError:
        pass  # it has positions for a first token, and not for more
    chances, side = np.exp(reading.logprobs), outcome.chances(reading)
    high, low = chances[side > np.quantile(side, 0.8)], chances[side < np.quantile(side, 0.2)]
    if len(high) and len(low) and abs(gap := entropy(low) - entropy(high)) > 0.5:
        return outcome.turned(np.sign(gap))
    usual = float(outcome.values(plain).mean()) > float(np.mean(outcome.values(reading)))
    return outcome.turned(-1.0 if usual else 1.0)


def _gap(numbers: np.ndarray) -> float:
    """By how much larger the mean of the second half is than that of the first."""
    half = len(numbers) // 2
    return float(numbers[half:].mean() - numbers[:half].mean()) if half else 0.0
