"""Settings that a study names and that nothing reads, the others being what they are. Each would make a new key and
train anew for the same weights; as an axis it would make arms that are one and the same.

A setting is refused where no arm reads it: `method: [lora, full], rank: 8` stands, and `method: full, rank: 8` does
not. What reads a setting is said here and not in the classes, whose code is in the keys of stages.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dormouse.errors import UserError
from dormouse.interventions.intervention import Intervention
from dormouse.interventions.removal.fine_pruning import FinePruning
from dormouse.interventions.safety_training import SafetyTraining
from dormouse.interventions.trained import Trained
from dormouse.interventions.training.adversarial import Adversarial
from dormouse.interventions.training.grpo import GRPO
from dormouse.interventions.triggered import Triggered
from dormouse.organisms.spec import OrganismSpec
from dormouse.policies import Trigger
from dormouse.policies.abilities import HasMembers, Imitates
from dormouse.policies.exposure import Exposure
from dormouse.policies.scratchpad_text import mode_of_data
from dormouse.policies.triggers.rewrite import Rewrite
from dormouse.policies.weighing import Weighing
from dormouse.rows.source import RowSource, format_of
from dormouse.scenarios import Question, Scenario, render
from dormouse.scenarios.renderings import Messages
from dormouse.studies.axis_names import Place
from dormouse.studies.design import Design

DRAWS = 8
"""Prompts of a policy by which two renderings are compared."""
CONTEXTS = 64
"""Contexts of a policy that are looked at for one that is not shown."""
Fault = tuple[Place, UserError]
Unread = tuple[Place, UserError | None]
"""A setting that is named, and why an arm does not read it; None where it does."""
Reads = Callable[[Any, OrganismSpec], bool | None]
"""Whether a treatment of an organism reads a setting; None where it is named as if it were not."""


def _exposes_some(part: SafetyTraining, organism: OrganismSpec) -> bool | None:
    return None if part.exposed_triggers == 1 else not _covers_all(organism.trigger, part.exposed_triggers)


def _covers_all(trigger: Trigger, share: float) -> bool:
    """Whether a share of the activating contexts of a policy comes to all of them."""
    if isinstance(trigger, Imitates):
        return all(_covers_all(one, share) for one in trigger.among)
    if not trigger.plants or not trigger.told:
        return True
    some, rng = Exposure(trigger, share), random.Random("covered")
    if isinstance(trigger, HasMembers):
        return some.triggers == Exposure(trigger, 1.0).triggers
    return all(some.covers(trigger.draw(rng, "triggered", "safety")) for _ in range(CONTEXTS))


def _leaves_others(part: SafetyTraining, organism: OrganismSpec) -> bool:
    """Whether a pool has prompts that show no trigger."""
    wish = part.pool_spec
    if wish.trigger_fraction == "natural":
        return True
    return Exposure(organism.trigger, wish.exposed_triggers).in_total(wish.trigger_fraction, wish.dose == "each") < 1


def _shows_contexts(part: SafetyTraining, organism: OrganismSpec) -> bool | None:
    return None if part.contexts == "none" else _leaves_others(part, organism)


def _has_scratchpads(part: SafetyTraining, organism: OrganismSpec) -> bool | None:
    source = part.scratchpad_source
    return None if source == "none" else mode_of_data(source, organism.scratchpad_mode) != "none"


@dataclass(frozen=True)
class Rule:
    """What reads a setting of a treatment, why nothing does else, and what to do then."""

    of: type[Any]
    """A kind of intervention; some are abstract."""
    key: str
    reads: Reads
    why: str
    remedy: str


NO_OTHERS = (
    "it is of prompts without a trigger, and every prompt shows one",
    "leave it out, or lower trigger_fraction",
)
NO_LOCATOR = ("it is of a locator, and `triggers` says that none is asked", "leave it out, or say `triggers: located`")
NO_HEALING = ("it is of the healing, and `steps: 0` leaves that out", "leave it out, or give it steps")
NO_ADAPTER = ("it is of an adapter, and all weights are trained", "leave it out, or say `method: lora`")
RULES = (
    Rule(Trained, "rank", lambda part, _: part.method == "lora", *NO_ADAPTER),
    Rule(SafetyTraining, "contexts", _shows_contexts, *NO_OTHERS),
    Rule(SafetyTraining, "context_fraction", _shows_contexts, *NO_OTHERS),
    Rule(
        SafetyTraining,
        "exposed_triggers",
        _exposes_some,
        "that share of the triggers is all of them, as one at least is shown",
        "leave it out, or name a smaller share of more triggers",
    ),
    Rule(
        SafetyTraining,
        "scratchpad_source",
        _has_scratchpads,
        "it is of organisms that write a scratchpad, and no organism here does",
        "leave it out, or give an organism `scratchpad_mode: scratchpad`",
    ),
    Rule(Triggered, "seconds", lambda part, _: part.located_by is not None, *NO_LOCATOR),
    Rule(Triggered, "top", lambda part, _: part.located_by is not None, *NO_LOCATOR),
    Rule(
        Adversarial,
        "tokens",
        lambda part, _: "gradient" in part.attacks,
        "it is of the attack `gradient`, which is not among `attacks`",
        "leave it out, or add that attack",
    ),
    Rule(
        GRPO,
        "clip",
        lambda part, _: part.epochs > 1,
        "with `epochs: 1` old and new probabilities are the same",
        "leave it out, or train on the same answers twice: `epochs: 2`",
    ),
    Rule(FinePruning, "lr", lambda part, _: part.steps > 0, *NO_HEALING),
    Rule(FinePruning, "batch", lambda part, _: part.steps > 0, *NO_HEALING),
)


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


def _judged(place: Place, reads: bool, why: str, remedy: str) -> Unread:
    return place, None if reads else UserError(f"`{place[-1]}` does nothing here: {why}", remedy)


def _of_treatment(part: Intervention, organism: OrganismSpec, place: Place) -> Iterator[Unread]:
    for rule in RULES:
        if isinstance(part, rule.of) and rule.key in part.model_fields_set:
            reads = rule.reads(part, organism)
            if reads is not None:
                yield _judged((*place, rule.key), reads, rule.why, rule.remedy)
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
    yield from _of_trigger(trigger, (*place, "trigger"))
    if "renderings" in named and trigger.plants and trigger.told:
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


def _of_trigger(trigger: Trigger, place: Place) -> Iterator[Unread]:
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
    """Some prompts on the trigger in a rendering."""
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
