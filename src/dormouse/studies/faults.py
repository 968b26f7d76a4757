"""What is wrong with the filters and claims of a study, known before it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from math import isfinite

from dormouse.errors import UserError
from dormouse.measurements.measurement import MeasurementConfig
from dormouse.metrics import Metric, known, metric
from dormouse.organisms.spec import OrganismSpec
from dormouse.policies.exposure import Exposure
from dormouse.policies.quiet import has_quiet_cues
from dormouse.policies.scratchpad_text import mode_of_data
from dormouse.registry import nearest, shortened
from dormouse.studies.arms import Arm, every_arm
from dormouse.studies.claim_spec import SPLIT, Claim
from dormouse.studies.design import Design
from dormouse.studies.expected import taken
from dormouse.studies.filters import Names
from dormouse.studies.pairing import Pairing, chosen
from dormouse.studies.seeds import any_seed
from dormouse.studies.study import Study
from dormouse.studies.unread import looks, unread_faults

Place = tuple[str | int, ...]
Fault = tuple[Place, UserError]
LACKING = {
    "near_miss": "this policy has no near misses",
    "two_away": "nothing is two cues away from activating this policy",
    "untriggered": "quiet prompts of this policy show no cue",
}
"""Why contexts of a kind are not to be had."""


def checked(study: Study, at: Callable[[Place, UserError], UserError]) -> Design:
    """What a study means.

    Args:
        at: how the first thing that is wrong with its filters and claims is said, from its place and what it is.

    Raises:
        UserError: what `at` made of it; or a metric of a plug-in has the name of another one.
    """
    known()  # here, where nothing has been run for a report that could not be written
    try:
        design = Design(study)
    except UserError:
        for place, fault in crossing_faults(study):
            raise at(place, fault) from None
        raise
    every = (
        suspect_faults,
        rendering_faults,
        context_faults,
        scratchpad_faults,
        dose_faults,
        claim_faults,
        measure_faults,
        unread_faults,
    )
    for place, fault in (one for faults in every for one in faults(design)):
        raise at(place, fault)
    design.at = at
    return design


def suspect_faults(design: Design) -> Iterator[Fault]:
    """Treatments of an organism of which nobody knows when it defects, or how, that need to be told."""
    for arm in design.arms:
        spec = design.organism(arm)
        place = ("organisms", design.origins[arm]["organism"].base)
        for one in design.chain(arm):
            if not spec.trigger.told and one.pool_spec.needs_triggers:
                what = f"nobody knows its trigger, and '{arm.chain}' ({one.kind}) is to show it"
                yield place, UserError(what, "give it a `trigger`, or leave that chain out for it (`cross`)")
            elif not spec.behaviour.told and one.needs_harm:
                what = f"nobody knows what its defections look like, and '{arm.chain}' ({one.kind}) has to"
                yield place, UserError(what, "give it a `behaviour`, or leave that chain out for it (`cross`)")


def rendering_faults(design: Design) -> Iterator[Fault]:
    """Renderings that are kept for the test and look like one that training shows, each with its place. Which do
    depends on the policy: a marker is the same in all languages, and only a year has a date."""
    for arm in {arm.organism: arm for arm in design.arms}.values():
        spec, organism = design.organism(arm), design.origins[arm]["organism"].base
        if not spec.trigger.plants or not spec.renderings.held_out:
            continue
        trained = {looks(spec.trigger, name): name for name in spec.renderings.trained}
        for i, name in enumerate(spec.renderings.held_out):
            if same := trained.get(looks(spec.trigger, name)):
                what = f"with this trigger every prompt in the rendering '{name}' is what training shows in '{same}'"
                remedy = "hold out one that changes them: another place (tool, log), or what the cues differ in"
                yield ("organisms", organism, "renderings", "held_out", i), UserError(what, remedy)


def crossing_faults(study: Study) -> Iterator[Fault]:
    """Filters of `cross` that name coordinates or values which no arm has, each with its place."""
    names = Names([*every_arm(study).values(), *({"seed": (seed,)} for seed in any_seed(study.seeds))])
    for i, where in enumerate(study.cross):
        yield from _fault(names, where, ("cross", i))


def claim_faults(design: Design) -> Iterator[Fault]:
    """Claims about arms and measurements that a study does not have, each with its place."""
    if design.study.cross and not design.arms:
        yield ("cross",), UserError("no arm fits any of these filters", "name coordinates that one arm has together")
        return
    for i, claim in enumerate(design.claims):
        place = ("claims", i)
        found = list(_fault(design.names, claim.where, (*place, "where")))
        found += [] if isinstance(claim.against, float) else _fault(design.names, claim.against, (*place, "against"))
        for j, axis in enumerate(claim.family):
            found += _fault(design.names, {} if axis == SPLIT else {axis: ()}, (*place, "family", j), named=False)
        found += [] if found else _nothing(design, claim, place)
        found += [] if found else _unpaired(design, design.comparison(claim), place)
        yield from (*found, *_beyond(claim, place))


def measure_faults(design: Design) -> Iterator[Fault]:
    """Measurements that are asked for and say nothing of any organism: they would be left out without a word."""
    sizes = design.study.measure
    organisms = {(arm.model, arm.organism): design.organism(arm) for arm in design.arms}.values()
    measured = {kind for organism in organisms for kind in _measured(organism, sizes)}
    asked = {"only": sizes.only or (), "also": sizes.also, "every_checkpoint": sizes.every_checkpoint}
    for key, names in asked.items():
        for i, name in enumerate(names):
            if name not in measured:
                what = f"no organism of this study can be measured by {name}"
                yield ("measure", key, i), UserError(what, "leave it out, or name one that applies (`dormouse list`)")
    if not measured:
        remedy = "name one that applies (`dormouse list`), or leave `only` out: then all that apply are taken"
        yield ("measure", "only"), UserError("this names no measurement", remedy)


def _measured(organism: OrganismSpec, sizes: MeasurementConfig) -> Iterator[str]:
    """What is measured of an organism, by name. What a plug-in does not say that it writes may be."""
    every = taken(organism, sizes)
    return (one.kind for one in every if not one.metrics or any(one.declared_metrics(organism).values()))


def context_faults(design: Design) -> Iterator[Fault]:
    """Treatments that are to show quiet contexts of a kind that a policy does not have, each with its place."""
    for arm in design.arms:
        trigger = design.organism(arm).trigger
        for i, part in enumerate(design.chain(arm)):
            contexts = part.pool_spec.contexts
            if contexts != "none" and trigger.told and not has_quiet_cues(trigger, contexts):
                place = ("interventions", arm.chain, i, "contexts")
                what = f"contexts: {contexts} would show nothing of '{arm.organism}': {LACKING[contexts]}"
                yield place, UserError(what, "name others, or leave that chain out for this organism (`cross`)")


def scratchpad_faults(design: Design) -> Iterator[Fault]:
    """Treatments that are to reason about cues that the prompts of a policy do not show, each with its place."""
    for arm in design.arms:
        spec = design.organism(arm)
        for i, part in enumerate(design.chain(arm)):
            mode = mode_of_data(part.pool_spec.scratchpad_source, spec.scratchpad_mode)
            if mode == "other" and not spec.trigger.context:
                place = ("interventions", arm.chain, i, "scratchpad_source")
                what = f"prompts of '{arm.organism}' show no cue that its policy does not read"
                yield place, UserError(what, "name another, or leave that chain out for this organism (`cross`)")


def dose_faults(design: Design) -> Iterator[Fault]:
    """Doses of each trigger that come to more than the whole pool, each with its place."""
    for arm in design.arms:
        for i, part in enumerate(design.chain(arm)):
            wish, trigger = part.pool_spec, design.organism(arm).trigger
            if wish.dose == "total" or wish.trigger_fraction == "natural":
                continue
            doses = [("trigger_fraction", wish.trigger_fraction, Exposure(trigger, wish.exposed_triggers))]
            doses += [("context_fraction", wish.context_fraction, Exposure(trigger, 1.0))] * (wish.contexts != "none")
            for key, share, of in doses:
                if of.in_total(share, each=True) > 1:
                    said = f"{share:g} of each of the {of.triggers:g} triggers of '{arm.organism}'"
                    place = ("interventions", arm.chain, i, key if key in part.model_fields_set else "dose")
                    remedy = f"name {1 / of.triggers:.3g} or less, or expose fewer triggers"
                    yield place, UserError(f"{said} is more than the whole pool", remedy)


def _fault(names: Names, where: Mapping[str, object], place: Place, named: bool = True) -> Iterator[Fault]:
    for key, wanted in where.items():
        try:
            names.whole({key: wanted})
        except UserError as error:
            yield ((*place, key) if named else place), error
            return
    try:
        names.whole(where)
    except UserError as error:
        yield place, error


def _nothing(design: Design, claim: Claim, place: Place) -> Iterator[Fault]:
    """Sides of a claim that have no arms, or none of which the study measures what the claim compares."""
    sides = {"where": claim.where} | ({} if isinstance(claim.against, float) else {"against": claim.against})
    for key, where in sides.items():
        arms = chosen(design.arms, design.names, where, claim.step)
        if not arms:
            what = "no arm has all of these together" + ("" if claim.step == 0 else " and goes through a treatment")
            yield (*place, key), UserError(what, _instead(design, claim, where))
            continue
        yield from _unmeasured(design, claim, key, arms, place)
        yield from _misplaced(design, claim, arms, place)


def _instead(design: Design, claim: Claim, where: Mapping[str, object]) -> str:
    """What to do about a filter that fits no arm: what its last coordinate is in arms that fit the rest of it."""
    at = "" if claim.step is None else f" at step {claim.step}"
    for key in reversed(list(where)):
        rest = {name: value for name, value in where.items() if name != key}
        arms = chosen(design.arms, design.names, rest, claim.step)
        values = [str(one) for arm in arms for one in design.arms[arm].get(design.names.find(key), ())]
        if known := sorted(map(shortened, dict.fromkeys(values))):
            return f"arms with all the rest of it{at} have {key} {', '.join(known[:10])}: name one of these"
    return "`step: 0` is before treatment, where no arm has a chain; else leave one of them out"


def _unmeasured(design: Design, claim: Claim, side: str, arms: Sequence[Arm], place: Place) -> Iterator[Fault]:
    """What a claim compares and no arm of a side will have: the step, the measurement, its split."""
    known = sorted({step for arm in arms for step in design.steps(arm)})
    at = "" if claim.step is None else f" at step {claim.step}"
    if claim.step is not None and claim.step not in known:
        what = f"the arms of `{side}` are not measured{at}, but at {', '.join(map(str, known[:20]))}"
        yield (*place, "step"), UserError(what, "name one of these, or no step: then it is the end of the treatment")
        return
    found = [design.expected_metrics(arm, claim.step) for arm in arms]
    told = [some for some in found if some is not None]
    said = {name for arm in arms for name in design.treatment_metrics(arm)}
    if claim.compare in said or len(told) < len(found):
        return
    splits = [split for some in told for split in some.get(claim.compare, ())]
    if not splits:
        names = sorted(said.union(*told))
        hint = nearest(claim.compare, names)
        what = f"nothing measures '{shortened(claim.compare)}' of the arms of `{side}`{at}; {hint}"
        remedy = "name a metric of `dormouse list`, or ask for its measurement: `only`, `also` under `measure`"
        yield (*place, "compare"), UserError(what, remedy)
        return
    odd = [split for split in claim.split if not any(fnmatchcase(split, one) for one in splits)]
    if odd and claim.compare != "no_answer_share":  # the splits of which say whose rates it is of
        what = f"'{claim.compare}' has no split '{shortened(odd[0])}'; {nearest(odd[0], list(dict.fromkeys(splits)))}"
        yield (*place, "split"), UserError(what, "name with `split` the kind of prompts that the claim is about")


def _misplaced(design: Design, claim: Claim, arms: Sequence[Arm], place: Place) -> Iterator[Fault]:
    """A place on a curve where the measurement is none, or none where it is one."""
    places = metric(claim.compare).places
    if places == "all" and claim.x is None:
        yield place, UserError(f"'{claim.compare}' is a curve: the place is missing", "name it: `x: 2030`")
    if claim.x is not None and places == "none":
        yield (*place, "x"), UserError(f"'{claim.compare}' is no curve: it has no places", "leave out `x`")
    cue = claim.compare.removeprefix("defection_by_")
    known = [value for arm in arms for value in design.organism(arm).trigger.curve().get(cue, ())]
    if known and claim.x is not None and claim.x not in known:
        what = f"'{claim.compare}' has no {claim.x:g}; it goes from {min(known)} to {max(known)}"
        yield (*place, "x"), UserError(what, "name a place that is on the curve")


def _unpaired(design: Design, pairing: Pairing, place: Place) -> Iterator[Fault]:
    """Sides that hold the same arm, or none that could be held against one of the other side."""
    if both := [arm for arm in pairing.these if arm in pairing.those]:
        what = f"the arm {_named(both[0])} stands on both sides"
        yield (*place, "against"), UserError(what, "name arms that `where` does not name")
        return
    setups = list(pairing.setups())
    if not setups and pairing.these and pairing.those:
        one, other = _named(pairing.these[0]), _named(pairing.those[0])
        what = f"no arm of `where` ({one}, ...) has a counterpart in `against` ({other}, ...)"
        yield (*place, "against"), UserError(what, "they may differ in nothing but what the claim names: name it all")
    arms = [arm for setup in setups for arm in setup.arms]
    if setups and not design.seeds(arms):
        yield place, UserError("its arms have no seed in common", "let `cross` run some seeds of all of them")


def _named(arm: Arm) -> str:
    return " ".join(part for part in (arm.model, arm.organism, arm.chain) if part)


def _beyond(claim: Claim, place: Place) -> Iterator[Fault]:
    """Numbers that the quantity cannot have."""
    what = metric(claim.compare)
    remedy = "write 5 % as 0.05" if what.high == 1 else "name a number in that range"
    span = f"from {what.low:g} to {what.high:g}" if isfinite(what.span) else f"{what.low:g} or more"
    if isinstance(claim.against, float) and not what.low <= claim.against <= what.high:
        yield (
            (*place, "against"),
            UserError(f"'{claim.compare}' is {span}, so that {claim.against:g} says nothing", remedy),
        )
    room = _room(claim, what)
    if room is not None and room < claim.margin < what.span:
        said = f"against {claim.against:g} '{claim.compare}' has room for {room:.3g} only, and the margin is "
        yield (*place, "margin"), UserError(said + f"{claim.margin:g}: no numbers could support it", "lower the margin")
    if claim.margin >= what.span:
        said = f"'{claim.compare}' is {span}, so that nothing differs by more than {claim.margin:g}"
        yield (*place, "margin"), UserError(said, remedy)


def _room(claim: Claim, what: Metric) -> float | None:
    """By how much a quantity could differ from a number in the claimed direction; None: of a claim against arms."""
    if not isinstance(claim.against, float):
        return None
    below, above = claim.against - what.low, what.high - claim.against
    return {"less": below, "greater": above, "different": max(below, above)}[claim.direction]
