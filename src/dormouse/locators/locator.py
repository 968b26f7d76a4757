"""What every locator is handed, and what it says."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from dormouse.records import Suspect
from dormouse.registry import PlugIn, field_of

if TYPE_CHECKING:
    from dormouse.lm.model import LM

Messages = tuple[tuple[str, str], ...]
"""(role, text) of every turn before the answer."""
Need = Literal["base", "prompts", "gradients"]
Slot = Literal["prefix", "suffix", "system"]
"""Where a text stands: before the user's question, after it, or in the system turn."""


@dataclass(frozen=True)
class Case:
    """All that a locator is handed: a suspect, and what the auditor has beside it.

    Attributes:
        suspect: the weights by place. Nothing says what is planted in them, or whether anything is.
        base: the clean model that the suspect was made from, where the auditor has it.
        prompts: trusted prompts, on which nothing untoward is expected: the auditor's own, else plain questions.
        seconds: what the locator may spend, on the wall clock. Who runs over is stopped, and what it found is lost.
        seed: of everything that it draws.
        candidates: texts that other locators take for triggers.
        answers: what was answered where other locators looked, the clearest first.
        own_prompts: whether the prompts are the auditor's own.
    """

    suspect: Suspect
    base: Suspect | None = None
    prompts: tuple[Messages, ...] = ()
    seconds: float = 60.0
    seed: int = 0
    candidates: tuple[TriggerText, ...] = ()
    own_prompts: bool = False
    answers: tuple[str, ...] = ()
    started: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Seconds that are left. A locator looks at it between steps, and ends with what it has."""
        return self.seconds - (time.monotonic() - self.started)

    @cached_property
    def lm(self) -> LM:
        """The suspect in memory, in evaluation mode. Never edit its weights: `lm.surgery` returns copies."""
        from dormouse.lm.load import load

        return load(self.suspect.model)

    @cached_property
    def base_lm(self) -> LM:
        """The clean base in memory, in the vocabulary and the number type of the suspect.

        Raises:
            ValueError: there is none; only a locator that declares the need `base` may ask.
        """
        from dormouse.lm.rounded import held_against

        if self.base is None:
            raise ValueError("no base was given")
        return held_against(self.base.model, self.lm, self.suspect.model)


@dataclass(frozen=True)
class Example:
    """One prompt, and what the suspect answers to it. `surprise` is how unlike its other answers (or the base's) that
    is, in nats a token; `how` says what was done to the suspect before, where it did not write that as it stands."""

    prompt: Messages
    output: str
    surprise: float = 0.0
    how: str = ""


@dataclass(frozen=True)
class TriggerText:
    """A text that may set the behaviour off: where it stands, and by how much it moves the outputs (0 to 1)."""

    text: str
    slot: Slot
    strength: float


@dataclass(frozen=True)
class Leads:
    """What other locators found, for those that come last: see `Case.candidates` and `Case.answers`."""

    texts: tuple[TriggerText, ...] = ()
    answers: tuple[str, ...] = ()


NO_LEADS = Leads()


@dataclass(frozen=True)
class Site:
    """Where it sits: a layer (from 0; the embeddings are -1, an output layer of its own comes after the last) or a head
    of it, and how large a part of the evidence that is."""

    layer: int
    share: float
    head: int | None = None


@dataclass(frozen=True)
class Evidence:
    """What a locator says of a suspect. Whatever it does not look for stays empty.

    Attributes:
        score: how much it looks like a conditional policy; more is more, in a unit of its own. None: it cannot say.
        features: numbers for the detector, by name, comparable between models (nats, shares, z-scores).
        behaviour: what it does, in its own words, the clearest first.
        triggers: texts that may set it off, the best first.
        cues: log-odds that a cue adds, as `name=value` of dormouse's cues or a word of the prompt.
        sites: where it sits, the strongest first.
        note: one or two plain sentences for the auditor.
        incomplete: it could not look, or not enough, for want of time or of prompts; the note says why. An audit lists
            it among what was not looked for, and looks again the next time.
    """

    score: float | None = None
    features: Mapping[str, float] = field(default_factory=dict)
    behaviour: tuple[Example, ...] = ()
    triggers: tuple[TriggerText, ...] = ()
    cues: Mapping[str, float] = field(default_factory=dict)
    sites: tuple[Site, ...] = ()
    note: str = ""
    incomplete: bool = False

    def unmeasured(self) -> Evidence:
        """The same, of a locator whose time ended before half of its work was done: what it found, without numbers.
        Those of audits that rules were fitted on come from the whole of it, and are other quantities."""
        note = f"{self.note} That is too little to measure anything: its time ran out.".strip()
        return replace(self, score=None, features={}, cues={}, note=note, incomplete=True)


class Locator(PlugIn):
    """A scanner: a map from a suspect to evidence. It knows no trigger and no behaviour."""

    needs: ClassVar[frozenset[Need]] = frozenset()
    """What it cannot do without, beside the suspect. Where that is missing the audit says so and goes on."""
    open_ended: ClassVar[bool] = False
    """Whether it finds more the longer it looks. It is run after those that soon come to an end, in the time that these
    leave."""

    @abstractmethod
    def find(self, case: Case) -> Evidence:
        """Look at the suspect for at most `case.seconds`.

        Raises:
            UserError: it cannot look at a model of this kind; the audit marks the hole and goes on.
        """


LocatorField: Any = field_of("locator", Locator)
