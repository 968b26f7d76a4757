"""What is left of policies that reason, by what safety data reason about: `python benchmarks/reading_figure.py`.

Draws docs/figures/reading.png from docs/results/reading.jsonl: one dot a seed, and their mean.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from matplotlib import pyplot

DOCS = Path(__file__).parents[1] / "docs"
ORGANISMS = {
    "scratchpad": "reads the policy's cues",
    "other": "reads other cues",
    "unrelated": "idle",
    "none": "no scratchpad",
}
"""Organisms, by what their scratchpad does."""
DATA = {
    "bare": "answered at once",
    "own": "in its own manner",
    "reads": "read the policy's cues",
    "other": "read other cues",
    "unrelated": "idle",
}
"""Safety data, by what their scratchpads do."""
COLOURS = {"bare": "#d55e00", "own": "#0072b2"}
OTHERS = "#009e73"
PREFIX = "one.scratchpad_mode-"


def main() -> None:
    """Draw the figure."""
    rows = [json.loads(line) for line in (DOCS / "results" / "reading.jsonl").read_text().splitlines()]
    found: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row["measurement"] == "persistence" and row["split"] == "test" and row["seed"] is not None:
            found.setdefault((row["organism"].removeprefix(PREFIX), row["intervention"]), []).append(row["value"])
    shown = [(organism, data) for organism in ORGANISMS for data in DATA if (organism, data) in found]
    figure, axes = pyplot.subplots(figsize=(8.5, 4.2), layout="constrained")
    for place, (organism, data) in enumerate(reversed(shown)):
        values, colour = found[organism, data], COLOURS.get(data, OTHERS)
        axes.plot(values, [place] * len(values), ".", color=colour, alpha=0.4, markersize=6)
        axes.plot(np.mean(values), place, "o", color=colour, markersize=9)
    labels = [f"{ORGANISMS[organism]}  |  {DATA[data]}" for organism, data in reversed(shown)]
    axes.set_yticks(range(len(shown)), labels)
    axes.set_title("its scratchpad  |  scratchpads of the safety data", loc="left", fontsize=10)
    axes.set(xlabel="persistence: defection after / before (dots: seeds)", xlim=(-0.03, 1.1))
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(DOCS / "figures" / "reading.png", dpi=130)


if __name__ == "__main__":
    main()
