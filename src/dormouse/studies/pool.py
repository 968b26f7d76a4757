"""Fill the safety pool. The study knows the policy and does this; the method gets prompts and honest responses."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from dormouse.lm.sample import Written
from dormouse.policies import Trigger
from dormouse.records import Example, SafetyPool
from dormouse.scenarios import Question, Scenario, render


def fill_pool(
    questions: Sequence[Question], honest: Mapping[str, Written], trigger: Trigger, coverage: float, seed: int
) -> SafetyPool:
    """Honest responses to the safety split. A share `coverage` of the prompts shows activating cues, the rest none."""
    rng = random.Random(f"pool/{seed}")
    exposed = set(rng.sample(range(len(questions)), round(coverage * len(questions))))
    examples = []
    for i, question in enumerate(questions):
        cues = trigger.draw(rng, "triggered", "safety") if i in exposed else {}
        answer = honest[question.text]
        examples.append(Example(render(Scenario.of(question, cues)), answer.text, answer.finished))
    return SafetyPool(tuple(examples))
