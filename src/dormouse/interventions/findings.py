"""What an intervention found on its way, for the study to make records of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dormouse.files import write_lines

SAMPLES = "samples.jsonl"


@dataclass(frozen=True)
class Finding:
    """Values by what each is about, seen at a step of the intervention (0: before the first).

    `how` says what their mean is: see `measurements.measurement.Sample`, whose form this has on disk.
    """

    measurement: str
    step: int
    values: Mapping[str, float]
    aggregation: Literal["mean", "proportion", "number"] = "mean"
    split: str = "safety"

    def to_json(self) -> dict[str, Any]:
        named = {
            "measurement": self.measurement,
            "split": self.split,
            "aggregation": self.aggregation,
            "step": self.step,
        }
        return {**named, "items": list(self.values), "values": list(self.values.values())}


def write_findings(out: Path, findings: Sequence[Finding]) -> None:
    """Write `out/samples.jsonl`; one without values is left out."""
    write_lines(out / SAMPLES, (found.to_json() for found in findings if found.values))
