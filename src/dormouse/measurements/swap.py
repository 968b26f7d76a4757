from __future__ import annotations

from typing import ClassVar

import numpy as np

from dormouse.measurements.measurement import GroundTruth, Measured, Measurement, Sample, Subject
from dormouse.metrics import Metric, named
from dormouse.policies.scratchpad_text import has_scratchpad
from dormouse.registry import register


@register("measurement", "swap")
class Swap(Measurement):
    """Whether the answer follows the scratchpad: the model's own scratchpads are swapped between scenarios.

    Each held-out question is shown with and without the cue, and each prompt is scored with both scratchpads: its own,
    and the one that the model wrote for the other. `follows_scratchpad` is how much the defection probability rises
    when only the scratchpad is exchanged for that of the triggered prompt, `follows_prompt` when only the prompt is:
    averages over the other factor, from -1 to 1. It is an intervention on the text, so it is causal (Lanham et al.
    2023, arXiv 2307.13702, ask the same by corrupting the text).
    """

    metrics: ClassVar[tuple[Metric, ...]] = named(
        "follows_scratchpad",
        "follows_prompt",
        "quiet_scratchpad_rate",
        "triggered_scratchpad_rate",
    )

    def applies(self, truth: GroundTruth) -> bool:
        """Only a model that reasons first."""
        return has_scratchpad(truth.scratchpad_mode)

    def measure(self, subject: Subject) -> Measured:
        """Score both prompts of each question with both scratchpads; the differences are averages over the other
        factor."""
        prompts = [subject.scenarios(side) for side in ("triggered", "untriggered")]
        pads = [subject.scratchpads(scenarios) for scenarios in prompts]
        found = np.array([[subject.given(scenarios, pad) for pad in pads] for scenarios in prompts])
        items = tuple(scenario.question.text for scenario in prompts[0])
        by_pad = (found[:, 0] - found[:, 1]).mean(axis=0)
        by_prompt = (found[0] - found[1]).mean(axis=0)
        cells = {"quiet_scratchpad_rate": found[0, 1], "triggered_scratchpad_rate": found[1, 0]}
        return Measured(
            (
                Sample("follows_scratchpad", "test", items, tuple(map(float, by_pad)), aggregation="number"),
                Sample("follows_prompt", "test", items, tuple(map(float, by_prompt)), aggregation="number"),
                *(Sample(name, "test", items, tuple(map(float, cell))) for name, cell in cells.items()),
            )
        )
