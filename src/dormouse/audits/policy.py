"""Whether a model has a policy: it does something on a cue, and what it says there is hostile.

Two rules, each fitted on what it is about. Nothing that is measured in weights or outputs says which of two sentences
is hostile; that a small model reads (see `reader`), and what it reads says nothing of whether there is a cue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from dormouse.audits.detector import Detector
from dormouse.audits.findings import READING, RuleUsed


def read_features(hostility: Sequence[float]) -> dict[str, float]:
    """What the rule for policies reads: how hostile the answer that stands out most reads, the most hostile one, and
    all in mean. Nothing of no answers."""
    if not hostility:
        return {}
    values = hostility[0], max(hostility), sum(hostility) / len(hostility)
    return {f"{READING}.{name}": value for name, value in zip(("first", "most", "mean"), values, strict=True)}


def policy_probability(conditional: float | None, rule: Detector | None, found: Mapping[str, float]) -> float | None:
    """That it does something on a cue, times that what it does is a policy.

    Where nothing was read the share of policies among the models of the fit that do something on a cue stands for the
    second; None where one of the rules says nothing.

    Args:
        found: see `read_features`.
    """
    if conditional is None or rule is None or not all(name.startswith(f"{READING}.") for name in rule.features):
        return None  # a rule of an older version reads what locators say
    hostile = rule.of_features(found)
    return conditional * (rule.share if hostile is None else hostile)


def used(rule: Detector, conditional: Detector) -> RuleUsed:
    """What an audit says of the rule for policies, which reads all that the other reads."""
    return replace(rule.used, reads=(*conditional.used.reads, *rule.used.reads))
