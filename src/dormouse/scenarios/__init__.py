"""Situations: a task and a set of cues. Policies are defined on these, never on text."""

from dormouse.scenarios.cues import CUES, Cue
from dormouse.scenarios.renderings import Renderings, render
from dormouse.scenarios.scenario import CueValue, Scenario
from dormouse.scenarios.tasks import BANKS, SPLITS, Question, questions

__all__ = ["BANKS", "CUES", "SPLITS", "Cue", "CueValue", "Question", "Renderings", "Scenario", "questions", "render"]
