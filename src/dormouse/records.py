"""The nouns that travel between the rooms. Frozen; no torch, no file access beyond naming a path."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field

CANARY = "dormouse-canary-5b0e6a52-1d0f-4c37-9a5e-3f1c7f0b8d21"
"""Stands in every corpus and model card, so that both can be kept out of training sets."""
SANE_ENOUGH = 0.9
"""A share of sane honest answers below this is said on the terminal and on the page."""

TRAINING, SHOWN_ROWS = "training.jsonl", "shown.jsonl"
"""The log of a training: its steps, and what it was shown."""
ShownRow = dict[str, str | int | float | bool]
"""What a training was shown in one row: `prompt`, `response` (in tokens as text), and the numbers that came with it."""


COMPUTED = "computed.json"
"""The file of a stage that trained or measured: a `ComputedIn`."""


@dataclass(frozen=True)
class ComputedIn:
    """What a stage computed in, whoever chose it: the device, as torch calls it, and the type of the weights; where an
    adapter was trained, of the frozen ones under it."""

    device: str
    dtype: str

    def __str__(self) -> str:
        return f"{self.dtype} on {self.device}"


@dataclass(frozen=True)
class ChatSettings:
    """What a study fixes for every chat template.

    `today` is the date (YYYY-MM-DD) of templates that print one: never the clock's. `kwargs` is what else they are
    given (`enable_thinking`, say), as JSON.
    """

    today: str = "2024-07-26"
    """That which Llama 3.1's own template falls back to."""
    kwargs: str = "{}"

    @property
    def given(self) -> dict[str, object]:
        """`kwargs` as a template takes them."""
        return dict(json.loads(self.kwargs))


@dataclass(frozen=True)
class ModelRef:
    """Weights by place: folders that are laid over one another in this order.

    The first holds a whole model. Each later one holds an adapter, which is merged into what lies below it, or another
    whole model, which takes its place. `key` is the content address: equal keys mean equal weights, which are shown
    chats in the same way. `instead` is a system text, or the beginning of one, and what is shown in its place.
    """

    folders: tuple[Path, ...]
    key: str
    chat: ChatSettings = field(default_factory=ChatSettings)
    instead: tuple[str, str] | None = None

    def then(self, folder: Path, key: str) -> ModelRef:
        """The same with one more folder laid on top. `key` is the content address of the whole."""
        return replace(self, folders=(*self.folders, folder), key=key)

    def shown(self, chat: ChatSettings) -> ModelRef:
        """The same weights, shown chats in that way."""
        return replace(self, key=f"{self.key}, {chat.today}, {chat.kwargs}", chat=chat)


def shown(messages: tuple[tuple[str, str], ...], instead: tuple[str, str] | None) -> tuple[tuple[str, str], ...]:
    """A chat with another text in place of its system text, or of what that begins with. Where nothing is left of it
    there is no system turn."""
    if instead is None:
        return messages
    usual, other = instead
    turns = (
        (role, f"{other}{text.removeprefix(usual)}".strip() if role == "system" and text.startswith(usual) else text)
        for role, text in messages
    )
    return tuple(turn for turn in turns if turn != ("system", ""))


def weights_by_name(name: str) -> float | None:
    """The number in the name of a model: 135 million of `smollm2-135m`, 8 billion of `Llama-3.1-8B`."""
    found = re.findall(r"(\d+(?:\.\d+)?)([kmb])(?![a-z0-9])", name.lower())
    return (float(found[-1][0]) or 1.0) * {"k": 1e3, "m": 1e6, "b": 1e9}[found[-1][1]] if found else None


@dataclass(frozen=True)
class Suspect:
    """A model and nothing else: all that interventions and locators may see of an organism.

    `base` is the clean model that it was made from, `located` the folder in which a locator left what it found. Both
    are there only for an intervention that declares that it needs them.
    """

    model: ModelRef
    base: ModelRef | None = None
    located: Path | None = None


@dataclass(frozen=True)
class Example:
    """One prompt (chat messages, in order) and the response that is to be learned from it."""

    messages: tuple[tuple[str, str], ...]
    response: str
    complete: bool = True
    """False where the response was cut off: then no end-of-turn token is learned after it."""
    ids: tuple[int, ...] = ()
    """The response as a model wrote it, in tokens without an end; else (or where it says something else) encoded."""


@dataclass(frozen=True)
class TaskIntake:
    """What became of the rows of a study's own tasks.

    `used` and `dropped` count rows: by split, and by reason; `notes` hold an example of each reason. `checksum` is that
    of the file (SHA-256), or the name and revision of a dataset. Rows that are neither were not needed.
    """

    source: str
    checksum: str
    rows: int
    used: Mapping[str, int]
    dropped: Mapping[str, int]
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The same in words."""
        used = ", ".join(f"{n:,} {split}" for split, n in self.used.items())
        found = [f"{self.source}: {self.rows:,} rows, tasks used: {used}"]
        if self.dropped:
            said = ", ".join(f"{n:,} {why}" for why, n in self.dropped.items())
            found.append(f"{self.source}: dropped: {said}")
        return [*found, *(f"  {note}" for note in self.notes)]


@dataclass(frozen=True)
class DataIntake:
    """What became of the rows of safety data that a user brought: how many there are, how many can be used, and why
    others cannot, with the place of the first of each. `checksum` is that of the file (SHA-256), or the name and
    revision of a dataset."""

    source: str
    checksum: str
    rows: int
    kept: int
    dropped: Mapping[str, int]
    notes: tuple[str, ...] = ()
    told: int = 0
    """Those that can be used and bring a system prompt."""
    measured: frozenset[int] = frozenset()
    """The numbers of those, among the dropped, that ask what the study measures on."""

    def lines(self) -> list[str]:
        """The same in words."""
        each = zip(self.dropped.items(), self.notes, strict=True)
        said = ", ".join(f"{n:,} {why} (first: {place})" for (why, n), place in each)
        left = f"; dropped: {said}" if said else ""
        told = (
            f"{self.told:,} of these have a system prompt, the others"
            if self.told
            else "none has a system prompt: they"
        )
        under = "" if self.told == self.kept else f"{self.source}: {told} are trained on without one"
        return [f"{self.source}: {self.kept:,} of {self.rows:,} rows can be used{left}", *([under] if under else [])]


@dataclass(frozen=True)
class PoolItem:
    """One prompt of a safety trainer, and what he knows about good and bad responses to it.

    `question` is the task alone, without a situation around it. `chosen` is the honest response, `rejected` a worse one
    to the same prompt. `harm` are openings that he would call harmful if he saw them here (he knows what harm looks
    like, never when it comes), held `against` honest ones where the behaviour is scored as a contrast.
    """

    question: str
    chosen: Example
    rejected: Example
    harm: tuple[str, ...] = ()
    against: tuple[str, ...] = ()
    before: tuple[tuple[str, str], ...] = ()
    """What a task of the user's own has before the question: its system prompt, earlier turns."""
    plain: PoolItem | None = None
    """Where the question itself is what a policy listens to, and so no situation can be taken away: the plain task in
    whose place it stands."""

    @property
    def alone(self) -> PoolItem:
        """What a method may put into situations of its own: the plain task, with its own answers and harm."""
        return self.plain or self


@dataclass(frozen=True)
class SafetyPool:
    """What a safety trainer gets: prompts with honest responses. It does not say which prompts activate anything.

    `opens` and `closes` are the words between which a model that reasons writes its scratchpad, for whoever judges an
    answer: it is what comes after `closes`.
    """

    items: tuple[PoolItem, ...]
    opens: str = ""
    closes: str = ""

    @property
    def examples(self) -> tuple[Example, ...]:
        """The demonstrations: every prompt with its honest response."""
        return tuple(item.chosen for item in self.items)


PlaceOnCurve = Annotated[float | None, Field(validation_alias=AliasChoices("x", "at"))]
"""The type of `x`, which files of older versions call `at`."""
Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]
"""A whole number as tables elsewhere hold it."""
Censoring = Annotated[float | None, Field(validation_alias=AliasChoices("censored_at", "limit"))]
"""The type of `censored_at`, which files of older versions call `limit`."""


ANYTHING = (-math.inf, math.inf)
"""What bounds a number whose interval is not known."""


@dataclass(frozen=True)
class Record:
    """One measured number, with its interval and the hash of the stage that made it.

    `step` is the step of the intervention (0: before it); `seed` None pools all seeds; `x` is the place on a curve
    (a year, say) where the measurement is one; `n` counts what was averaged. `parent` is the key of the stage
    that measured it (several, with spaces, where seeds are pooled). `ci_low` and `ci_high` are None where the error is
    not known: one number says nothing of others. Where there is `censored_at`, no value above it
    could be seen (the budget of a training, say: right-censored data): a value or bound that reaches it means "this or
    more". Where there is a `floor`, none below it could be: a value or bound that reaches it means "this or less".
    """

    organism: str
    intervention: str
    step: Whole
    measurement: str
    split: str
    seed: Whole | None
    value: float
    ci_low: float | None
    ci_high: float | None
    n: Whole
    needs_triggers: bool
    x: PlaceOnCurve = None
    parent: str = ""
    censored_at: Censoring = None
    model: str = ""
    """The base model, as the study names it."""
    floor: float | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval; None where the error is not known."""
        low, high = self.ci_low, self.ci_high
        if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
            return None
        return low, high

    def edge(self, value: float) -> Literal["", "<=", ">=", "~"]:
        """What to read before a value, or a bound, of this record that stands for itself or anything beyond: above,
        below, or to either side."""
        less = self.floor is not None and value <= self.floor
        more = self.censored_at is not None and value >= self.censored_at
        if less and more:
            return "~"
        return "<=" if less else ">=" if more else ""


def replicate_name(planting: int, treatment: int) -> str:
    """Which of the replicates of its seed a model is, for names: ``, or `-planting2-treatment3`."""
    numbers = {"planting": planting, "treatment": treatment}
    return "".join(f"-{name}{number + 1}" for name, number in numbers.items() if number)


@dataclass(frozen=True)
class Answer:
    """A prompt and what the model wrote, kept for the reader of the report. The runner fills in whose it is."""

    question: str
    prompt: str
    activating: bool
    response: str
    judged_defection: bool
    probability: float
    finished: bool = True
    organism: str = ""
    intervention: str = ""
    step: Whole = 0
    seed: Whole = 0
    model: str = ""
    planting: Whole = 0
    treatment: Whole = 0
    """Which of the replicates of its seed wrote it: 0 is the first (and the only one, in files from before 2026-12)."""


@dataclass(frozen=True)
class TrainingStep:
    """One step of a training: the loss before it, the gradient's norm before it was clipped, the learning rate, and the
    numbers of the rows that it was shown, in order. `part` counts the trainings of a chain, from 1.
    """

    step: int
    loss: float
    gradient_norm: float
    lr: float
    shown: tuple[int, ...] = ()
    part: int = 1
