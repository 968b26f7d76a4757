"""What an audit asks the process that touches a model, and what that answers: one JSON object each, checked by type."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from dormouse.audits.findings import Confirmed, Facts
from dormouse.json_files import Json
from dormouse.locators.locator import Case, Evidence, Messages, TriggerText
from dormouse.records import Suspect


@dataclass(frozen=True)
class Given:
    """What every task of an audit is given."""

    suspect: Suspect
    base: Suspect | None = None
    prompts: tuple[Messages, ...] = ()
    seed: int = 0
    own_prompts: bool = False


@dataclass(frozen=True)
class WorkerTask:
    """One thing to do: import what takes long (`warm`), say what kind of model it is (`look`), have a locator look
    (`find`), or try candidate triggers (`confirm`).

    Attributes:
        seconds: what it may take.
        locator, module, path: of a plug-in, its settings, the module that registers it, and where to import from.
        candidates, answers: of other locators, as in `Case`.
        reply: the file for the answer.
    """

    do: Literal["warm", "look", "find", "confirm"]
    given: Given
    seconds: float
    locator: dict[str, Json] = field(default_factory=dict)
    module: str = ""
    path: tuple[str, ...] = ()
    candidates: tuple[TriggerText, ...] = ()
    answers: tuple[str, ...] = ()
    reply: str = ""

    @property
    def case(self) -> Case:
        """The same, as a locator is handed it."""
        given = self.given
        how = self.seconds, given.seed, self.candidates, given.own_prompts, self.answers
        return Case(given.suspect, given.base, given.prompts, *how)


@dataclass(frozen=True)
class WorkerReply:
    """What a task gave, or what the user can mend about it (`refused`: what, remedy), or what it raised."""

    facts: Facts | None = None
    evidence: Evidence | None = None
    confirmed: tuple[Confirmed, ...] = ()
    refused: tuple[str, str] | None = None
    raised: str = ""
