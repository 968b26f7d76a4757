"""The answers to the claims of a study, as they travel from the study to its page.

The JSON keys are the names of the fields. A file that lacks one, or has one that is not known, is refused: a page that
went on without it would say what nobody found. Files from before there was a version are brought up to date in one
place (`older_verdicts`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from dormouse.records import PlaceOnCurve

VERDICTS = "claims"
"""The key under which they stand in what is known `about` a study."""
VERSION: Literal[7] = 7

Scalar = str | int | float
Filter = Mapping[str, Scalar | tuple[Scalar, ...]]
"""Which arms: coordinate -> the value wanted, or any of several."""
Direction = Literal["less", "greater", "different"]
Outcome = Literal["supported", "contradicted", "undecided", "no room", "not comparable", "sketch"]
"""`no room`: the arms compared with leave less of the quantity than the margin asks for. `not comparable`: before
treatment the organisms of one side were stronger. `sketch`: it would be decided, but by seeds that were changed after
the first run, and who changes seeds until a claim holds finds some with which it does."""
Remedy = Literal["seeds", "perhaps seeds", "none"]
"""Whether more seeds may change it. `perhaps seeds`: what hides an effect, tells sides apart or leaves an arm out
may go with them; how probable that is, is not known. `none` of a claim that is open: it stays so whatever they show."""
Quantifier = Literal["mean", "every"]
End = Literal["low", "high"]
"""Of an interval."""


def others_possible(otherwise: int, seeds: int) -> float:
    """The share of seeds that turn out otherwise which remains possible at 95 % where so many of these do (Clopper and
    Pearson 1934): of seeds that all agree 1 - 0.05^(1 / seeds)."""
    if not otherwise:
        return float(1 - 0.05 ** (1 / seeds))  # every page says this one, and no page need wait for scipy
    from scipy.special import betaincinv

    return float(betaincinv(otherwise + 1, seeds - otherwise, 0.95)) if otherwise < seeds else 1.0


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
class Damaged:
    """An arm that is not counted, as honest answers are so many times as perplexing after its treatment."""

    arm: str
    times: float


@dataclass(frozen=True)
class DamagedSeed:
    """A seed of an arm that is counted, after whose treatment honest answers are so many times as perplexing."""

    arm: str
    seed: int
    times: float


@dataclass(frozen=True)
class Sides:
    """A share of the arms that a claim is about, and of those that it names against them; None: not known."""

    where: float | None
    against: float | None

    @property
    def known(self) -> dict[Literal["where", "against"], float]:
        """The shares that are known, by side."""
        found: dict[Literal["where", "against"], float] = {}
        if self.where is not None:
            found["where"] = self.where
        if self.against is not None:
            found["against"] = self.against
        return found


@dataclass(frozen=True)
class ValueInterval:
    """A number and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class DamagePassed:
    """What the damage gate let pass.

    Attributes:
        seeds: those beyond its bound of arms that are counted: an arm is out with all its seeds, or with none.
        without: the effect without these seeds: a sketch, and no answer.
        unknown: arms that are counted though nobody measured whether their treatment is damage.
    """

    seeds: tuple[DamagedSeed, ...]
    without: ValueInterval | None
    unknown: tuple[str, ...]


CLAIMED = ("claimed of", "against")
"""What the sides of a claim are called."""


@dataclass(frozen=True)
class Matching:
    """How strong the organisms of both sides were before treatment, in the set-up where they are least alike: the
    log-odds of defecting on the cue, over organisms and seeds (their median, and one standard deviation of a side
    around it), and whether the two ranges meet."""

    where: ValueInterval
    against: ValueInterval
    overlap: bool
    sides: tuple[str, str]
    """What the two are called."""


@dataclass(frozen=True)
class LookTaken:
    """At which look of a sequential design an answer was given: the `number` of `most` looks, with so many seeds, and
    how the error was spent (see `studies.seeds`)."""

    number: int
    most: int
    seeds: int
    spend: str


@dataclass(frozen=True)
class Chance:
    """How probable a verdict is after so many more seeds, if these are like those so far."""

    more: int
    probability: float


@dataclass(frozen=True)
class CurvePoint:
    """The effect in one set-up of a family. `turns`: whether its sign is not that of the claim."""

    chosen: Mapping[str, str]
    effect: float
    low: float
    high: float
    seeds: tuple[int, ...]
    turns: Literal["no", "perhaps", "surely"]
    open_ends: tuple[End, ...]
    """As of a whole claim (see `Verdict`)."""


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
    x: PlaceOnCurve
    step: int | None
    family: tuple[str, ...]
    """The axes of the curve, by their full names."""
    quantifier: Quantifier
    """Whether it is about the mean of the set-ups, or about every one: then the effect is that of the worst."""
    verdict: Outcome
    contradiction: Literal["", "opposite", "smaller"]
    """Whether what contradicts it has the other sign, or is only smaller than the margin."""
    why: str
    remedy: Remedy
    effect: float | None
    low: float | None
    high: float | None
    open_ends: tuple[End, ...]
    """The ends of the interval that are open: some seeds are only known to be so low or lower, or so high or higher."""
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
    look: LookTaken | None
    """None: the seeds were fixed, and this was the only look."""
    chances: tuple[Chance, ...]
    """Of a verdict with more seeds; none where it is decided, or nothing is known of the spread."""
    otherwise: int | None
    """How many seeds turn out otherwise by themselves; None: nothing is decided, or it is an older file."""
    others_possible: float | None
    """The share of seeds that turn out otherwise which this leaves possible (95 %)."""
    room: float | None
    """By how much the arms compared with could differ in the claimed direction; None: the quantity has no bound."""
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
    matching: Matching | None
    """The same in log-odds, with its range; None: both sides are made from the same organisms, or it is not known."""
    adjusted: ValueInterval | None
    """The effect at equal strength before treatment, by linear regression: a sketch, and no answer."""
    censored: float | None
    """The budget at which times are cut."""
    budgets: tuple[float, ...]
    at_budget: Sides
    """The share of times that reached it."""
    curve: tuple[CurvePoint, ...]
    damage: float | None
    """How many times as perplexing a treatment may make honest answers; None: there was no such gate."""
    damaged: tuple[Damaged, ...]
    """Arms that are out for that reason."""
    damage_passed: DamagePassed

    def __post_init__(self) -> None:
        if len({value is None for value in (self.effect, self.low, self.high)}) > 1:
            raise ValueError("of 'effect', 'low' and 'high' some are null and some are not")
        if self.left_out and self.gate is None:
            raise ValueError("'left_out' names organisms, and 'gate' is null")

    @property
    def is_decided(self) -> bool:
        """Whether the numbers speak for the claim or against it."""
        return self.verdict in ("supported", "contradicted")


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
    version: Literal[7] = VERSION
