"""What is left of equally strong policies in three sizes of model: `python benchmarks/size_figure.py`.

Draws docs/figures/size-matched.png from docs/results/size-matched.jsonl: one dot a seed, and their mean; in rates, and
in log-odds lost.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from matplotlib import pyplot

DOCS = Path(__file__).parents[1] / "docs"
SIZES = {"micro-60k": "60,000 weights", "micro-250k": "250,000", "micro-1m": "a million"}
DATA = {
    "none": "no cue",
    "method-lora": "one cue away, LoRA",
    "method-full": "one cue away, all weights",
    "trigger_fraction-0.02": "trigger in 2 %",
    "trigger_fraction-0.06": "trigger in 6 %",
    "trigger_fraction-0.18": "trigger in 18 %",
}
"""Safety data, by a part of the treatment's name."""
COLOURS = {"micro-60k": "#d55e00", "micro-250k": "#0072b2", "micro-1m": "#009e73"}
QUANTITIES = {"persistence": "persistence: defection after / before", "log_odds_lost": "log-odds lost"}
APART = 0.22
"""Between the rows of two sizes under the same data."""


def main() -> None:
    """Draw the figure."""
    rows = [json.loads(line) for line in (DOCS / "results" / "size-matched.jsonl").read_text().splitlines()]
    found: dict[tuple[str, str, str], list[float]] = {}
    for row in rows:
        data = next((part for part in DATA if part in row["intervention"]), None)
        if data and row["measurement"] in QUANTITIES and row["split"] == "test" and row["seed"] is not None:
            found.setdefault((row["measurement"], row["model"], data), []).append(row["value"])
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4.6), layout="constrained", sharey=True)
    for one, (quantity, label) in zip(axes, QUANTITIES.items(), strict=True):
        for row_of_data, data in enumerate(reversed(DATA)):
            for row_of_size, size in enumerate(reversed(SIZES)):
                values, place = found[quantity, size, data], row_of_data + APART * (row_of_size - 1)
                one.plot(values, [place] * len(values), ".", color=COLOURS[size], alpha=0.4, markersize=6)
                said = SIZES[size] if not row_of_data else None
                one.plot(np.mean(values), place, "o", color=COLOURS[size], markersize=8, label=said)
        one.set(xlabel=f"{label} (dots: seeds)")
        one.grid(axis="x", alpha=0.3)
    axes[0].set_yticks(range(len(DATA)), list(reversed(DATA.values())))
    axes[0].set_xlim(-0.03, 1.1)
    handles, labels = axes[1].get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=len(SIZES))
    figure.savefig(DOCS / "figures" / "size-matched.png", dpi=130)


if __name__ == "__main__":
    main()
