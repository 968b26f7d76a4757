"""What was claimed, and what was found: the answers of a study as sentences and as specification curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from dormouse.claims.verdict import CurvePoint, Direction, End, Filter, Verdict
from dormouse.provenance import Provenance
from dormouse.report.claim_notes import LISTED, Note, notes
from dormouse.report.plain_text import decimal, interval, one_line, percent, signed

WORDS: dict[Direction, str] = {
    "less": "less, by at least {}",
    "greater": "greater, by at least {}",
    "different": "different, by at least {}",
}
NAMED = 3
"""More set-ups than this are counted, not named."""
HEADING = "What was claimed, and what was found"
ABOUT = (
    "An effect is the mean difference between the arms that a claim is about and those that it names against them, "
    "paired by set-up, seed and question. Seeds are the unit: seeds and questions are taken as random samples that are "
    "crossed, set-ups as the ones that were run. Each effect is tested against the claim's margin, and all claims "
    "together are held to 5 % by Holm's method. Intervals are 95 %, not corrected; they are wider where an arm stands "
    "at a bound, as seeds that all agree hide a collapse that none of them shows, and no narrower than what questions "
    "of a kind that was not asked may do. A verdict must survive one more seed at the worst bound; "
    "beside it stands how many seeds turn out otherwise by themselves. Organisms that were too "
    "weak before treatment are left out, and sides that were not equally strong before it are not compared."
)


@dataclass(frozen=True)
class Point:
    """The effect in one set-up. `turns`: no, perhaps (its interval holds 0) or surely."""

    chosen: tuple[tuple[str, str], ...]
    effect: float
    low: float
    high: float
    seeds: int
    turns: str
    open_ends: tuple[End, ...] = ()

    @property
    def said(self) -> str:
        """The set-up in words: `n 64, lr 0.001`."""
        return ", ".join(f"{_short(axis)} {value}" for axis, value in self.chosen)

    @property
    def interval(self) -> str:
        """`[-0.12, +0.03]`."""
        return interval(self.low, self.high, self.open_ends)


@dataclass(frozen=True)
class Answered:
    """A claim with its answer, in words. `id`, `says`, `notes` and what is chosen hold foreign strings."""

    number: int
    id: str
    says: str
    verdict: str
    finding: str
    notes: tuple[Note, ...]
    measurement: str
    margin: float
    direction: str
    curve: tuple[Point, ...]
    turning: str
    """In which set-ups the sign turns, in words; "" where there is no family."""
    answer: Verdict
    """What it was made from, as the study wrote it."""

    @property
    def name(self) -> str:
        """What it is called in links: `claim-1`."""
        return f"claim-{self.number}"

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes of the curve; none where there is no curve."""
        return tuple(axis for axis, _ in self.curve[0].chosen) if self.curve else ()


def answered(about: Provenance) -> list[Answered]:
    """Every claim of a study, in the order in which the file states them.

    Raises:
        UserError: the answers are not whole, or hold what is not known (so do `changes` and `stated`).
    """
    said = about.verdicts
    return [_answered(i, one, said.changed) for i, one in enumerate(said.answers)] if said else []


def changes(about: Provenance) -> list[str]:
    """That claims, or the study that was to answer them, are not as they were stated before the first run."""
    said, found = about.verdicts, []
    if said and said.changed:
        named = ", ".join(f"{one_line(name)} ({one_line(how)})" for name, how in said.changed.items())
        found = [f"Claims changed after the first run in this folder: {named}. Such an answer was not predicted."]
    if said and said.edited:
        what = f"The study was edited after the first run in this folder: {', '.join(map(one_line, said.edited))}."
        found.append(f"{what} Who adds seeds until a claim holds finds one that does.")
    return found


def stated(about: Provenance) -> str:
    """When the claims were stated, and their hash; "" where there are none."""
    said = about.verdicts
    if not said:
        return ""
    unknown = f"Hash {one_line(said.digest)}; when they were stated is not known."
    if not (first := said.stated):
        return unknown
    try:
        when = f"Stated before {datetime.fromtimestamp(first.time, UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):
        return unknown
    seen = f" {first.known} of {first.measurements} measurements existed already." if first.known else ""
    return f"{when}, hash {one_line(first.digest)}.{seen}"


def _answered(number: int, one: Verdict, changed: Mapping[str, str]) -> Answered:
    curve = tuple(map(_point, one.curve))
    return Answered(
        number,
        one_line(one.id),
        one_line(one.says),
        one.verdict,
        _finding(one),
        tuple(notes(one, changed)),
        _measurement(one),
        one.margin,
        one.direction,
        curve,
        _turning(curve),
        one,
    )


def _measurement(one: Verdict) -> str:
    """What was compared, in words."""
    return one_line(one.compare.replace("_", " "))


def _point(said: CurvePoint) -> Point:
    chosen = tuple((one_line(axis), one_line(value)) for axis, value in said.chosen.items())
    return Point(chosen, said.effect, said.low, said.high, len(said.seeds), said.turns, said.open_ends)


def _finding(one: Verdict) -> str:
    """The effect with all that it rests on, in a few sentences."""
    measurement, claimed = _measurement(one), _claimed(one)
    if one.effect is None or one.low is None or one.high is None:
        return f"No effect can be given: {one_line(one.why)}. {claimed}"
    over = "over questions only" if len(one.seeds) == 1 else f"paired by {one_line(one.paired)}"
    over = over if isinstance(one.against, Mapping) or len(one.seeds) == 1 else "one-sample"
    parts = [f"Effect on {measurement}: {signed(one.effect)} {interval(one.low, one.high, one.open_ends)} ({over})"]
    if one.standardised is not None:
        parts.append(f", {signed(one.standardised)} standard deviations of the seeds")
    parts.append(f"; {_seeds(one.seeds)}" + (f", {one.setups} set-ups" if one.setups > 1 else "") + ".")
    if one.p_corrected is not None:
        many = f"corrected for {one.comparisons} comparisons"
        many = many if one.comparisons > 1 else "one comparison, nothing to correct"
        sign = ", by a sign test: no seed differs from another" if one.test == "sign" else ""  # before version 2
        parts.append(f" p = {_p(one.p_corrected)} against the margin ({many}{sign}).")
    return "".join([*parts, f" {claimed}", _short_of(one), _more(one)])


def _short_of(one: Verdict) -> str:
    """Whether what contradicts a claim is its margin, or the sign of the effect."""
    if one.contradiction == "opposite":
        return " It is surely the other way."
    if one.verdict != "contradicted" and not one.contradiction:
        return ""
    if one.direction == "different":
        return " It differs by less than the margin."
    low, high = one.low or 0.0, one.high or 0.0
    side, end = (high < 0, "high") if one.direction == "less" else (low > 0, "low")
    if side and end not in one.open_ends:
        return " It is in the claimed direction, but smaller than the margin."
    return " It is smaller than the margin." if one.contradiction else ""


def _claimed(one: Verdict) -> str:
    words = WORDS[one.direction] + (", in every set-up" if one.quantifier == "every" else "")
    than = words.format(decimal(one.margin)) if one.margin else words.partition(",")[0]
    return f"Claimed of {_arms(one.where)}{_where(one)}, against {_arms(one.against)}: {than}."


def _arms(said: Filter | float) -> str:
    """A filter in words: `organism year, lr 0.001 or 0.003`; or a number."""
    if not isinstance(said, Mapping):
        return decimal(said)
    each = {key: value if isinstance(value, tuple) else (value,) for key, value in said.items()}
    return ", ".join(one_line(f"{key} {' or '.join(map(str, values))}") for key, values in each.items())


def _where(one: Verdict) -> str:
    """On which prompts, at which place and step, where these are not the usual ones."""
    said = f" on {' and '.join(map(one_line, one.split))}" if one.split != ("test",) else ""
    said += f" at {decimal(one.x)}" if one.x is not None else ""
    return said + (f" at step {one.step}" if one.step is not None else "")


def _seeds(seeds: Sequence[int]) -> str:
    if len(seeds) > LISTED and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{len(seeds)} seeds ({seeds[0]} to {seeds[-1]})"
    if len(seeds) > LISTED:
        return f"{len(seeds)} seeds"
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))}"


def _p(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "less than 0.001"


def _more(one: Verdict) -> str:
    """Why there is no verdict, and how probable one is with more seeds."""
    if one.is_decided or one.effect is None:
        return ""
    said = f" {one.verdict.capitalize()}: {one_line(one.why)}." if one.why else ""
    each = ", ".join(f"{percent(chance.probability)} after {chance.more} more seeds" for chance in one.chances)
    return said + (f" The chance of a verdict, if seeds to come are like these: {each}." if each else "")


def _turning(curve: Sequence[Point]) -> str:
    if not curve:
        return ""
    surely = [point for point in curve if point.turns == "surely"]
    perhaps = [point for point in curve if point.turns == "perhaps"]
    if not surely and not perhaps:
        return f"The sign is the same in all {len(curve)} set-ups." if len(curve) > 1 else "There is one set-up only."
    turned = [*surely, *perhaps]
    said = [f"The sign turns in {len(turned)} of {len(curve)} set-ups"]
    for points, words in ((surely, "with intervals that leave out 0"), (perhaps, "with intervals that hold 0")):
        if points:
            named = "; ".join(point.said for point in points[:NAMED])
            more = f"; and {len(points) - NAMED} more" if len(points) > NAMED else ""
            said.append(f"{len(points)} {words} ({named}{more})")
    return f"{said[0]}: {', '.join(said[1:])}.{_common(turned, curve)}"


def _common(turned: Sequence[Point], curve: Sequence[Point]) -> str:
    """What all set-ups in which the sign turns have in common, of what differs between set-ups."""
    shared = [pair for pair in turned[0].chosen if all(pair in point.chosen for point in turned)]
    said = ", ".join(axis_label(*pair) for pair in shared if any(pair not in point.chosen for point in curve))
    return f" What these have in common: {said}." if said and len(turned) > 1 else ""


def _short(axis: str) -> str:
    """The last word of an axis; the whole where that tells planting from treatment, the number of the part too where it
    is of one of several (`intervention.2.lr`)."""
    words = axis.split(".")
    if words[0] == "organism" or len(words) < 2:
        return axis
    return ".".join(words[-2:]) if words[-2].isdigit() else words[-1]


def axis_label(axis: str, value: str) -> str:
    """A choice on an axis, as it stands beside the curve: `lr 0.001`."""
    return f"{_short(axis)} {value}"


def reach(curve: Sequence[Point], margin: float) -> tuple[float, float]:
    """The range of the effects and their intervals, with 0 and the margin in it."""
    ends = [0.0, *(v for p in curve for v in (p.low, p.high, p.effect) if math.isfinite(v))]
    low, high = min(ends), max(ends)
    pad = 0.05 * (high - low) or max(0.1, margin)
    return low - pad, high + pad
