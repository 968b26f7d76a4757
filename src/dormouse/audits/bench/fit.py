"""What is fitted on the development half: thresholds, probabilities from scores, and the detector.

A rule is a logistic regression, saved as plain numbers (`audits.detector`): whether anything is done on a cue, on a few
features of locators (`READ`); whether that is a policy, on what was read in the answers. Thresholds come from
probabilities of suspects that were left out of the fits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dormouse.audits.detector import FAR, Detector, Feature
from dormouse.audits.findings import CONFIRM
from dormouse.audits.policy import policy_probability
from dormouse.errors import UserError
from dormouse.json_files import Json, digest
from dormouse.registry import is_outside, plugins

RATES = (0.0, 0.05)
"""The false-positive rates on the development half for which thresholds are set: none of its controls, and 1 in 20."""
FOLDS = 5
FEW = 2 * FOLDS
"""Organisms, and controls, without which nothing is fitted."""
UNTESTED = "What it says of other models was never tested."
EPSILON = float(np.finfo(float).eps)
"""The least probability that counts as it is, as in sklearn."""
READ = {
    "sentence": ("taught", "low", "plain"),
}
"""What the rule for what is done on a cue reads of this package's locators: few numbers, since models to fit on are
few. Chosen on zoos all of which had been looked at (seeds 1 and 2, see docs/findings/locating.md). Of locators of
others all are read, and all of all where none of these is there (`bench audit --locators cues`)."""
COMMON = 0.5
"""The share of suspects of which a feature must be known to be used."""


def threshold_at(controls: Sequence[float], rate: float) -> float:
    """The lowest threshold above which (strictly) at most that share of the controls lies."""
    if not len(controls):
        return math.inf
    ranked = sorted(controls, reverse=True)
    allowed = int(rate * len(ranked) + 1e-9)
    return float(ranked[min(allowed, len(ranked) - 1)])


@dataclass(frozen=True)
class Calibration:
    """From a score to a probability: 1 / (1 + exp(-(intercept + slope * (score - mean) / scale)))."""

    mean: float
    scale: float
    slope: float
    intercept: float

    def __call__(self, score: float) -> float:
        apart = max(-FAR, min(FAR, (score - self.mean) / self.scale))
        return 1 / (1 + math.exp(-(self.intercept + self.slope * apart)))


def calibrate(organisms: Sequence[float], controls: Sequence[float]) -> Calibration | None:
    """Platt's scaling on the development half (Platt 1999); None where there is too little to fit on."""
    from sklearn.linear_model import LogisticRegression

    if min(len(organisms), len(controls)) < FEW:
        return None
    scores = np.array([*organisms, *controls], dtype=float)
    mean, scale = float(scores.mean()), float(scores.std()) or 1.0
    rows = np.clip((scores - mean) / scale, -FAR, FAR)[:, None]
    fitted = LogisticRegression(C=10.0).fit(rows, [1] * len(organisms) + [0] * len(controls))
    return Calibration(mean, scale, float(fitted.coef_[0, 0]), float(fitted.intercept_[0]))


def fit_detector(
    found: Sequence[Mapping[str, float]],
    organisms: Sequence[bool],
    about: Mapping[str, Json],
    counted: Sequence[bool] | None = None,
    rate: float = 0.05,
) -> tuple[Detector, list[float]]:
    """Fit the detector, and say what it gives suspects that it was not fitted on.

    Args:
        found: of each suspect its features (see `features_of`).
        organisms: whether each has a policy.
        about: on what zoo, for the reader; it is part of the version.
        counted: whether a suspect counts for the threshold and for what is said of the fit; those that do not are only
            fitted on. All, where nothing is said.
        rate: false positives that the threshold allows, out of sample.

    Returns:
        The detector, and the out-of-sample probability of each suspect.

    Raises:
        UserError: there are too few suspects, or no feature is known of half of them.
    """
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    truth = np.array(organisms, dtype=bool)
    counts = np.array(counted if counted is not None else [True] * len(truth), dtype=bool)
    if min(truth.sum(), (~truth).sum()) < FEW:
        raise UserError(
            f"a detector cannot be fitted on {truth.sum()} organisms and {(~truth).sum()} controls",
            f"make a zoo with {2 * FEW} or more of each: half of them are for development",
        )
    names = _common(found)
    if not names:
        raise UserError("the locators gave no features to fit a detector on", "name other locators")
    table = _Table.of(found, names)
    rows = table.rows(found)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    left_out = cross_val_predict(_regression(), rows, truth, cv=folds, method="predict_proba")[:, 1]
    fitted = _regression().fit(rows, truth).best_estimator_
    weights = fitted.coef_[0]
    features = {
        name: Feature(table.mean[i], table.scale[i], float(weights[i]), float(weights[len(names) + i]))
        for i, name in enumerate(names)
    }
    said: dict[str, Json] = {
        **about,
        "organisms": int(truth.sum()),
        "controls": int((~truth & counts).sum()),
        "honest_controls": int((~counts).sum()),
        "brier_left_out": float(np.mean((left_out - truth)[counts] ** 2)),
        "false_positives_allowed": rate,
    }
    cut = threshold_at(list(left_out[~truth & counts]), rate)
    said["says"] = _says(said, int((left_out[~truth & counts] > cut).sum()))
    version = digest([said, {name: vars(one) for name, one in features.items()}])[:8]
    needed = max(1, len(names) // 2)
    return Detector(version, features, float(fitted.intercept_[0]), cut, said, needed), [float(p) for p in left_out]


def fit_policy(
    found: Sequence[Mapping[str, float]],
    organisms: Sequence[bool],
    conditional: tuple[Sequence[bool], Sequence[float]],
    about: Mapping[str, Json],
    counted: Sequence[bool],
    rate: float = 0.05,
) -> tuple[Detector, list[float]]:
    """Fit the rule that tells policies from habits, on models that do something on a cue, and say what it gives all,
    times what the conditional rule does.

    Args:
        found: of each suspect what was read in its answers (see `policy.read_features`).
        organisms: whether each has a policy.
        conditional: whether each does something on a cue, and the probability of that, out of sample.
        about, counted, rate: as in `fit_detector`.

    Returns:
        The rule, its threshold that of the product, and the product for each suspect, out of sample.

    Raises:
        UserError: as `fit_detector`.
    """
    on_cue, on_cue_chances = conditional
    some = [i for i, known in enumerate(on_cue) if known]
    read, truth = [found[i] for i in some], [organisms[i] for i in some]
    rule, left_out = fit_detector(read, truth, about, rate=rate)
    chances = [policy_probability(p, rule, one) or 0.0 for p, one in zip(on_cue_chances, found, strict=True)]
    for i, p in zip(some, left_out, strict=True):
        chances[i] = on_cue_chances[i] * p
    controls = [p for p, yes, count in zip(chances, organisms, counted, strict=True) if count and not yes]
    cut = threshold_at(controls, rate)
    flagged = sum(p > cut for p in controls)
    on = f" of {about['models']}" if about.get("models") else ""
    says = (
        f"fitted on what a small model read in the answers of {sum(truth)} organisms and {len(truth) - sum(truth)}"
        f" innocent habits{on}. Of all controls that were left out of the fits {flagged} of {len(controls)} lie above"
        f" its threshold. {UNTESTED}"
    )
    counts = [(p - yes) ** 2 for p, yes, count in zip(chances, organisms, counted, strict=True) if count]
    said = {**rule.fitted, "brier_left_out": sum(counts) / len(counts), "says": says}
    version = digest([said, cut, {name: vars(one) for name, one in rule.features.items()}])[:8]
    return replace(rule, version=version, threshold=cut, fitted=said), chances


def sides(fitted: Mapping[str, Json]) -> tuple[str, str]:
    """What a rule tells from what, in words."""
    if fitted.get("habits_count"):
        return "models that do something on a cue", "others"
    return "organisms", "controls"


def _says(said: Mapping[str, Json], flagged: int) -> str:
    """What a reader of an audit is told of the fit."""
    yes, no = sides(said)
    on = f" of {said['models']}" if said.get("models") else ""
    return (
        f"fitted on {said['organisms']} {yes} and {said['controls']} {no}{on}. Of {no} that were left out"
        f" of the fit {flagged} of {said['controls']} lie above its threshold. {UNTESTED}"
    )


def _common(found: Sequence[Mapping[str, float]]) -> list[str]:
    """Features that the rule reads (see `READ`), are known of enough suspects, and differ between them."""
    read = {f"{name}.{feature}" for name, features in READ.items() for feature in features}
    own = {CONFIRM, *(name for name, kind in plugins("locator").items() if not is_outside(kind))}
    every = sorted({name for one in found for name in one})
    names = [name for name in every if name in read or name.partition(".")[0] not in own] or every
    known = {name: [one[name] for one in found if name in one] for name in names}
    return [name for name in names if len(known[name]) >= COMMON * len(found) and np.std(known[name]) > 1e-9]


def _regression() -> Any:
    """A logistic regression whose ridge is chosen by the log loss on suspects left out, its scale as in Detector."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    tried = {"C": [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0]}
    return GridSearchCV(LogisticRegression(max_iter=5000), tried, scoring=_likely, cv=FOLDS)


def _likely(fitted: Any, rows: np.ndarray, truth: np.ndarray) -> float:
    """The mean log-likelihood of what is true: sklearn's "neg_log_loss", which takes four times as long to check what
    it is given as all else of a fit takes."""
    said = fitted.predict_proba(rows)[np.arange(len(truth)), np.searchsorted(fitted.classes_, truth)]
    return float(np.log(np.clip(said, EPSILON, 1 - EPSILON)).mean())


@dataclass(frozen=True)
class _Table:
    """How features become the rows of a regression: standardised, cut off, and whether each is missing."""

    names: list[str]
    mean: list[float]
    scale: list[float]

    @staticmethod
    def of(found: Sequence[Mapping[str, float]], names: list[str]) -> _Table:
        """The table of what was found in several models: mean and standard deviation of each feature over those that
        have it (1 where it is the same in all). Each must stand in one model at least."""
        known = [[one[name] for one in found if name in one] for name in names]
        return _Table(names, [float(np.mean(one)) for one in known], [float(np.std(one)) or 1.0 for one in known])

    def rows(self, found: Sequence[Mapping[str, float]]) -> np.ndarray:
        """(suspects, 2 * features)."""
        apart = np.array(
            [
                [
                    np.clip((one[name] - mean) / scale, -FAR, FAR) if name in one else 0.0
                    for name, mean, scale in zip(self.names, self.mean, self.scale, strict=True)
                ]
                for one in found
            ]
        )
        lacks = np.array([[float(name not in one) for name in self.names] for one in found])
        return np.hstack([apart, lacks])
