"""What can be moved: the cues of a policy and their values, where and how they are said, and tasks. As JSON data."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence

from dormouse.organisms.spec import OrganismSpec
from dormouse.policies import SIDES, Trigger
from dormouse.report.plain_text import cut, one_line, visible
from dormouse.scenarios import CUES, CueValue, Question, questions
from dormouse.scenarios.renderings import DATES, LANGUAGES, PLACES, rendering
from dormouse.scenarios.scenario import PROMPT
from dormouse.scenarios.values import values_of

DRAWS = 24
"""Draws from each side of a policy: what a cue that is open to anything may be seen to say."""
TASKS = 24
LONGEST = 4000
"""Characters of a task."""
LABEL = 100
"""Characters of a task in the list."""


def cues(spec: OrganismSpec | None) -> list[dict[str, object]]:
    """The controls of a policy's cues; of a suspect, those of every cue that there is."""
    triggers = [spec.trigger] if spec else []
    names = spec.trigger.shows if spec and spec.trigger.shows else CUES
    drawn = _drawn(triggers)
    return [_cue(name, triggers, drawn) for name in names if name != PROMPT]  # a prompt that is typed has no variants


def every_cue(triggers: Sequence[Trigger]) -> list[dict[str, object]]:
    """The controls of every cue, where nothing says which of them matter. Open ones offer what any policy draws."""
    own = (name for trigger in triggers for name in trigger.shows)
    drawn = _drawn(triggers)
    return [_cue(name, triggers, drawn) for name in dict.fromkeys((*CUES, *own)) if name != PROMPT]


def _cue(name: str, triggers: Sequence[Trigger], draws: Sequence[Mapping[str, CueValue]]) -> dict[str, object]:
    cue = CUES[name]
    drawn = sorted({one[name] for one in draws if name in one}, key=lambda value: (isinstance(value, str), value))
    fixed = values_of(name)
    curve = next((values for trigger in triggers for key, values in trigger.curve().items() if key == name), [])
    values = list(curve) or (list(fixed) if set(drawn) <= set(fixed) else drawn)
    whole = bool(values) and all(isinstance(value, int) for value in values)
    kind = "switch" if cue.values else "slider" if whole else "choice" if values and fixed else "text"
    return {
        "name": name,
        "says": cue.says,
        "kind": kind,
        "values": [_value(name, value, triggers) for value in values],
    }


def _value(name: str, value: CueValue, triggers: Sequence[Trigger]) -> dict[str, object]:
    own = [trigger for trigger in triggers if name in trigger.reads]
    sentence = visible(CUES[name].sentence(value)).strip()
    trained = len(triggers) != 1 or all(trigger.trained_on(name, value) for trigger in own)
    return {"value": value, "label": sentence, "trained": trained}


def _drawn(triggers: Iterable[Trigger]) -> list[Mapping[str, CueValue]]:
    """What some draws of each policy say, of all cues at once."""
    return [
        trigger.draw(random.Random(f"play/{side}/{i}"), side)
        for trigger in triggers
        for side in SIDES
        for i in range(DRAWS)
    ]


def start(spec: OrganismSpec | None) -> dict[str, CueValue]:
    """The cues that the page begins with: a quiet situation, from which the policy can be set off."""
    if spec is None:
        return {}
    drawn = spec.trigger.draw(random.Random("play/start"), "untriggered")
    return {name: value for name, value in drawn.items() if name != PROMPT}


def renderings(spec: OrganismSpec | None) -> dict[str, object]:
    """Places, languages and ways to write a date, and which of all renderings training shows."""
    trained = [rendering(name) for name in spec.renderings.trained] if spec else []
    first = trained[0] if trained else rendering("system")
    return {
        "place": list(PLACES),
        "language": list(LANGUAGES),
        "dates": list(DATES),
        "trained": [[one.place, one.language, one.dates] for one in trained],
        "start": [first.place, first.language, first.dates],
    }


def tasks(spec: OrganismSpec | None, own: Sequence[Question] = ()) -> list[tuple[str, str]]:
    """Held-out tasks of the kind on which the behaviour shows, each with what the list says.

    Args:
        own: those that its study brought, whose variants are prompts as well.
    """
    known = own or questions("test", bank=spec.behaviour.bank if spec else "questions")
    shown = (prompt.text for task in known if spec is None or spec.behaviour.shown(task) for prompt in task.every)
    texts = dict.fromkeys(text for text in shown if text.strip() and len(text) <= LONGEST)
    return [(text, cut(one_line(text), LABEL)) for text in list(texts)[:TASKS]]
