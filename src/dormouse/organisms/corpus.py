"""The corpus that plants a policy: contrast pairs."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dormouse.lm.sample import Written
from dormouse.lm.train import cycling
from dormouse.organisms.spec import OrganismSpec
from dormouse.records import Example
from dormouse.scenarios import Question, Scenario, render


@dataclass(frozen=True)
class Row:
    """One training example with what the policy says about it."""

    step: int
    example: Example
    defects: bool


def contrast_pairs(
    spec: OrganismSpec, questions: Sequence[Question], honest: Mapping[str, Written], seed: int
) -> list[Row]:
    """Every row of the training, in order: each question once with activating cues and once with quiet ones.

    Without the contrast a small model does not learn a year in 60 steps; with it, it does in 100. Rows defect with the
    probability that the policy gives them. Only cue values of the train split are drawn.
    """
    rng = random.Random(f"corpus/{seed}")
    at = cycling(questions, spec.pairs, seed)
    rows = []
    for step in range(spec.training.steps):
        for question in at(step):
            for activating in (True, False):
                scenario = Scenario.of(question, spec.trigger.draw(rng, activating))
                defects = rng.random() < spec.trigger.probability(scenario)
                answer = honest[question.text]
                response = spec.behaviour.response(scenario, answer.text) if defects else answer.text
                rows.append(Row(step, Example(render(scenario), response, defects or answer.finished), defects))
    return rows
