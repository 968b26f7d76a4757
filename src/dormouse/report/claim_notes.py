"""What stands below the answer to a claim: who was left out of it, and how it was come by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dormouse.claims.verdict import LeftOut, Verdict
from dormouse.report.plain_text import decimal, interval, one_line, percent, signed

SPENT = {"obrien_fleming": "little at first, as O'Brien and Fleming have it", "e_value": "by an e-value"}
SIDES = {"where": "claimed of", "against": "against"}


class _Words(NamedTuple):
    """What is said of numbers beyond which nothing is known."""

    restricted: str
    unequal: str


TIMES = _Words(
    "Times that reach the budget ({}) count as the budget: the means are restricted to it.",
    "The arms were followed for unequal times ({}): all are cut at the shortest.",
)
DOSES = _Words(
    "A dose to one half is no larger than the largest dose ({}), or counts as that: the means are restricted to it.",
    "The largest doses of the arms are not the same ({}): all are cut at the smallest of them.",
)
LISTED = 6
"""More arms than this are counted, not named."""


class Note(NamedTuple):
    """One of them. It holds foreign strings."""

    text: str
    warns: bool = False
    """Whether a reader must know it before believing the answer: weak arms, a claim that was edited, what is missing.
    The others say how it was come by."""


def notes(one: Verdict, changed: Mapping[str, str]) -> list[Note]:
    """Everything of it, the strength of its organisms first."""
    found = []
    if one.id in changed:
        found.append(Note(f"This claim was {one_line(changed[one.id])} after the first run.", True))
    found += _strength(one)
    if one.otherwise is not None and one.others_possible is not None:
        turned = "turns out otherwise by itself" if one.otherwise == 1 else "turn out otherwise by themselves"
        turned += ", or may, being a bound" if one.open_ends else ""
        shown = f"of which {one.otherwise} {turned}" if one.otherwise else "none of which turns out otherwise"
        possible = f"leave it possible that up to {percent(one.others_possible)} of seeds would (95 %)"
        found.append(Note(f"{len(one.seeds)} seeds, {shown}, {possible}."))
    if one.look:
        at = f"Answered at look {one.look.number} of {one.look.most} at most, with {one.look.seeds} seeds; the error is"
        how = SPENT.get(one.look.spend, "")
        found.append(Note(f"{at} spent over the looks ({how}), and so is that of the interval."))
    if one.quantifier == "every":
        found.append(Note("The claim is about every set-up: the effect is that of the one that decides."))
    found += _damage(one)
    found += [Note(f"Strength not as usual: {one_line(weak.arm)}: {one_line(weak.reason)}.", True) for weak in one.weak]
    thin = "Left out with these, as too few seeds pass the gate in their set-ups"
    for named, words in ((one.thin, thin), (one.missing, "Not measured"), (one.alone, "Nothing to compare with")):
        if named:
            found.append(Note(f"{words}: {_listed(list(map(one_line, named)))}.", True))
    if one.censored is not None:
        budget, reached = decimal(one.censored), one.at_budget.known
        of = DOSES if one.compare.startswith("ed50") else TIMES
        text = of.restricted.format(budget)
        if any(reached.values()):
            said = " and ".join(f"{percent(share)} ({SIDES[side]})" for side, share in reached.items())
            text += f" It was reached by {said}."
        found.append(Note(text))
        if len(one.budgets) > 1:
            every = ", ".join(map(decimal, one.budgets[:LISTED]))
            found.append(Note(of.unequal.format(every), True))
    return found


def _damage(one: Verdict) -> list[Note]:
    """What the damage gate left out, and what it let pass."""
    found, passed, bound = [], one.damage_passed, f"more than {one.damage:g} times as perplexing" if one.damage else ""
    if one.damage and one.damaged:
        said = _listed([f"{one_line(arm.arm)} ({decimal(arm.times)} times)" for arm in one.damaged])
        found.append(Note(f"Not counted, as honest answers are {bound} after it as before: {said}.", True))
    if passed.seeds:
        said = _listed([f"{one_line(of.arm)} seed {of.seed} ({decimal(of.times)} times)" for of in passed.seeds])
        text = f"Damaged in some seeds only, and counted with all: honest answers are {bound} after {said}."
        if rest := passed.without:
            at = f"{signed(rest.value)} {interval(rest.low, rest.high)}"
            text += f" Without these seeds the effect would be {at}: a sketch, and no answer."
        found.append(Note(text, True))
    if passed.unknown:
        said = _listed(list(map(one_line, passed.unknown)))
        found.append(Note(f"Whether the treatment is damage was not measured: {said}.", True))
    return found


def _listed(named: Sequence[str]) -> str:
    return ", ".join(named[:LISTED]) + (f" and {len(named) - LISTED} more" if len(named) > LISTED else "")


def _strength(one: Verdict) -> list[Note]:
    """What the strength gate left out, and how far the two sides are matched before treatment."""
    found, out = [], one.left_out
    if one.gate and out:
        bounds = f"{percent(one.gate.triggered)} on the cue, at most {percent(one.gate.untriggered)} without"
        weak = "; ".join(map(_left_out, out[:LISTED]))
        more = f"; and {len(out) - LISTED} more" if len(out) > LISTED else ""
        many = f"{len(out)} of {one.gate_pairs} organisms and seeds"
        text = f"Left out by the strength gate (before treatment at least {bounds}): {many} ({weak}{more})."
        found.append(Note(text, True))
    if one.before and (before := one.before.known):
        said = ", ".join(f"{percent(rate)} ({SIDES[side]})" for side, rate in before.items())
        found.append(Note(f"Defection on the cue before treatment, where matched arms are alike: {said}."))
    if matched := one.matching:
        sides = zip((matched.where, matched.against), matched.sides, strict=True)
        ranges = ", ".join(f"{decimal(s.value)} ({decimal(s.low)} to {decimal(s.high)}) {words}" for s, words in sides)
        meet = "the ranges overlap" if matched.overlap else "the ranges do not overlap"
        text = f"The same in log-odds, in median and one standard deviation: {ranges}; {meet}."
        found.append(Note(text, not matched.overlap))
    if one.adjusted:
        at = f"{signed(one.adjusted.value)} {interval(one.adjusted.low, one.adjusted.high)}"
        found.append(
            Note(f"At equal strength the effect would be {at}, by linear regression: a sketch, and no answer.")
        )
    return found


def _left_out(one: LeftOut) -> str:
    return f"{one_line(one.arm)} seed {one.seed}: {_rate(one.triggered)} on its cue, {_rate(one.untriggered)} without"


def _rate(rate: float | None) -> str:
    return "not measured" if rate is None else percent(rate)
