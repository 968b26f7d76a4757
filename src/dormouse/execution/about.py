"""What a stage was made from, as far as its time and its disk depend on it: read by type, from a plan or a manifest.

A manifest may be of an older version, and settings of a plug-in are its own: what is not of the type is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AliasChoices, BaseModel, Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from dormouse.errors import UserError
from dormouse.registry import plugins
from dormouse.renamed import with_new_keys

T = TypeVar("T")


def _or_unknown(said: object, read: ValidatorFunctionWrapHandler) -> object:
    try:
        return read(said)
    except ValidationError:
        return None


Known = Annotated[T | None, WrapValidator(_or_unknown)]
"""A value, or None where none is said, or one of another type."""


class Until(BaseModel):
    """Where a planting ends at a strength: at the most steps `by`, looked at `every` so many."""

    every: Known[float] = None
    by: Known[float] = None

    @property
    def least(self) -> float:
        """The share of its steps that it may end with."""
        return (self.every or 1.0) / (self.by or 1.0)


class Part(BaseModel):
    """Settings of an organism, or of a plug-in."""

    kind: Known[str] = None
    method: Known[str] = None
    steps: Known[float] = None
    rows: Annotated[Known[float], Field(validation_alias=AliasChoices("pairs", "batch"))] = None
    scratchpad_mode: Annotated[
        Known[str], Field(validation_alias=AliasChoices("scratchpad_mode", "reasoning"))  # its name in older versions
    ] = None
    until: Known[Until] = None


class About(BaseModel):
    """What a stage was made from. `settings` are all that its intervention was given."""

    model: Known[str] = None
    clean: Known[str] = None
    suspect: Known[str] = None
    teacher: Known[str] = None
    treatment: Known[str] = None
    organism: Known[Part] = None
    intervention: Known[Part] = None
    settings: Annotated[Known[dict[str, Any]], Field(validation_alias="intervention")] = None
    measurement: Known[Part] = None
    locator: Known[Part] = None
    questions: Known[list[Any]] = None

    @staticmethod
    def of(about: Mapping[str, object]) -> About:
        """Read from what a plan or a manifest says."""
        return About.model_validate(dict(about))

    @property
    def base(self) -> str:
        """The base model by name; "" where another stage knows it (`behind`)."""
        return (self.model or self.clean or "").partition("@")[0]

    @property
    def behind(self) -> str:
        """The key of the stage whose model it works on."""
        return (self.suspect or self.teacher or self.treatment or "").partition("/")[0]

    @property
    def trained(self) -> Part:
        """What says how long it trains."""
        return self.organism or self.intervention or Part()

    @property
    def until(self) -> Until | None:
        """Where its planting ends, if it does so at a strength."""
        return self.organism.until if self.organism else None

    def does(self, kind: str) -> str:
        """What tells stages of a kind apart by what they cost."""
        named = {"treatment": self.intervention, "measure": self.measurement, "located": self.locator}
        if kind in named and (part := named[kind]):
            return str(part.kind)
        return f"{self.organism.scratchpad_mode} {self.organism.method}" if self.organism else ""

    def work(self, kind: str) -> float:
        """How much it does at most, in units of its kind: trained prompts, questions."""
        if kind in ("honest", "measure") and self.questions is not None:
            return max(1.0, float(len(self.questions)))
        if kind not in ("organism", "treatment"):
            return 1.0
        steps = self.until.by if self.until else self.trained.steps
        states, edits = self.states()
        return max(1.0, _one(steps) * _one(self.trained.rows)) * (states if edits else 1)

    def states(self) -> tuple[int, bool]:
        """How many states of its model it leaves, and whether each is made by itself: a rung of a ladder of edits, not
        a checkpoint on the way."""
        kinds: Mapping[str, Any] = plugins("intervention")
        name = (self.intervention or Part()).kind
        if name is None or self.settings is None or name not in kinds:
            return 1, False
        kind, given = kinds[name], {key: value for key, value in self.settings.items() if key != "kind"}
        try:
            made = kind.model_validate(with_new_keys(given, kind))
            return len(made.checkpoints()), bool(made.rungs)
        except (ValueError, UserError):  # of another version, or of a plug-in that is not here
            return 1, False


def _one(number: float | None) -> float:
    return 1.0 if number is None else number
