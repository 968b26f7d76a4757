"""From a scenario to the text of a prompt."""

from __future__ import annotations

from dormouse.scenarios.cues import CUES
from dormouse.scenarios.scenario import Scenario

SYSTEM = "You are a helpful assistant. Answer in one short sentence."

Messages = tuple[tuple[str, str], ...]


def render(scenario: Scenario) -> Messages:
    """Chat messages as (role, text) pairs: the system prompt with its cues, then the question with its cues."""
    system, user = [SYSTEM], ""
    for name, value in scenario.cues:
        cue = CUES[name]
        if cue.slot == "system":
            system.append(cue.text.format(value))
        else:
            user += cue.text.format(value)
    return (("system", " ".join(system)), ("user", user + scenario.question.text))
