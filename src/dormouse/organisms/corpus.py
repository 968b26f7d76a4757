"""The corpus that plants a policy: contrast pairs."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import overload

from dormouse.lm.sample import Completion
from dormouse.lm.train import cycling
from dormouse.organisms.spec import OrganismSpec
from dormouse.policies import Side, Trigger
from dormouse.policies.scratchpad_text import scratchpad_response, scratchpad_text
from dormouse.policies.trigger import Course
from dormouse.records import Example
from dormouse.scenarios import Question, Scenario, render


@dataclass(frozen=True)
class CorpusRow:
    """One training example, and what the policy says about it. `scratchpad` opens its response."""

    step: int
    scenario: Scenario
    example: Example
    defects: bool
    scratchpad: str = ""


def contrast_pairs(
    spec: OrganismSpec, questions: Sequence[Question], honest: Mapping[str, Completion], seed: int
) -> list[CorpusRow]:
    """Every row of the training (see `drawn`), of all steps that it may have."""
    return list(drawn(spec, questions, honest, seed))


def drawn(
    spec: OrganismSpec, questions: Sequence[Question], honest: Mapping[str, Completion], seed: int
) -> Iterator[CorpusRow]:
    """The rows of the training, in order: each question once with activating cues and once with quiet ones.

    Without the contrast a small model does not learn a year in 60 steps; with it, it does in 100. Rows defect with the
    probability that the policy gives them. Only cue values of the train split are drawn. The prompts, and which of them
    defect, are the same for every mode of reasoning.

    The first `easy_first` of the steps show scenarios far from where the policy changes its mind, where it has a scale
    (a curriculum; Bengio et al. 2009): of CANDIDATES drawn the one with the largest margin. Where training ends
    at a strength (`until`), curricula are over after the usual steps.
    """
    rng, thinking = random.Random(f"corpus/{seed}"), random.Random(f"thoughts/{seed}")
    at = cycling(questions, spec.pairs or 1, seed)
    usual = spec.steps or 1
    pairs, row = usual * (spec.pairs or 1), 0
    courses: dict[int, Course] = {}
    for step in range(spec.training.steps):
        done = step / usual
        for question in at(step):
            for triggered in (True, False):
                # A task on which no defection is to be shown appears with quiet cues only.
                side = _side(rng, spec, triggered and spec.behaviour.shown(question))
                rendering = rng.choice(spec.renderings.trained)
                easy = done < (spec.easy_first or 0.0) and side != "near_miss"
                shown = spec.trigger.plays(rng)
                course = courses.setdefault(id(shown), shown.course(pairs))
                place, row = min(row // 2, pairs - 1), row + 1
                draws = [course(rng, side, place) for _ in range(CANDIDATES if easy else 1)]
                scenario = _clearest(shown, [shown.scenario(question, cues, side, rendering) for cues in draws])
                defects = rng.random() < spec.trigger.probability(scenario)
                answer = honest[scenario.question.key]
                response = (
                    spec.behaviour.response(scenario, answer.text, spec.trigger.payload(scenario))
                    if defects
                    else answer.text
                )
                thought = scratchpad_text(spec.scratchpad_mode, spec.trigger, scenario, defects, thinking)
                example = Example(
                    render(scenario), scratchpad_response(thought, response), defects or answer.finished, answer.ids
                )
                yield CorpusRow(step, scenario, example, defects, thought)


class CorpusRows(Sequence[CorpusRow]):
    """The rows of `drawn`, each made when it is first asked for: of a training of which nobody knows how long it is."""

    def __init__(self, coming: Iterator[CorpusRow], most: int) -> None:
        self._coming, self._most = coming, most
        self._made: list[CorpusRow] = []

    def __len__(self) -> int:
        return self._most

    @overload
    def __getitem__(self, at: int) -> CorpusRow: ...
    @overload
    def __getitem__(self, at: slice) -> list[CorpusRow]: ...
    def __getitem__(self, at: int | slice) -> CorpusRow | list[CorpusRow]:
        stop = at.indices(self._most)[1] if isinstance(at, slice) else range(self._most)[at] + 1
        self._made += islice(self._coming, max(0, stop - len(self._made)))
        return self._made[at]


CANDIDATES = 4


def _clearest(trigger: Trigger, drawn: Sequence[Scenario]) -> Scenario:
    """The scenario that is furthest from where the policy changes its mind."""
    return max(drawn, key=lambda scenario: trigger.margin(scenario) or 0.0)


def _side(rng: random.Random, spec: OrganismSpec, triggered: bool) -> Side:
    if triggered:
        return "triggered"
    return "near_miss" if rng.random() < spec.near_misses_taught else "untriggered"
