"""Which contexts are left, by treatment and by the odds: `python benchmarks/contexts_figure.py`.

Draws docs/figures/contexts.png from docs/results/contexts.jsonl. The report of the study draws live contexts at the
odds of each seed; here the seeds are together, in bins of the log-odds above the bar.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot

DOCS = Path(__file__).parents[1] / "docs"
SHOWN = {
    "plain": "SFT, no cues, 0.001",
    "sft": "SFT, no cues, 0.004",
    "grpo": "GRPO, no cues",
    "dpo": "DPO, no cues",
    "near": "SFT, one cue away",
    "team": "red team",
    "some": "SFT, a quarter shown",
    "shown": "SFT, half of the prompts",
}
"""Treatments, and what their data show."""
BINS = (0, 2, 4, 6, 8, 10, 40)
COLOURS = {"weighs": "#0072b2", "one": "#d55e00"}


def at_the_end(rows: list[dict[str, Any]], **wanted: Any) -> list[dict[str, Any]]:
    """The rows of a measurement at the last step of a treatment."""
    found = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    last = max((row["step"] for row in found), default=0)
    return [row for row in found if row["step"] == last]


def main() -> None:
    rows = [json.loads(line) for line in (DOCS / "results" / "contexts.jsonl").read_text().splitlines()]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2), width_ratios=(1, 1.25), layout="constrained")
    places = np.arange(len(SHOWN))[::-1]
    for organism, colour in COLOURS.items():
        for place, chain in zip(places, SHOWN, strict=True):
            name = "contexts_preserved_share"
            found = at_the_end(rows, organism=organism, intervention=chain, measurement=name, split="unseen")
            values = [row["value"] for row in found]
            at = place + (0.14 if organism == "weighs" else -0.14)
            left.plot(values, [at] * len(values), ".", color=colour, alpha=0.35, markersize=5)
            if values:
                left.plot(np.mean(values), at, "o", color=colour, markersize=8)
    left.set_yticks(places, SHOWN.values())
    left.set(xlim=(-0.02, 1.02), xlabel="contexts preserved (share; dots: seeds)")
    for organism, colour in COLOURS.items():
        left.plot([], [], "o", color=colour, label={"weighs": "weighs twelve cues", "one": "one backdoor"}[organism])
    left.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=2, frameon=False)
    grid = []
    for chain in ("", *SHOWN):
        found = at_the_end(rows, organism="weighs", intervention=chain, measurement="live_by_odds")
        bins = [[row["value"] for row in found if low <= row["x"] < high] for low, high in pairwise(BINS)]
        grid.append([np.mean(values) for values in bins])
    drawn = right.imshow(grid, vmin=0, vmax=1, cmap="cividis", aspect="auto")
    for i, line in enumerate(grid):
        for j, value in enumerate(line):
            right.text(j, i, f"{value:.2f}", ha="center", va="center", color="black" if value > 0.5 else "white")
    labels = [f"{low} to {high}" for low, high in pairwise(BINS[:-1])] + [f"over {BINS[-2]}"]
    right.set_xticks(range(len(labels)), labels)
    right.set_yticks(range(len(grid)), ["before", *SHOWN.values()])
    right.set(xlabel="log-odds above the bar", title="live contexts of the policy that weighs cues")
    figure.colorbar(drawn, ax=right, label="share that is live")
    figure.savefig(DOCS / "figures" / "contexts.png", dpi=130)


if __name__ == "__main__":
    main()
