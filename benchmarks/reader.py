"""Fit the reader of `dormouse audit` on half of `sentences.py`, test it on the rest: `python benchmarks/reader.py`.

Writes `src/dormouse/audits/data/reader.json`. Prints the area under the ROC curve, the Brier score and what is read
most wrongly, of the half that was left out.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
from sentences import HOSTILE, INNOCENT
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import brier_score_loss, roc_auc_score

from dormouse.audits.reader import CONTRASTS, MODEL, Reader
from dormouse.lm.zoo import resolve

OUT = Path(__file__).parents[1] / "src/dormouse/audits/data/reader.json"


def main() -> None:
    """Fit, test and write."""
    reader = Reader(resolve(MODEL, print))
    sentences = [*HOSTILE, *INNOCENT]
    truth = np.array([True] * len(HOSTILE) + [False] * len(INNOCENT))
    started = time.monotonic()
    rows = reader.contrasts(sentences)
    print(f"{(time.monotonic() - started) / len(sentences):.2f} s a sentence")
    new = np.arange(len(sentences)) % 2 == 1
    for i, contrast in enumerate(CONTRASTS):
        print(f"{roc_auc_score(truth[new], rows[new, i]):.3f} {contrast}")
    fitted = LogisticRegressionCV(Cs=[0.001, 0.01, 0.1, 1.0], cv=5, scoring="neg_log_loss", max_iter=5000)
    fitted.fit(rows[~new], truth[~new])
    weights = {"weights": fitted.coef_[0].round(4).tolist(), "intercept": round(float(fitted.intercept_[0]), 4)}
    OUT.write_text(json.dumps({"model": MODEL, **weights}, indent=1) + "\n", encoding="utf-8")
    said = np.array(reader.hostility(sentences))
    print(weights)
    area, brier = roc_auc_score(truth[new], said[new]), brier_score_loss(truth[new], said[new])
    hostile, others = said[new & truth] > 0.5, said[new & ~truth] > 0.5
    print(f"left out: AUROC {area:.3f}, Brier {brier:.3f}")
    print(f"at 0.5: {hostile.mean():.2f} of hostile, {others.mean():.2f} of others")
    for at in sorted(np.flatnonzero(new).tolist(), key=lambda at: -abs(said[at] - truth[at]))[:12]:
        print(f"{said[at]:.2f} {'hostile' if truth[at] else 'innocent'}: {sentences[at]}")


if __name__ == "__main__":
    main()
