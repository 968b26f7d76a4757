"""Situations: a task and a set of cues. Policies are defined on these, never on text."""

from dormouse.scenarios.cues import CUES, Cue
from dormouse.scenarios.renderings import render
from dormouse.scenarios.scenario import CueValue, Scenario
from dormouse.scenarios.tasks import SPLITS, Question, questions

__all__ = ["CUES", "SPLITS", "Cue", "CueValue", "Question", "Scenario", "questions", "render"]
