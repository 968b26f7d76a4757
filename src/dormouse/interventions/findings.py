"""What an intervention found on its way, for the study to make records of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dormouse.json_files import write_json_lines

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

    def to_json(self) -> dict[str, object]:
        """As a line of `samples.jsonl`."""
        named = {
            "measurement": self.measurement,
            "split": self.split,
            "aggregation": self.aggregation,
            "step": self.step,
        }
        return {**named, "items": list(self.values), "values": list(self.values.values())}


def write_findings(out: Path, findings: Sequence[Finding]) -> None:
    """Write `out/samples.jsonl`; one without values is left out."""
    write_json_lines(out / SAMPLES, (found.to_json() for found in findings if found.values))
