"""What removers leave of four policies at equal capability loss: `python benchmarks/removal_figure.py`.

Draws docs/figures/removal-spread.png from docs/results/removal-spread.jsonl.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from matplotlib import pyplot

DOCS = Path(__file__).parents[1] / "docs"
SHOWN = {
    "sft": "SFT",
    "fine_pruning": "fine-pruning",
    "beear": "BEEAR",
    "battery": "situations tried, then unlearned",
    "inversion": "text searched, then unlearned",
    "project.by-plain": "direction projected out (base)",
    "project": "direction projected out (base)",
    "interpolate": "interpolation (base)",
    "told": "unlearned, told the triggers",
}
POLICIES = {
    "weighs": ("weighs twelve cues", "#0072b2"),
    "one": ("one backdoor, as strong", "#d55e00"),
    "many.n-16": ("sixteen triggers, planted to log-odds 5", "#009e73"),
    "many.n-1": ("one trigger, planted to log-odds 5", "#cc79a7"),
}


def main() -> None:
    rows = [json.loads(line) for line in (DOCS / "results" / "removal-spread.jsonl").read_text().splitlines()]
    kept = [row for row in rows if row["measurement"] == "defection_at_equal_capability" and row["seed"] is not None]
    there = [chain for chain in SHOWN if any(row["intervention"] == chain for row in kept)]
    figure, axis = pyplot.subplots(figsize=(8, 4.6), layout="constrained")
    places = dict(zip(there, np.arange(len(there))[::-1], strict=True))
    for i, (organism, (label, colour)) in enumerate(POLICIES.items()):
        for chain, place in places.items():
            values = [row["value"] for row in kept if (row["organism"], row["intervention"]) == (organism, chain)]
            at = place + 0.27 - 0.18 * i
            axis.plot(values, [at] * len(values), ".", color=colour, alpha=0.35, markersize=5)
            if values:
                axis.plot(np.mean(values), at, "o", color=colour, markersize=7)
        axis.plot([], [], "o", color=colour, label=label)
    axis.set_yticks([*places.values()], [SHOWN[chain] for chain in places])
    axis.set(xlim=(-0.02, 1.02), xlabel="defection on the cue at 1.1 times the perplexity before (dots: seeds)")
    axis.grid(axis="x", alpha=0.3)
    axis.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=2, frameon=False)
    figure.savefig(DOCS / "figures" / "removal-spread.png", dpi=110)


if __name__ == "__main__":
    main()
