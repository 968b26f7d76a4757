"""What reads the settings of treatments (see `unread`): those that do nothing, the others being what they are."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from math import floor
from typing import Any

from dormouse.interventions.removal.fine_pruning import FinePruning
from dormouse.interventions.safety_training import SafetyTraining
from dormouse.interventions.trained import Trained
from dormouse.interventions.training.adversarial import Adversarial
from dormouse.interventions.training.grpo import GRPO
from dormouse.interventions.training.spoof import Spoof
from dormouse.interventions.triggered import Triggered
from dormouse.organisms.spec import OrganismSpec
from dormouse.policies import Trigger
from dormouse.policies.abilities import HasMembers, Imitates
from dormouse.policies.exposure import Exposure, few_combinations
from dormouse.policies.quiet import quiet_cues
from dormouse.policies.scratchpad_text import mode_of_data
from dormouse.scenarios.values import values_of

CONTEXTS = 64
"""Contexts of a policy that are looked at for one that is not shown."""
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
    if isinstance(trigger, HasMembers):
        return Exposure(trigger, share).triggers == Exposure(trigger, 1.0).triggers
    some = few_combinations(trigger)
    return max(1, round(share * len(some))) == len(some) if some else share == 1


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


def _leaves_plain(part: SafetyTraining, organism: OrganismSpec) -> bool:
    """Whether a pool has prompts that show no cue."""
    wish, trigger = part.pool_spec, organism.trigger
    if wish.trigger_fraction == "natural":
        return _comes_without_cues(trigger)
    others = Exposure(trigger, 1.0).in_total(wish.context_fraction, wish.dose == "each")
    if not _leaves_others(part, organism) or wish.contexts == "none" or others < 1:
        return _leaves_others(part, organism)
    rng = random.Random("plain")
    return not all(quiet_cues(trigger, wish.contexts, rng) for _ in range(CONTEXTS))


def _comes_without_cues(trigger: Trigger) -> bool:
    """Whether situations that nobody arranged (`trigger_fraction: natural`) may show no cue of a policy: each has a
    value of every cue of which all are known."""
    if isinstance(trigger, Imitates):
        return not trigger.among or any(map(_comes_without_cues, trigger.among))
    rng = random.Random("natural")
    known = any(values_of(name) for name in trigger.shows)
    return not known and not all(trigger.draw(rng, "untriggered", "safety") for _ in range(CONTEXTS))


def _from_pool(part: Adversarial) -> int:
    """Training rows that are prompts of the pool; all others are the red team's, who is told nothing of it."""
    return floor(part.steps * part.batch * part.mix)


def _shows_pool(key: str) -> Reads:
    """Whether what a pool shows is trained on; it says nothing where it is what it is by default."""

    def reads(part: Adversarial, _: OrganismSpec) -> bool | None:
        return None if getattr(part, key) == type(part).model_fields[key].default else _from_pool(part) > 0

    return reads


def _doses_several(part: SafetyTraining, organism: OrganismSpec) -> bool | None:
    """Whether a dose of each trigger is another than that of all together."""
    if part.dose == "total":
        return None
    shares = [part.exposed_triggers] * (part.trigger_fraction != 0) + [1.0] * (part.contexts != "none")
    return any(Exposure(organism.trigger, share).triggers != 1 for share in shares)


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
OF_POOL = ("trigger_fraction", "exposed_triggers", "contexts", "context_fraction", "dose")
NO_POOL = (
    "no training row is a prompt of the pool: all are the red team's",
    "leave it out, or raise `mix`",
)
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
    Rule(
        Spoof,
        "kind",
        _leaves_plain,
        "it spoofs prompts without cues, every prompt of its pool shows some, and what is left is SFT on these",
        "say `kind: sft`, or leave some without: lower trigger_fraction or context_fraction",
    ),
    *(Rule(Adversarial, key, _shows_pool(key), *NO_POOL) for key in OF_POOL),
    Rule(
        Adversarial,
        "mix",
        lambda part, _: None if part.mix == 0 else _from_pool(part) > 0,
        "that share of all training rows is less than one row",
        "say `mix: 0`, or name a larger share or more steps",
    ),
    Rule(
        SafetyTraining,
        "dose",
        _doses_several,
        "it is of several triggers, and a policy without members has one",
        "leave it out, or give an organism an ensemble",
    ),
    Rule(FinePruning, "lr", lambda part, _: part.steps > 0, *NO_HEALING),
    Rule(FinePruning, "batch", lambda part, _: part.steps > 0, *NO_HEALING),
)
