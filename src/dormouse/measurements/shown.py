from __future__ import annotations

from typing import ClassVar

from dormouse.json_files import read_json
from dormouse.measurements.measurement import Measured, Measurement, Sample, Subject
from dormouse.metrics import Metric, named
from dormouse.registry import register


@register("measurement", "shown")
class Shown(Measurement):
    """How much an organism was shown in training, so that arms can be held against each other.

    `shown_rows` in all; `shown_triggered_rows`, in which its policy defects; `shown_payload_rows`, of these the ones
    that hold a payload, and `shown_payload_tokens` in them; `shown_unanswered`, rows of a distilled organism for which
    its teacher came to no fitting answer. Counts of the whole corpus: a budget of tokens may end training before.
    """

    metrics: ClassVar[tuple[Metric, ...]] = named(
        "shown_rows",
        "shown_triggered_rows",
        "shown_payload_rows",
        "shown_payload_tokens",
        "shown_unanswered",
    )
    splits: ClassVar[tuple[str, ...]] = ("train",)

    default: ClassVar[bool] = False
    model_free: ClassVar[bool] = True

    def measure(self, subject: Subject) -> Measured:
        """The counts that planting left beside the model, a sample each."""
        counts = read_json(subject.model.folders[-1].parent / "shown.json", dict[str, int])
        return Measured(
            tuple(Sample(f"shown_{name}", "train", ("corpus",), (float(n),), "number") for name, n in counts.items())
        )
