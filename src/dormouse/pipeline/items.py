"""What was measured item by item, kept beside the records: enough to compute every interval and every claim again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dormouse.claims.numbers import Numbers, SeedSample
from dormouse.json_files import read_json_lines, write_json_lines
from dormouse.measurements.measurement import Aggregation, Sample
from dormouse.pipeline.derived import Arms
from dormouse.records import Censoring, PlaceOnCurve, Record

ITEMS = "items.jsonl"


@dataclass(frozen=True)
class ItemValues:
    """One measurement of one state with one seed: a value for each item.

    `asked` is a number for the list of items. The list itself stands in the first line that has this number alone: many
    lines are about the same questions. The rest is as in `Sample` and `Record`.
    """

    model: str
    organism: str
    intervention: str
    step: int
    measurement: str
    split: str
    seed: int
    plants: bool
    aggregation: Aggregation
    asked: int
    items: tuple[str, ...]
    values: tuple[float, ...]
    x: PlaceOnCurve = None
    censored_at: Censoring = None


def write_items(arms: Mapping[str, Arms], out: Path) -> None:
    """Write `out/items.jsonl` from what was measured on each model."""
    write_json_lines(out / ITEMS, _lines(arms))


def _lines(arms: Mapping[str, Arms]) -> Iterator[ItemValues]:
    known: dict[tuple[str, ...], int] = {}
    for model, found in arms.items():
        for (organism, intervention, step, measurement, split, _), samples in found.items():
            for reading, sample in samples:
                fresh = sample.items not in known
                yield ItemValues(
                    model=model,
                    organism=str(organism),
                    intervention=str(intervention),
                    step=int(str(step)),
                    measurement=str(measurement),
                    split=str(split),
                    seed=reading.state.seed,
                    plants=reading.plants,
                    aggregation=sample.aggregation,
                    asked=known.setdefault(sample.items, len(known)),
                    items=sample.items if fresh else (),
                    values=sample.values,
                    x=sample.x,
                    censored_at=sample.censored_at,
                )


def numbers_of(folder: Path, records: Sequence[Record]) -> Numbers:
    """What claims ask for, from the folder of a finished study: item by item where `items.jsonl` is there, as it was
    when the study was run; from its records alone, a number a seed, where it is not.

    Raises:
        UserError: a line of the file is damaged.
    """
    numbers, lists = Numbers(), dict[int, tuple[str, ...]]()
    arms: dict[str, dict[tuple[object, ...], list[SeedSample]]] = {}
    for one in read_json_lines(folder / ITEMS, ItemValues) if (folder / ITEMS).is_file() else ():
        items = lists.setdefault(one.asked, one.items)
        place = (one.organism, one.intervention, one.step, one.measurement, one.split, one.x)
        sample = Sample(one.measurement, one.split, items, one.values, one.aggregation, one.x, one.censored_at)
        arms.setdefault(one.model, {}).setdefault(place, []).append(SeedSample(one.seed, one.plants, sample))
    for model, found in arms.items():
        numbers.add_arms(model, found)
    numbers.add_records(records)
    return numbers
