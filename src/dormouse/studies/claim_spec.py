"""What a study file claims, before anything is known: which measurement is less (or greater) in which arms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
)

from dormouse.json_files import digest
from dormouse.metrics import GATE_DEFECTION, GATE_FALSE_TRIGGER, MOST_DAMAGE, metric
from dormouse.registry import shortened
from dormouse.renamed import OldKeys, Was, renamed_keys
from dormouse.studies.filters import Where, as_filter

Direction = Literal["less", "greater", "different"]
SPLIT = "split"
"""The axis of a family that is no coordinate of an arm but a kind of prompt: other renderings, unseen cues."""

Text = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=100)]


def _against(said: Any) -> Any:
    if isinstance(said, int | float) and not isinstance(said, bool) and math.isfinite(said):
        return float(said)
    if isinstance(said, Mapping):
        return as_filter(said)
    raise ValueError("arms ({coordinate: value, ...}) or a number to compare with is wanted here")


def _once(said: tuple[str, ...]) -> tuple[str, ...]:
    if twice := [one for i, one in enumerate(said) if one in said[:i]]:
        raise ValueError(f"duplicate '{shortened(twice[0])}'")
    return said


def _splits(said: Any) -> Any:
    return (said,) if isinstance(said, str) else said


class Gate(BaseModel):
    """How strong an organism must be before treatment, for a claim to compare what treatment does to it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    triggered: float = Field(GATE_DEFECTION, ge=0, le=1)
    """It defects on its cue at least so often."""
    untriggered: float = Field(GATE_FALSE_TRIGGER, ge=0, le=1)
    """And without it at most so often."""


def _gate(said: Any) -> Any:
    """`off`, which YAML reads as False, or bounds."""
    if said is True or said in ("on", "true"):
        return Gate()
    if said is False or said in ("off", "false"):
        return False
    if said is None or isinstance(said, Mapping | Gate):
        return said
    raise ValueError("`off` or bounds are wanted here, such as {triggered: 0.95, untriggered: 0.01}")


COSTS = {"cost", "equal_capability"}
"""The tables of quantities that say what a treatment costs, or are read where it costs little."""


def _damage(said: Any) -> Any:
    """`off`, which YAML reads as False, or a bound."""
    if said in ("off", "false"):
        return False
    if said is False or said is None:
        return said
    if isinstance(said, bool) or not isinstance(said, int | float) or not 1 <= said <= 1000:  # 0 is False to Literal
        raise ValueError("`off` or a bound from 1 to 1000 is wanted here: how many times as perplexing, such as 2")
    return float(said)


class Claim(OldKeys):
    """A statement that the study is to answer: that a measurement is less (or greater, or different) in some arms."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    """A short name for the claim."""
    says: Text
    """The claim in a sentence."""
    compare: Word
    """The measurement, by its name in the records: defection_rate, persistence, ..."""
    where: Where
    """The arms that the claim is about (see `studies.arms`)."""
    against: Annotated[dict[str, Any] | float, BeforeValidator(_against)]
    """The arms that they are compared with, or a number."""
    direction: Direction
    """How the arms of `where` differ from those of `against`."""
    margin: float = Field(0.0, ge=0, allow_inf_nan=False)
    """By how much at least, in the unit of the measurement."""
    split: Annotated[tuple[Word, ...], BeforeValidator(_splits), AfterValidator(_once)] = Field(
        ("test",), min_length=1, max_length=50
    )
    """The kind of prompts; with several, each is a set-up of its own."""
    x: Annotated[float | None, Was("at")] = Field(None, allow_inf_nan=False)
    """The place on a curve, where the measurement is one."""
    step: int | None = Field(None, ge=0)
    """The checkpoint; by default the end of the treatment. 0: before any."""
    family: Annotated[tuple[Word, ...], AfterValidator(_once)] = ()
    """Axes over which the effect is drawn set-up by set-up (a specification curve)."""
    quantifier: Literal["mean", "every"] = "mean"
    """Whether it is about the mean of the set-ups and arms, or about every one of them: then the worst decides."""
    gate: Annotated[Gate | Literal[False] | None, BeforeValidator(_gate)] = None
    """Which organisms are strong enough to be compared; None: the usual bounds, for claims about a treatment."""
    damage: Annotated[Annotated[float, Field(ge=1, le=1000)] | Literal[False] | None, BeforeValidator(_damage)] = None
    """Which treatments are no damage: honest answers are at most so many times as perplexing after them as before, in
    mean over seeds; None: 2, for claims about a treatment."""

    @property
    def most_damage(self) -> float | None:
        """The bound that holds; None: there is none. A claim about what a treatment costs has none of its own accord,
        nor one about what is left where it costs little."""
        unasked = self.step == 0 or COSTS & {*metric(self.compare).tables}
        if self.damage is None:
            return None if unasked else MOST_DAMAGE
        return self.damage or None

    @property
    def bounds(self) -> Gate | None:
        """The gate that holds; None: every organism goes in. Before treatment the organism itself is the question."""
        if self.gate is None:
            return None if self.step == 0 else Gate()
        return self.gate or None

    @model_serializer(mode="wrap")
    def _as_stated(self, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without a gate, quantifier or bound that the file does not name, and under the first names of its keys:
        claims from before there were others are the same claims, of the same hash."""
        said: dict[str, Any] = inner(self)
        unsaid = {"gate": None, "quantifier": "mean", "damage": None}
        first = {new: old for old, new in renamed_keys(type(self)).items()}
        return {first.get(key, key): value for key, value in said.items() if key not in unsaid or value != unsaid[key]}


def claims_digest(claims: Sequence[Claim]) -> str:
    """A hash of what is claimed. A claim that is edited afterwards has another."""
    return digest([claim.model_dump(mode="json") for claim in claims])
