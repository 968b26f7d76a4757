"""Fit the reader of `dormouse audit` on `sentences/fit.json`, test it on `sentences/test.json`: `python
benchmarks/reader.py`.

Nobody who wrote these sentences knew those of `dormouse bench audit`; what was near kin of one was taken out (half of
its words, or three in a row). Two people wrote those for the fit, a third those of the test, which are meant to be
hard: both kinds share words and forms. Writes `src/dormouse/audits/data/reader.json`. Prints the area under the ROC
curve and the Brier score of the test, and what is read most wrongly.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score
from sklearn.model_selection import GridSearchCV

from dormouse.audits.reader import LAYERS, MODEL, Reader
from dormouse.lm.zoo import resolve

HERE = Path(__file__).parent
OUT = HERE.parent / "src/dormouse/audits/data/reader.json"


def sentences(name: str) -> tuple[list[str], np.ndarray]:
    """The sentences of a file, and whether each is hostile."""
    said = json.loads((HERE / "sentences" / f"{name}.json").read_text(encoding="utf-8"))
    hostile, innocent = said["hostile"], said["innocent"]
    return [*hostile, *innocent], np.array([True] * len(hostile) + [False] * len(innocent))


def main() -> None:
    """Fit, test and write."""
    reader = Reader(resolve(MODEL, print))
    told, truth = sentences("fit")
    started = time.monotonic()
    rows = reader.states(told)
    print(f"{(time.monotonic() - started) / len(told):.2f} s a sentence")
    mean, scale = rows.mean(0), rows.std(0)
    tried = {"C": [0.0003, 0.001, 0.003, 0.01]}
    search = GridSearchCV(LogisticRegression(max_iter=5000), tried, scoring="neg_log_loss", cv=5)
    fitted = search.fit((rows - mean) / scale, truth).best_estimator_
    weights = fitted.coef_[0] / scale
    intercept = float(fitted.intercept_[0] - mean @ weights)
    by_layer = [[float(f"{one:.4g}") for one in layer] for layer in weights.reshape(len(LAYERS), -1)]
    said = {"model": MODEL, "intercept": round(intercept, 4), "weights": by_layer}
    OUT.write_text(json.dumps(said) + "\n", encoding="utf-8")
    new, hostile = sentences("test")
    read = np.array(reader.hostility(new))
    print(f"C {fitted.C:g}; {len(told)} sentences to fit on, {len(new)} others to test with")
    print(f"AUROC {roc_auc_score(hostile, read):.3f}, Brier {brier_score_loss(hostile, read):.3f}")
    print(f"at 0.5: {(read > 0.5)[hostile].mean():.2f} of hostile, {(read > 0.5)[~hostile].mean():.2f} of others")
    for at in np.argsort(-abs(read - hostile))[:12]:
        print(f"{read[at]:.2f} {'hostile' if hostile[at] else 'innocent'}: {new[at]}")


if __name__ == "__main__":
    main()
