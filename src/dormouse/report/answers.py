"""Answers in pairs, for the reader: the same question with the cue and without it, before safety training and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict

from dormouse.records import Answer
from dormouse.report.plain_text import capital, one_line, percent, visible
from dormouse.report.record_index import Moment, RecordIndex

QUESTIONS = 200
"""At most this many questions of an organism are shown on the page. The page says so where there are more."""
LETTERS = 4000
"""A response or a prompt is shown up to this length."""


class AnswerCell(TypedDict):
    """An answer. `share` is its probability of defecting where that is one, else 0; `probability` is it in words."""

    response: str
    defects: bool
    share: float
    probability: str
    finished: bool


class Side(TypedDict):
    """A prompt, its answer before safety training, and one after each intervention, in order; None: there is none."""

    prompt: str
    before: AnswerCell | None
    after: list[AnswerCell | None]


Item = TypedDict("Item", {"question": str, "with": Side | None, "without": Side | None, "seed": NotRequired[int]})
"""A question with the cue and without it; `seed` where there are several."""


class ShownOrganism(TypedDict):
    """An organism: whether it is a control, how many of its questions are left out, and the others."""

    name: str
    control: bool
    left_out: int
    items: list[Item]


class ShownIntervention(TypedDict):
    """An intervention, which of its answers are shown (`After 40 steps of`), and whether it was told the triggers."""

    name: str
    when: str
    needs: bool


class Browser(TypedDict):
    """What the answer browser on the page reads."""

    organisms: list[ShownOrganism]
    interventions: list[ShownIntervention]


def browser(results: RecordIndex, answers: Sequence[Answer]) -> Browser:
    """What the answer browser on the page reads: plain JSON, every foreign string made visible. Of replicates it shows
    the first."""
    answers = [answer for answer in answers if not answer.planting and not answer.treatment]
    names = tuple(dict.fromkeys([*results.organisms, *(answer.organism for answer in answers)]))
    shown = [name for name in results.interventions if any(answer.intervention == name for answer in answers)]
    organisms: list[ShownOrganism] = []
    for name in names:
        items = _items([answer for answer in answers if answer.organism == name], shown)
        if items:
            left_out = max(0, len(items) - QUESTIONS)
            control = name in results.controls
            organisms.append(
                {"name": one_line(name), "control": control, "left_out": left_out, "items": items[:QUESTIONS]}
            )
    ends = {name: max(answer.step for answer in answers if answer.intervention == name) for name in shown}
    when = {name: f"{capital(results.moment_in_words(Moment(name, step)))} of" for name, step in ends.items()}
    return {
        "organisms": organisms,
        "interventions": [
            {"name": one_line(name), "when": when[name], "needs": name in results.needs_triggers} for name in shown
        ],
    }


def _items(answers: Sequence[Answer], interventions: Sequence[str]) -> list[Item]:
    """The answers of one organism by question and seed, in the order in which they came."""
    groups: dict[tuple[str, int], list[Answer]] = {}
    for answer in answers:
        groups.setdefault((answer.question, answer.seed), []).append(answer)
    several = len({seed for _, seed in groups}) > 1
    items: list[Item] = []
    for (question, seed), group in groups.items():
        ends = {name: max((a.step for a in group if a.intervention == name), default=0) for name in interventions}
        by_place = {(a.prompt, a.activating, Moment(a.intervention, a.step)): a for a in group}
        prompts = {cue: list(dict.fromkeys(a.prompt for a in group if a.activating == cue)) for cue in (True, False)}
        for i in range(max(map(len, prompts.values()))):
            sides = [
                _side(prompts[cue][i], cue, by_place, ends) if i < len(prompts[cue]) else None for cue in (True, False)
            ]
            item: Item = {"question": _short(question), "with": sides[0], "without": sides[1]}
            if several:
                item["seed"] = seed
            items.append(item)
    return items


def _side(prompt: str, cue: bool, by_place: Mapping[tuple[str, bool, Moment], Answer], ends: Mapping[str, int]) -> Side:
    after = [_cell(by_place.get((prompt, cue, Moment(name, step)))) if step else None for name, step in ends.items()]
    return {"prompt": _short(prompt), "before": _cell(by_place.get((prompt, cue, Moment("", 0)))), "after": after}


def _cell(answer: Answer | None) -> AnswerCell | None:
    if answer is None:
        return None
    share = answer.probability if 0 <= answer.probability <= 1 else 0.0
    return {
        "response": _short(answer.response),
        "defects": answer.judged_defection,
        "share": share,
        "probability": percent(answer.probability),
        "finished": answer.finished,
    }


def _short(text: str) -> str:
    plain = visible(text)
    return plain if len(plain) <= LETTERS else f"{plain[:LETTERS]} [... {len(plain) - LETTERS} more characters]"
