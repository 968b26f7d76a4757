"""What was claimed, and what was found: the answers of a study as sentences and as specification curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dormouse.report.plain import decimal, one_line, percent

MINUS = "\u2212"
VERDICTS = ("supported", "contradicted", "undecided")
WORDS = {
    "less": "less, by at least {}",
    "greater": "greater, by at least {}",
    "different": "different, by at least {}",
}
SIDES = {"where": "claimed of", "against": "against"}
LISTED = 6
"""More arms than this are counted, not named."""
NAMED = 3
"""The same of set-ups, which have longer names."""
HEADING = "What was claimed, and what was found"
ABOUT = (
    "An effect is the mean difference between the arms that a claim is about and those that it names against them, "
    "paired by set-up, seed and question. Seeds are the unit: seeds and questions are taken as random samples that are "
    "crossed, set-ups as the ones that were run. Each effect is tested against the claim's margin, and all claims "
    "together are held to 5 % by Holm's method. Intervals are 95 %, not corrected. Organisms that were too weak before "
    "treatment are left out."
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

    @property
    def said(self) -> str:
        return ", ".join(f"{_short(axis)} {value}" for axis, value in self.chosen)

    @property
    def interval(self) -> str:
        return interval(self.low, self.high)


@dataclass(frozen=True)
class Answered:
    """A claim with its answer, in words. `id`, `says`, `notes` and what is chosen hold foreign strings."""

    number: int
    id: str
    says: str
    verdict: str
    finding: str
    notes: tuple[str, ...]
    """What a reader must know before believing it: weak arms, a claim that was edited, what is missing."""
    measurement: str
    margin: float
    direction: str
    curve: tuple[Point, ...]
    turning: str
    """In which set-ups the sign turns, in words; "" where there is no family."""

    @property
    def name(self) -> str:
        return f"claim-{self.number}"

    @property
    def axes(self) -> tuple[str, ...]:
        return tuple(axis for axis, _ in self.curve[0].chosen) if self.curve else ()


def answered(about: Mapping[str, Any]) -> list[Answered]:
    """Every claim of a study, in the order in which the file states them."""
    said = about.get("claims") or {}
    changed: Mapping[str, Any] = said.get("changed") or {}
    return [_answered(i, one, changed) for i, one in enumerate(said.get("answers") or ())]


def changes(about: Mapping[str, Any]) -> list[str]:
    """That claims, or the study that was to answer them, are not as they were stated before the first run."""
    said = about.get("claims") or {}
    changed: Mapping[str, Any] = said.get("changed") or {}
    found = []
    if changed:
        named = ", ".join(f"{one_line(str(name))} ({one_line(str(how))})" for name, how in changed.items())
        found = [f"Claims changed after the first run in this folder: {named}. Such an answer was not predicted."]
    if edited := [one_line(str(part)) for part in said.get("edited") or ()]:
        what = f"The study was edited after the first run in this folder: {', '.join(edited)}."
        found.append(f"{what} Who adds seeds until a claim holds finds one that does.")
    return found


def stated(about: Mapping[str, Any]) -> str:
    """When the claims were stated, and their hash."""
    said = about.get("claims") or {}
    first = said.get("stated") or {}
    try:
        known, of = int(first.get("known") or 0), int(first.get("measurements") or 0)
        seen = f" {known} of {of} measurements existed already." if known else ""
        when = f" Stated before {datetime.fromtimestamp(int(first['time']), UTC):%Y-%m-%d %H:%M} UTC"
        return f"{when}, hash {one_line(str(first['digest']))}.{seen}".strip()
    except (KeyError, ValueError, TypeError, OverflowError, OSError):
        return f"Hash {one_line(str(said.get('digest')))}; when they were stated is not known."


def signed(value: float) -> str:
    """A difference, with its sign."""
    return f"{'+' if value > 0 else MINUS if value < 0 else ''}{decimal(abs(value))}"


def interval(low: float, high: float) -> str:
    return f"[{signed(low)}, {signed(high)}]"


def _answered(number: int, one: Mapping[str, Any], changed: Mapping[str, Any]) -> Answered:
    verdict = one_line(str(one.get("verdict")))
    curve = tuple(map(_point, one.get("curve") or ()))
    return Answered(
        number,
        one_line(str(one.get("id"))),
        one_line(str(one.get("says"))),
        verdict if verdict in VERDICTS else "undecided",
        _finding(one),
        tuple(_notes(one, changed)),
        one_line(str(one.get("compare"))),
        float(one.get("margin") or 0.0),
        str(one.get("direction")),
        curve,
        _turning(curve),
    )


def _point(said: Mapping[str, Any]) -> Point:
    chosen = tuple((one_line(str(axis)), one_line(str(value))) for axis, value in (said.get("chosen") or {}).items())
    value, low, high = (float(said[key]) for key in ("effect", "low", "high"))
    return Point(chosen, value, low, high, len(said.get("seeds") or ()), one_line(str(said.get("turns"))))


def _finding(one: Mapping[str, Any]) -> str:
    """The effect with all that it rests on, in a few sentences."""
    measurement, claimed = one_line(str(one.get("compare"))), _claimed(one)
    if one.get("effect") is None:
        return f"No effect can be given: {one_line(str(one.get('why')))}. {claimed}"
    seeds = list(one.get("seeds") or ())
    over = "over questions only" if len(seeds) == 1 else f"paired by {one_line(str(one.get('paired')))}"
    over = over if isinstance(one.get("against"), Mapping) or len(seeds) == 1 else "one-sample"
    effect, low, high = (float(one[key]) for key in ("effect", "low", "high"))
    parts = [f"Effect on {measurement}: {signed(effect)} {interval(low, high)} ({over})"]
    if one.get("standardised") is not None:
        parts.append(f", {signed(float(one['standardised']))} standard deviations of the seeds")
    setups = int(one.get("setups") or 1)
    parts.append(f"; {_seeds(seeds)}" + (f", {setups} set-ups" if setups > 1 else "") + ".")
    if one.get("p_corrected") is not None:
        number = int(one.get("comparisons") or 1)
        many = f"corrected for {number} comparisons" if number > 1 else "one comparison, nothing to correct"
        sign = ", by a sign test: no seed differs from another" if one.get("test") == "sign" else ""
        parts.append(f" p = {_p(float(one['p_corrected']))} against the margin ({many}{sign}).")
    return "".join([*parts, f" {claimed}", _short_of(one, effect), _more(one, len(seeds))])


def _short_of(one: Mapping[str, Any], effect: float) -> str:
    """That what contradicts a claim is its margin, and not the sign of the effect."""
    wanted = {"less": -1.0, "greater": 1.0}.get(str(one.get("direction")), 0.0)
    if one.get("verdict") != "contradicted" or effect == 0 or effect * wanted < 0:
        return ""
    return f" It is {'in the claimed direction' if wanted else 'different'}, but smaller than the margin."


def _claimed(one: Mapping[str, Any]) -> str:
    words = WORDS.get(str(one.get("direction")), "different, by at least {}")
    margin = float(one.get("margin") or 0.0)
    than = words.format(decimal(margin)) if margin else words.partition(",")[0]
    return f"Claimed of {_arms(one.get('where'))}{_where(one)}, against {_arms(one.get('against'))}: {than}."


def _arms(said: Any) -> str:
    """A filter in words: `organism year, lr 0.001 or 0.003`; or a number."""
    if not isinstance(said, Mapping):
        return decimal(float(said)) if isinstance(said, int | float) else "arms that are not known"
    each = {key: value if isinstance(value, list | tuple) else [value] for key, value in said.items()}
    return ", ".join(one_line(f"{key} {' or '.join(map(str, values))}") for key, values in each.items())


def _where(one: Mapping[str, Any]) -> str:
    """On which prompts, at which place and step, where these are not the usual ones."""
    splits = [one_line(str(split)) for split in one.get("split") or ()]
    said = f" on {' and '.join(splits)}" if splits not in ([], ["test"]) else ""
    said += f" at {decimal(float(one['at']))}" if one.get("at") is not None else ""
    return said + (f" at step {one_line(str(one['step']))}" if one.get("step") is not None else "")


def _seeds(seeds: Sequence[Any]) -> str:
    if len(seeds) > LISTED and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{len(seeds)} seeds ({seeds[0]} to {seeds[-1]})"
    if len(seeds) > LISTED:
        return f"{len(seeds)} seeds"
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))}"


def _p(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "less than 0.001"


def _more(one: Mapping[str, Any], seeds: int) -> str:
    """How many more seeds would decide it."""
    if one.get("verdict") != "undecided" or one.get("effect") is None:
        return ""
    why = one_line(str(one.get("why") or ""))
    said = f" Undecided: {why}." if why else ""
    needed = one.get("seeds_needed")
    if isinstance(needed, int):
        more = max(1, needed - seeds)
        many = "one more seed" if more == 1 else f"{more} more seeds"
        return f"{said} About {many} would decide it, if the effect is as it seems (power 0.8)."
    if one.get("p_corrected") is not None and float(one["p_corrected"]) < 0.05:
        return said  # what is missing is no seed: times that reached the budget
    never = " Not even 1,000 seeds would decide it: the effect lies at the margin, or it takes more questions."
    return said + (never if seeds > 1 else "")


def _notes(one: Mapping[str, Any], changed: Mapping[str, Any]) -> list[str]:
    notes = []
    if one.get("id") in changed:
        notes.append(f"This claim was {one_line(str(changed[one['id']]))} after the first run.")
    notes += _strength(one)
    for weak in one.get("weak") or ():
        notes.append(f"Strength not as usual: {one_line(str(weak.get('arm')))}: {one_line(str(weak.get('reason')))}.")
    thin = ("thin", "Left out with these, as too few seeds pass the gate in their set-ups")
    for key, words in (thin, ("missing", "Not measured"), ("alone", "Nothing to compare with")):
        if named := [one_line(str(name)) for name in one.get(key) or ()]:
            more = f" and {len(named) - LISTED} more" if len(named) > LISTED else ""
            notes.append(f"{words}: {', '.join(named[:LISTED])}{more}.")
    if one.get("censored") is not None:
        budget = decimal(float(one["censored"]))
        notes.append(f"Times that reach the budget ({budget}) count as the budget: the means are restricted to it.")
        reached = {side: share for side, share in (one.get("at_budget") or {}).items() if share is not None}
        if any(reached.values()):
            said = " and ".join(f"{percent(float(share))} ({SIDES[side]})" for side, share in reached.items())
            notes[-1] += f" It was reached by {said}."
        if len(budgets := one.get("budgets") or ()) > 1:
            every = ", ".join(decimal(float(value)) for value in budgets[:LISTED])
            notes.append(f"The arms were followed for unequal times ({every}): all are cut at the shortest.")
    return notes


def _strength(one: Mapping[str, Any]) -> list[str]:
    """What the strength gate left out, and how far the two sides are matched before treatment."""
    notes, gate, out = [], one.get("gate") or {}, list(one.get("left_out") or ())
    if out:
        bounds = (
            f"{percent(float(gate['triggered']))} on the cue, at most {percent(float(gate['untriggered']))} without"
        )
        weak = "; ".join(
            f"{one_line(str(arm.get('arm')))} seed {one_line(str(arm.get('seed')))}: {_rate(arm, 'triggered')} on its "
            f"cue, {_rate(arm, 'untriggered')} without"
            for arm in out[:LISTED]
        )
        more = f"; and {len(out) - LISTED} more" if len(out) > LISTED else ""
        many = f"{len(out)} of {one.get('gate_pairs')} organisms and seeds"
        notes.append(f"Left out by the strength gate (before treatment at least {bounds}): {many} ({weak}{more}).")
    before = {side: rate for side, rate in (one.get("before") or {}).items() if rate is not None}
    if before:
        said = ", ".join(f"{percent(float(rate))} ({SIDES[side]})" for side, rate in before.items())
        notes.append(f"Defection on the cue before treatment, where matched arms are alike: {said}.")
    return notes


def _rate(arm: Mapping[str, Any], key: str) -> str:
    return "not measured" if arm.get(key) is None else percent(float(arm[key]))


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
    said = [axis_label(*pair) for pair in shared if any(pair not in point.chosen for point in curve)]
    return f" What these have in common: {', '.join(said)}." if said and len(turned) > 1 else ""


def _short(axis: str) -> str:
    """The last word of an axis; the whole where that tells planting from treatment, the number of the part too where it
    is of one of several (`intervention.2.lr`)."""
    words = axis.split(".")
    if words[0] == "organism" or len(words) < 2:
        return axis
    return ".".join(words[-2:]) if words[-2].isdigit() else words[-1]


def axis_label(axis: str, value: str) -> str:
    return f"{_short(axis)} {value}"


def reach(curve: Sequence[Point], margin: float) -> tuple[float, float]:
    """The range of the effects and their intervals, with 0 and the margin in it."""
    ends = [0.0, *(v for p in curve for v in (p.low, p.high, p.effect) if math.isfinite(v))]
    low, high = min(ends), max(ends)
    pad = 0.05 * (high - low) or max(0.1, margin)
    return low - pad, high + pad
