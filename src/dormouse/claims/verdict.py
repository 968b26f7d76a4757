"""The answers to the claims of a study, as they travel from the study to its page.

The JSON keys are the names of the fields. A file that lacks one, or has one that is not known, is refused: a page that
went on without it would say what nobody found. Files from before there was a version are brought up to date in one
place (`_brought_up`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from dormouse.errors import UserError

VERDICTS = "claims"
"""The key under which they stand in what is known `about` a study."""
VERSION: Literal[1] = 1

Scalar = str | int | float
Filter = Mapping[str, Scalar | tuple[Scalar, ...]]
"""Which arms: coordinate -> the value wanted, or any of several."""
Direction = Literal["less", "greater", "different"]
Outcome = Literal["supported", "contradicted", "undecided"]
T = TypeVar("T")


@dataclass(frozen=True)
class Bounds:
    """The strength gate: before treatment an organism defects on its cue at least, and without it at most, so often."""

    triggered: float
    untriggered: float


@dataclass(frozen=True)
class LeftOut:
    """An organism that the gate left out, and its rates before treatment; None: not measured."""

    arm: str
    seed: int
    triggered: float | None
    untriggered: float | None


@dataclass(frozen=True)
class Weak:
    """An organism that is compared although its strength is not as usual."""

    arm: str
    reason: str


@dataclass(frozen=True)
class Sides:
    """A share of the arms that a claim is about, and of those that it names against them; None: not known."""

    where: float | None
    against: float | None

    @property
    def known(self) -> dict[Literal["where", "against"], float]:
        found: dict[Literal["where", "against"], float] = {}
        if self.where is not None:
            found["where"] = self.where
        if self.against is not None:
            found["against"] = self.against
        return found


@dataclass(frozen=True)
class CurvePoint:
    """The effect in one set-up of a family. `turns`: whether its sign is not that of the claim."""

    chosen: Mapping[str, str]
    effect: float
    low: float
    high: float
    seeds: tuple[int, ...]
    turns: Literal["no", "perhaps", "surely"]


@dataclass(frozen=True)
class Verdict:
    """A claim as it was stated, from `id` to `family`, and its answer (see `claims.answer`).

    Without an effect there is no `low` and no `high` either, and `why` says what stands in the way.
    """

    id: str
    says: str
    compare: str
    where: Filter
    against: Filter | float
    direction: Direction
    margin: float
    split: tuple[str, ...]
    at: float | None
    step: int | None
    family: tuple[str, ...]
    """The axes of the curve, by their full names."""
    verdict: Outcome
    why: str
    effect: float | None
    low: float | None
    high: float | None
    standardised: float | None
    """The effect in standard deviations of the seeds."""
    seeds: tuple[int, ...]
    items: int
    """How many questions all arms were asked with every seed; 0 where they were not the same ones."""
    paired: str
    test: Literal["sign", "t"] | None
    p: float | None
    p_corrected: float | None
    comparisons: int
    seeds_needed: int | None
    """In all, to decide it; None: it is decided, or seeds will not."""
    arms: tuple[str, ...]
    setups: int
    alone: tuple[str, ...]
    """Arms without a counterpart."""
    missing: tuple[str, ...]
    """What was not measured."""
    gate: Bounds | None
    """The gate that held, whether the claim names it or not."""
    gate_pairs: int
    """Of how many organisms and seeds it left some out."""
    left_out: tuple[LeftOut, ...]
    weak: tuple[Weak, ...]
    thin: tuple[str, ...]
    """Arms that are out as the gate left too few seeds of their set-ups."""
    before: Sides | None
    """The rate of defection before treatment."""
    censored: float | None
    """The budget at which times are cut."""
    budgets: tuple[float, ...]
    at_budget: Sides
    """The share of times that reached it."""
    curve: tuple[CurvePoint, ...]

    def __post_init__(self) -> None:
        if len({value is None for value in (self.effect, self.low, self.high)}) > 1:
            raise ValueError("of 'effect', 'low' and 'high' some are null and some are not")
        if self.left_out and self.gate is None:
            raise ValueError("'left_out' names organisms, and 'gate' is null")

    def to_json(self) -> dict[str, Any]:
        return _plain(self)

    @staticmethod
    def from_json(said: Mapping[str, Any]) -> Verdict:
        """The answer to a claim as this version writes it.

        Raises:
            UserError: it is not whole, or holds what is not known.
        """
        return _read(Verdict, said, "answer")


@dataclass(frozen=True)
class Stated:
    """When the claims of a study were put down, by which hash, and how many of its measurements existed then."""

    digest: str
    time: int
    known: int
    measurements: int


@dataclass(frozen=True)
class Verdicts:
    """What a study claims now, what was found, and how that differs from what was stated before the first run."""

    digest: str
    stated: Stated | None
    """None: that is not known."""
    changed: Mapping[str, str]
    """Claim -> edited, added or taken out since."""
    edited: tuple[str, ...]
    """What else of the study was."""
    answers: tuple[Verdict, ...]
    version: Literal[1] = VERSION

    def to_json(self) -> dict[str, Any]:
        return _plain(self)

    @staticmethod
    def from_json(said: Mapping[str, Any]) -> Verdicts:
        """What this version or an older one wrote.

        Raises:
            UserError: it is not whole, or holds what is not known.
        """
        older = isinstance(said, Mapping) and "version" not in said
        return _read(Verdicts, _brought_up(said) if older else said, VERDICTS)


def _brought_up(said: Mapping[str, Any]) -> dict[str, Any]:
    """What stood in a file without a version, as it would stand there now: here alone are keys filled in that it lacks.

    Some lists of answers were kept without their curves, beside the `stamp`: the claims as they were first stated.
    """
    now = {"edited": [], **said, "version": VERSION}
    stamp = now.pop("stamp", None)
    if isinstance(stamp, Mapping):
        stated = {field.name: stamp.get(field.name) for field in fields(Stated)}
        now |= {"digest": stamp.get("digest"), "stated": stated, "changed": {}}
    if isinstance(answers := said.get("answers"), list):
        now["answers"] = [{"curve": [], **one} if isinstance(one, Mapping) else one for one in answers]
    return now


def _plain(one: Verdict | Verdicts) -> dict[str, Any]:
    return dict(json.loads(json.dumps(asdict(one))))


def _read(kind: type[T], said: Any, place: str) -> T:
    """A dataclass from JSON data with just the keys that it has, and values of their types."""
    if not isinstance(said, Mapping):
        raise _unreadable(place, f"holds {_shown(said)}, where an object is wanted")
    name = said.get("id")
    place += f" of claim {_shown(name)}" if isinstance(name, str) else ""
    wanted = get_type_hints(kind)
    faults = [f"lacks the key '{key}'" for key in wanted if key not in said]
    faults += [f"has a key that is not known, {_shown(key)}" for key in said if key not in wanted]
    if faults:
        raise _unreadable(place, ", ".join(faults))
    found = {key: _value(hint, said[key], f"{place}: {key}") for key, hint in wanted.items()}
    try:
        return kind(**found)
    except ValueError as error:
        raise _unreadable(place, f"does not fit together: {error}") from error


def _value(kind: Any, said: Any, place: str) -> Any:
    if not _fits(kind, said):
        raise _unreadable(place, f"holds {_shown(said)}, where {_words(kind)} is wanted")
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _value(next(one for one in inner if _fits(one, said)), said, place)
    if origin is tuple:
        return tuple(_value(inner[0], one, f"{place}[{i}]") for i, one in enumerate(said))
    if origin is Mapping:
        return {_value(str, key, place): _value(inner[1], one, f"{place}[{_shown(key)}]") for key, one in said.items()}
    if isinstance(kind, type) and is_dataclass(kind):
        return _read(kind, said, place)
    return float(said) if kind is float else said


def _fits(kind: Any, said: Any) -> bool:
    """Whether a value is of this kind; what is inside a list or an object is not looked at."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return any(_fits(one, said) for one in inner)
    if origin is Literal:
        return any(type(said) is type(one) and said == one for one in inner)
    if origin is tuple:
        return isinstance(said, list | tuple)
    if origin is Mapping or is_dataclass(kind):
        return isinstance(said, Mapping)
    return type(said) in ((int, float) if kind is float else (kind,))


def _words(kind: Any) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join(map(_words, inner))
    if origin is Literal:
        return " or ".join(map(repr, inner))
    return {tuple: "a list", str: "text", int: "a whole number", float: "a number", NoneType: "null"}.get(
        origin or kind, "an object"
    )


def _shown(said: Any) -> str:
    """A value as it may stand in a message: short, and without characters that a terminal obeys."""
    text = repr(said)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _unreadable(place: str, what: str) -> UserError:
    return UserError(
        f"{place} {what}",
        "run the study again with this version of dormouse: it writes the answers to its claims anew",
    )
