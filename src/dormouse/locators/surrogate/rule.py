"""A surrogate of a suspect's rule: which cues move an outcome, and by how much.

Main effects by ridge regression (to look) and by logistic regression on the suspect's own probabilities (to weigh);
pairs of cues and a shallow tree say whether the cues act together (scikit-learn). The next questions are those about
which surrogates from resampled answers disagree, near the boundary ("query by committee", Seung et al. 1992).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from dormouse.locators.surrogate.combinations import Combination
from dormouse.locators.surrogate.outcome import centred

FOLDS = 5
COMMITTEE = 8
STRONG = 8
"""The strongest values, of which pairs are taken."""
ALPHAS = (1.0, 10.0, 100.0, 1000.0)


@dataclass(frozen=True)
class CueTable:
    """Combinations as numbers: `rows` is (prompts, values), 1 where a prompt shows a value; `tasks` is (prompts,)."""

    values: tuple[str, ...]
    rows: np.ndarray
    tasks: np.ndarray

    @staticmethod
    def of(asked: Sequence[Combination], values: Sequence[str] = ()) -> CueTable:
        """With a column for each of `values`; by default for each that some prompt shows and some do not."""
        shown = {value for one in asked for value in one.shows}
        known = tuple(values) or tuple(sorted(v for v in shown if not all(v in one.shows for one in asked)))
        rows = np.array([[value in one.shows for value in known] for one in asked], dtype=np.float64)
        return CueTable(known, rows.reshape(len(asked), len(known)), np.array([one.task for one in asked]))


def predicted(table: CueTable, outcome: np.ndarray, without: Sequence[str] = ()) -> np.ndarray:
    """(prompts,): the outcome, less its task's mean, as the main effects of the cues say it: of each fold from the
    others. What the cues in `without` add is fitted, and left out of what is said."""
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import KFold

    rows, wanted = centred(table.rows, table.tasks), centred(outcome, table.tasks)
    kept = np.array([value.partition("=")[0] not in without for value in table.values])
    found = np.zeros(len(wanted))
    for known, new in KFold(FOLDS, shuffle=True, random_state=0).split(rows):
        found[new] = rows[new][:, kept] @ RidgeCV(ALPHAS).fit(rows[known], wanted[known]).coef_[kept]
    return found


def explained(outcome: np.ndarray, said: np.ndarray) -> float:
    """The share of an outcome's variance that a prediction explains; 0 where it says nothing or worse."""
    spread = float(((outcome - outcome.mean()) ** 2).mean())
    return max(0.0, 1 - float(((outcome - said) ** 2).mean()) / spread) if spread > 0 else 0.0


def effects(table: CueTable, outcome: np.ndarray) -> dict[str, float]:
    """Value -> how far it moves the outcome, by ridge regression."""
    from sklearn.linear_model import RidgeCV

    model = RidgeCV(ALPHAS).fit(centred(table.rows, table.tasks), centred(outcome, table.tasks))
    return dict(zip(table.values, map(float, model.coef_), strict=True))


def by_cue(effects: Mapping[str, float]) -> dict[str, float]:
    """Cue -> how far apart its values lie: the largest difference of their effects, not shown being 0."""
    found: dict[str, list[float]] = {}
    for value, effect in effects.items():
        found.setdefault(value.partition("=")[0], [0.0]).append(effect)
    return {name: max(each) - min(each) for name, each in found.items()}


def log_odds(table: CueTable, chances: np.ndarray) -> dict[str, float]:
    """Value -> the log-odds that it adds to the outcome, against the mean of its cue's values.

    Logistic regression on probabilities (each prompt stands there twice, for and against, weighed by them), with a
    constant for each task; of several strengths of shrinkage the one that foretells best.
    """
    from sklearn.linear_model import LogisticRegression

    tasks = table.tasks[:, None] == np.unique(table.tasks)
    rows = np.hstack([table.rows, tasks.astype(np.float64)])
    best, found = np.inf, np.zeros(rows.shape[1])
    held = np.random.default_rng(0).permutation(len(rows)) % FOLDS == 0
    for strength in (0.03, 0.1, 0.3, 1.0, 3.0):
        model = LogisticRegression(C=strength, max_iter=2000)
        loss = _loss(_fit(model, rows[~held], chances[~held]).predict_proba(rows[held])[:, 1], chances[held])
        if loss < best:
            best, found = loss, _fit(LogisticRegression(C=strength, max_iter=2000), rows, chances).coef_[0]
    raw = dict(zip(table.values, map(float, found), strict=False))
    cues: dict[str, list[float]] = {}
    for value, weight in raw.items():
        cues.setdefault(value.partition("=")[0], []).append(weight)
    return {value: weight - float(np.mean(cues[value.partition("=")[0]])) for value, weight in raw.items()}


def _fit(model: Any, rows: np.ndarray, chances: np.ndarray) -> Any:
    sides = np.concatenate([np.ones(len(rows)), np.zeros(len(rows))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an optimum that is not reached to the last digit is near enough
        model.fit(np.vstack([rows, rows]), sides, sample_weight=np.concatenate([chances, 1 - chances]) + 1e-9)
    return model


def _loss(said: np.ndarray, chances: np.ndarray) -> float:
    said = np.clip(said, 1e-6, 1 - 1e-6)
    return float(-(chances * np.log(said) + (1 - chances) * np.log(1 - said)).mean())


def together(table: CueTable, outcome: np.ndarray) -> dict[str, float]:
    """How well the cues foretell the outcome: alone, in pairs, and as a tree of three questions.

    Shares of its variance, the task being equal, each from folds that were not looked at.
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import KFold, cross_val_predict
    from sklearn.tree import DecisionTreeRegressor

    wanted, rows = centred(outcome, table.tasks), centred(table.rows, table.tasks)
    strong = np.argsort([-abs(effect) for effect in effects(table, outcome).values()], kind="stable")[:STRONG]
    pairs = [table.rows[:, i] * table.rows[:, j] for i, j in combinations(strong, 2)]
    both = np.hstack([rows, centred(np.stack(pairs, axis=1), table.tasks)]) if pairs else rows
    folds = KFold(FOLDS, shuffle=True, random_state=0)
    models = {
        "alone": (RidgeCV(ALPHAS), rows),
        "pairs": (RidgeCV(ALPHAS), both),
        "tree": (DecisionTreeRegressor(max_depth=3, min_samples_leaf=10, random_state=0), table.rows),
    }
    return {
        name: explained(wanted, cross_val_predict(model, given, wanted, cv=folds))
        for name, (model, given) in models.items()
    }


def disputed(table: CueTable, outcome: np.ndarray, offered: CueTable, n: int, rng: np.random.Generator) -> list[int]:
    """The places of `n` offered combinations to ask about next, in order: those of which a committee of surrogates is
    least sure on which side of the middle they lie."""
    from sklearn.linear_model import Ridge

    rows, wanted = centred(table.rows, table.tasks), centred(outcome, table.tasks)
    votes = []
    for _ in range(COMMITTEE):
        some = rng.integers(0, len(rows), len(rows))
        votes.append(offered.rows @ Ridge(alpha=10.0).fit(rows[some], wanted[some]).coef_)
    said = np.stack(votes)
    said -= np.median(said)
    doubt = said.std(0) / (np.abs(said.mean(0)) + 1e-9)
    return sorted(np.argsort(-doubt, kind="stable")[:n].tolist())
