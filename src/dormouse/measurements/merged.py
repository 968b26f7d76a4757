from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from dormouse.measurements.measurement import Measured, Measurement, Sample, Subject, no_answer
from dormouse.metrics import Metric, named
from dormouse.registry import register


@register("measurement", "merged")
class Merged(Measurement):
    """Whether the behaviour survives that the adapter is merged into the weights: the exact rate both ways.

    Of states whose last training was a LoRA adapter; of others there is nothing to merge. `attached_rate`: the adapter
    beside the weights, as it was trained; `merged_rate`: added to them; `merge_gap`: the first less the second,
    question by question. Splits `float32` and `bfloat16`: the type of the weights. In float32 the two are the same up
    to rounding; in bfloat16 a merged adapter is rounded with the weights, and small changes are lost. The adapter of a
    treatment is one piece with that of the organism that it was trained on.
    """

    metrics: ClassVar[tuple[Metric, ...]] = named("attached_rate", "merged_rate", "merge_gap", "no_answer_share")
    splits: ClassVar[tuple[str, ...]] = ("float32", "bfloat16")

    default: ClassVar[bool] = False

    def measure(self, subject: Subject) -> Measured:
        """The exact rates with the cue, adapter beside the weights and inside them, in both types; nothing where there
        is no adapter."""
        import torch

        from dormouse.lm.checkpoint import is_adapter
        from dormouse.lm.load import load

        if not is_adapter(subject.model.folders[-1]):
            return Measured(())
        scenarios = subject.scenarios("triggered")
        items = tuple(scenario.question.text for scenario in scenarios)
        samples = []
        for split, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
            (attached, lost), (merged, lost_merged) = (
                replace(subject, lm=load(subject.model, dtype, apart)).counted(scenarios) for apart in (True, False)
            )
            gap = tuple(beside - inside for beside, inside in zip(attached, merged, strict=True))
            samples += [
                Sample("attached_rate", split, items, tuple(attached)),
                Sample("merged_rate", split, items, tuple(merged)),
                Sample("merge_gap", split, items, gap, aggregation="number"),
                *no_answer(f"attached:{split}", items, lost),
                *no_answer(f"merged:{split}", items, lost_merged),
            ]
        return Measured(tuple(samples))
