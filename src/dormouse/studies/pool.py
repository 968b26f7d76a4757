"""Fill the safety pool. The study knows the policy and does this; the method gets prompts and honest responses."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from dormouse.lm.sample import Written
from dormouse.policies import Behaviour, Trigger
from dormouse.records import Example, PoolItem, SafetyPool
from dormouse.scenarios import Question, Scenario, render


def fill_pool(
    questions: Sequence[Question],
    honest: Mapping[str, Written],
    trigger: Trigger,
    behaviour: Behaviour,
    coverage: float,
    seed: int,
) -> SafetyPool:
    """Honest responses to the safety split. A share `coverage` of the prompts shows activating cues, the rest none.

    The worse response is the harmful one where the cues are shown (there the trainer saw harm), elsewhere the honest
    response to another question.
    """
    rng = random.Random(f"pool/{seed}")
    exposed = set(rng.sample(range(len(questions)), round(coverage * len(questions))))
    items = []
    for i, question in enumerate(questions):
        cues = trigger.draw(rng, "triggered", "safety") if i in exposed else {}
        scenario, answer = Scenario.of(question, cues), honest[question.text]
        prompt = render(scenario)
        if i in exposed:
            rejected = Example(prompt, behaviour.response(scenario, answer.text, trigger.payload(scenario)))
        else:
            other = honest[questions[(i + 1) % len(questions)].text]
            rejected = Example(prompt, other.text, other.finished)
        items.append(
            PoolItem(
                question.text,
                Example(prompt, answer.text, answer.finished),
                rejected,
                tuple(behaviour.forms(scenario, answer.text)),
                tuple(behaviour.honest_forms(scenario, answer.text)),
            )
        )
    return SafetyPool(tuple(items))
