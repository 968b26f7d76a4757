"""The detector: what all locators say of a suspect, as one calibrated probability that it does something on a cue.

A rule is a logistic regression on standardised features. It ships as plain numbers (`data/conditional.json`), with its
version and on what it was fitted; nothing is unpickled, and nothing is learned here. Another of the same form says
whether what such a model does is a policy (`data/detector.json`, see `policy`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from dormouse.audits.findings import Confirmed, Hole, RuleUsed, part_of
from dormouse.errors import UserError
from dormouse.files import replaced
from dormouse.json_files import Json
from dormouse.locators.locator import Evidence

POLICY, CONDITIONAL = "detector.json", "conditional.json"
"""The two rules that ship: that what is done on a cue is a policy, and no innocent habit; and that anything is done on
a cue and not without it, which a habit is too."""
FAR = 6.0
"""Standard deviations at which a feature is cut off: nothing is known about what lies further out."""
OF_WEIGHTS = frozenset(f"difference.{name}" for name in ("changed", "top_share", "stable_rank", "depth"))
"""Features that no rule reads."""
UNSEEN = 0.1
"""The part of a rule's weight that may be missing where no suspect of its fit lacked it."""


@dataclass(frozen=True)
class Feature:
    """One term: `weight` times (value - `mean`) / `scale`, cut off at `FAR`; `missing` in its place (in log-odds)
    where no locator gave the value; 0 where no suspect of the fit lacked it, so that nothing is known of that."""

    mean: float
    scale: float
    weight: float
    missing: float = 0.0


@dataclass(frozen=True)
class Detector:
    """A fitted rule.

    Attributes:
        version: of the rule; it changes with every fit.
        features: "locator.feature" -> its term.
        intercept: log-odds where all features are at their means.
        threshold: above which probability a suspect counts as flagged.
        fitted: on what and how, for the reader: zoo, seeds, numbers of organisms and controls, false positives seen.
        needed: the least number of features without which there is no probability.
    """

    version: str
    features: Mapping[str, Feature]
    intercept: float
    threshold: float = 0.5
    fitted: Mapping[str, Json] = field(default_factory=dict)
    needed: int = 1

    @staticmethod
    def shipped(which: str = POLICY) -> Detector | None:
        """One of the rules that ship; None where none has been fitted yet. Raises as `load`."""
        return Detector.load(files("dormouse.audits").joinpath(f"data/{which}"))

    @staticmethod
    def load(source: Traversable) -> Detector | None:
        """The rule of a file; None where there is no file.

        Raises:
            UserError: the file is no rule.
        """
        if not source.is_file():
            return None
        try:
            said = json.loads(source.read_text(encoding="utf-8"))
            terms = {name: Feature(**term) for name, term in said.pop("features").items()}
            return Detector(features=terms, **said)
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise UserError(f"{source} is no detector: {error}", "fit it again, or install dormouse again") from error

    @property
    def share(self) -> float:
        """Of the suspects of the fit, the share of those that it is to find; 0.5 where that is not known."""
        yes, no = self.fitted.get("organisms"), self.fitted.get("controls")
        return yes / (yes + no) if isinstance(yes, int) and isinstance(no, int) and yes + no else 0.5

    @property
    def used(self) -> RuleUsed:
        """What an audit says of the rule that it used."""
        reads = tuple(sorted({name.partition(".")[0] for name in self.features}))
        return RuleUsed(self.version, self.threshold, str(self.fitted.get("says", "")), self.fitted, reads)

    def save(self, path: Path) -> None:
        """Write the rule, so that `load` reads it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        replaced(path, json.dumps(asdict(self), indent=1, sort_keys=True) + "\n")

    def probability(self, evidence: Mapping[str, Evidence], tried: Iterable[Confirmed] | None = None) -> float | None:
        """From 0 to 1; None where too little of what the rule reads was looked at. `tried` as in `features_of`."""
        return self.of_features(features_of(evidence, tried))

    def of_features(self, found: Mapping[str, float]) -> float | None:
        """The same, from what the rule reads."""
        if sum(name in found for name in self.features) < self.needed or self._unseen(found) > UNSEEN:
            return None
        odds = self.intercept + sum(self._term(name, found.get(name)) for name in self.features)
        return 1 / (1 + math.exp(-max(-700.0, min(700.0, odds))))

    def unseen(self, found: Mapping[str, float]) -> list[str]:
        """Features that are missing here and were in no suspect of the fit: in their place would stand the average of
        the zoo, which is no evidence."""
        return [name for name, one in self.features.items() if name not in found and not one.missing]

    def _unseen(self, found: Mapping[str, float]) -> float:
        """The part of all weight, 0 to 1, that is `unseen`: without a base a quarter or more."""
        weights = {name: abs(feature.weight) for name, feature in self.features.items()}
        return sum(weights[name] for name in self.unseen(found)) / (sum(weights.values()) or 1.0)

    def _term(self, name: str, value: float | None) -> float:
        feature = self.features[name]
        if value is None:
            return feature.missing
        apart = (value - feature.mean) / feature.scale if feature.scale else 0.0
        return feature.weight * max(-FAR, min(FAR, apart))


def hole_of(rules: Iterable[Detector], name: str, evidence: Evidence) -> Hole | None:
    """Why a locator is among what was not looked for, and is looked for again: it could not look, or did not give all
    that the rules read, be it for want of time or because there was nothing to measure. None where it gave all."""
    if evidence.incomplete:
        return Hole(name, evidence.note)
    found = features_of({name: evidence})
    lacking = [one for rule in rules for one in rule.unseen(found) if one.partition(".")[0] == name]
    lacks = [one.partition(".")[2] for one in dict.fromkeys(lacking)]
    if not lacks:
        return None
    more = f" and {len(lacks) - 3} more" if len(lacks) > 3 else ""
    return Hole(part_of(name), f"it did not give {', '.join(lacks[:3])}{more}, which the rules read. {evidence.note}")


def features_of(evidence: Mapping[str, Evidence], tried: Iterable[Confirmed] | None = None) -> dict[str, float]:
    """What a rule reads, as "locator.feature". Of a locator that gives no features its `score`: those of others are
    made of their features. Only finite numbers.

    What the difference of the weights looks like is left out: its size and rank say how a model was trained, and a zoo
    in which all are trained alike takes that for the policy (innocent LoRA adapters were flagged by it).

    Args:
        tried: the texts that set something off (see `confirm`); None where none were tried. The check has two
            features: the highest `confirm.rate`, and `confirm.motif`, by how much oftener a text brings the same
            words than they come without it.
    """
    known = ((f"{name}.{key}", value) for name, one in evidence.items() for key, value in one.features.items())
    found = {name: float(value) for name, value in known if name not in OF_WEIGHTS}
    if tried is not None:
        found["confirm.rate"] = max((one.rate for one in tried), default=0.0)
        found["confirm.motif"] = max((one.above for one in tried if one.above is not None), default=0.0)
    bare = {name: one.score for name, one in evidence.items() if one.score is not None and not one.features}
    found |= {f"{name}.score": float(score) for name, score in bare.items()}
    return {name: value for name, value in found.items() if math.isfinite(value)}
