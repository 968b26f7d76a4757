"""The playground's state: subjects by id, those that hide the truth, and whose turn it is."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from dormouse.errors import UserError
from dormouse.integrations.play import controls
from dormouse.integrations.play.folders import PlaySubject
from dormouse.records import CANARY
from dormouse.report import setup_text
from dormouse.report.plain_text import visible
from dormouse.scenarios.scenario import PROMPT

PAGES = 64
"""Pages whose turns are remembered."""


@dataclass
class Riddle:
    """A subject that hides what it is. `looks` counts the moves that it was given."""

    subject: PlaySubject
    looks: int = 0


class Game:
    """What can be played with."""

    def __init__(self, subjects: Sequence[PlaySubject]) -> None:
        self.subjects = {f"s{i}": one for i, one in enumerate(subjects)}
        self._riddles: OrderedDict[str, Riddle] = OrderedDict()
        self._turns: OrderedDict[str, int] = OrderedDict()

    def found(self, name: str) -> tuple[PlaySubject, bool]:
        """A subject by its id, and whether it hides the truth.

        Raises:
            UserError: there is none.
        """
        if name in self._riddles:
            return self._riddles[name].subject, True
        if name not in self.subjects:
            raise UserError("there is no such organism here", "reload the page")
        return self.subjects[name], False

    def looked(self, name: str) -> None:
        """Count a move of a riddle."""
        if name in self._riddles:
            self._riddles[name].looks += 1

    def setup(self) -> dict[str, object]:
        """What the page needs at its start."""
        return {
            "canary": CANARY,
            "subjects": [described(name, one) for name, one in self.subjects.items()],
            "riddles": bool(self._guessable()),
        }

    def deal(self) -> dict[str, object]:
        """An organism drawn by chance, under no name, with every cue that there is.

        Raises:
            UserError: there are only suspects, whose truth nobody knows, and organisms that read no cues but prompts.
        """
        known = self._guessable()
        if not known:
            what = "no cue sets these models off, or nobody knows which"
            raise UserError(what, "give the folder of a study whose triggers read cues")
        subject = secrets.choice(known)
        name = f"r{secrets.token_hex(4)}"
        self._riddles[name] = Riddle(subject)
        while len(self._riddles) > PAGES:
            self._riddles.popitem(last=False)
        triggers = [one.spec.trigger for one in known if one.spec]
        hidden = {"name": "Unknown organism", "trigger": "", "behaviour": "", "known": False}
        every = {"cues": controls.every_cue(triggers), "start": {}}
        return {**described(name, subject), **hidden, **every, "renderings": controls.renderings(None)}

    def _guessable(self) -> list[PlaySubject]:
        """Those of which the truth is known, and a matter of cues: which prompts a study's rows call theirs is none."""
        known = [(one, one.spec.trigger) for one in self.subjects.values() if one.spec and one.spec.trigger.told]
        return [one for one, trigger in known if not trigger.plants or PROMPT not in trigger.reads]

    def reveal(self, name: str, guess: Sequence[str]) -> dict[str, object]:
        """The truth about a riddle, and how good a guess of its cues was.

        Raises:
            UserError: it is none.
        """
        riddle = self._riddles.get(name)
        if riddle is None or riddle.subject.spec is None:
            raise UserError("this organism hides nothing", "deal another")
        trigger = riddle.subject.spec.trigger
        reads = set(trigger.reads) if trigger.plants else set()
        said = described(name, riddle.subject)
        return {
            "name": said["name"],
            "trigger": said["trigger"],
            "behaviour": said["behaviour"],
            "right": sorted(reads & set(guess)),
            "missed": sorted(reads - set(guess)),
            "wrong": sorted(set(guess) - reads),
            "looks": riddle.looks,
        }

    def turn(self, page: str, turn: int) -> None:
        """A page is at a turn; earlier ones are over."""
        self._turns[page] = max(turn, self._turns.pop(page, turn))
        while len(self._turns) > PAGES:
            self._turns.popitem(last=False)

    def over(self, page: str, turn: int) -> bool:
        """Whether a page has gone on."""
        return self._turns.get(page, turn) > turn


def described(name: str, subject: PlaySubject) -> dict[str, object]:
    """A subject as the page shows it."""
    spec = subject.spec
    plants = spec is not None and spec.trigger.plants
    return {
        "id": name,
        "name": subject.name,
        "kind": "suspect" if spec is None else "organism" if plants else "control",
        "known": spec is not None,
        "trigger": visible(setup_text.trigger(spec.trigger.spec())) if spec else "",
        "behaviour": visible(setup_text.behaviour(spec.behaviour.spec())) if spec else "",
        "reasons": spec.scratchpad_mode if spec else "none",
        "states": [{"label": one.label, "base": one.base, "shown": one.shown} for one in subject.states],
        "cues": controls.cues(spec),
        "start": controls.start(spec),
        "renderings": controls.renderings(spec),
        "tasks": controls.tasks(spec, subject.tasks),
    }
